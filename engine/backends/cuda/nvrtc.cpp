#include "backends/cuda/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sstream>

namespace sparsenet::gpu::cuda {
namespace {

constexpr int kNvrtcOutOfMemory = 1, kNvrtcCompilationError = 6;

struct Release {
  int major;
  const char* name;
};
constexpr Release kReleases[] = {{13, "libnvrtc.so.13"}, {12, "libnvrtc.so.12"}, {11, "libnvrtc.so.11.2"}};

// The first line of a log that tells of an error, without its line break.
std::string first_error(const std::string& log) {
  std::istringstream lines(log);
  std::string line, first;
  while (std::getline(lines, line)) {
    if (line.find("error") != std::string::npos) return line;
    if (first.empty()) first = line;
  }
  return first;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

}  // namespace

const std::vector<const char*>& Nvrtc::options() {
  // Kernels name their multiply-adds, so the compiler makes no others: the bits do not depend on its version.
  static const std::vector<const char*> list{"--std=c++17", "-default-device", "--fmad=false"};
  return list;
}

Outcome Nvrtc::open(int driver) {
  if (version_) return {};
  const char* chosen = std::getenv("SPARSENET_NVRTC");
  if (chosen && *chosen) {
    Outcome outcome = open_file(chosen);
    if (!outcome.ok()) outcome.message += "; SPARSENET_NVRTC names it";
    return outcome;
  }
  std::vector<std::string> names;
  for (const bool later : {false, true})
    for (const Release& release : kReleases)
      if ((release.major > driver / 1000) == later) names.emplace_back(release.name);
  names.emplace_back("libnvrtc.so");
  names.emplace_back("/usr/local/cuda/lib64/libnvrtc.so");
  std::string reasons;
  for (const std::string& name : names) {
    const Outcome outcome = open_file(name);
    if (outcome.ok()) return {};
    reasons += (reasons.empty() ? "" : "; ") + outcome.message;
  }
  return failure(SNP_FAILED, "no CUDA compiler (NVRTC): " + reasons +
                                 "; install it (pip's nvidia-cuda-nvrtc, or the CUDA toolkit), and name its file in "
                                 "SPARSENET_NVRTC if the system does not find it");
}

Outcome Nvrtc::open_file(const std::string& name) {
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    return failure(SNP_FAILED, reason ? reason : name);
  }
  const char* missing = nullptr;
  const auto find = [&](const char* function) {
    void* address = dlsym(library, function);
    if (!address && !missing) missing = function;
    return address;
  };
#define SPARSENET_NVRTC_FIND(name, parameters) name = reinterpret_cast<int(*) parameters>(find(#name));
  SPARSENET_NVRTC_FUNCTIONS(SPARSENET_NVRTC_FIND)
#undef SPARSENET_NVRTC_FIND
  nvrtcGetErrorString = reinterpret_cast<const char* (*)(int)>(find("nvrtcGetErrorString"));
  if (missing) {
    Outcome outcome = failure(SNP_FAILED, name + " has no " + missing + ": NVRTC of CUDA 11.2 or later is needed");
    dlclose(library);
    return outcome;
  }
  int major = 0, minor = 0, count = 0;
  Outcome outcome = check(nvrtcVersion(&major, &minor), "nvrtcVersion", name);
  if (outcome.ok()) outcome = check(nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs", name);
  if (outcome.ok()) {
    architectures_.assign(static_cast<size_t>(std::max(count, 0)), 0);
    if (count > 0) outcome = check(nvrtcGetSupportedArchs(architectures_.data()), "nvrtcGetSupportedArchs", name);
    std::sort(architectures_.begin(), architectures_.end());
  }
  if (outcome.ok()) {
    version_ = 1000 * major + 10 * minor;  // the library stays open
  } else {
    dlclose(library);
  }
  return outcome;
}

Outcome Nvrtc::target_for(int compute_capability, Target* target) const {
  const auto above = std::upper_bound(architectures_.begin(), architectures_.end(), compute_capability);
  if (above == architectures_.begin()) {
    const auto text = [](int number) { return std::to_string(number / 10) + "." + std::to_string(number % 10); };
    const std::string least = architectures_.empty() ? "nothing" : text(architectures_.front()) + " and later";
    return failure(SNP_UNSUPPORTED, "the device has compute capability " + text(compute_capability) + ", and NVRTC " +
                                        std::to_string(version_ / 1000) + "." + std::to_string(version_ % 1000 / 10) +
                                        " compiles for " + least + "; name an older NVRTC in SPARSENET_NVRTC");
  }
  const int known = above[-1];
  target->binary = known == compute_capability;
  target->option = std::string("--gpu-architecture=") + (target->binary ? "sm_" : "compute_") + std::to_string(known);
  return {};
}

Outcome Nvrtc::compile(const std::string& name, const char* source, const std::string& defines, const Target& target,
                       std::vector<uint8_t>* image) const {
  const std::string purpose = "kernels/" + name + ".cl";
  NvrtcProgram program = nullptr;
  Outcome outcome = check(nvrtcCreateProgram(&program, source, (name + ".cl").c_str(), 0, nullptr, nullptr),
                          "nvrtcCreateProgram", purpose);
  if (!outcome.ok()) return outcome;
  const auto destroy = [this](NvrtcProgram p) { nvrtcDestroyProgram(&p); };
  const std::unique_ptr<NvrtcProgramObject, decltype(destroy)> owner(program, destroy);

  const std::vector<std::string> macros = words_of(defines);
  std::vector<const char*> arguments = options();
  arguments.push_back(target.option.c_str());
  for (const std::string& macro : macros) arguments.push_back(macro.c_str());
  const int result = nvrtcCompileProgram(program, static_cast<int>(arguments.size()), arguments.data());
  if (result != 0) {
    outcome = check(result, "nvrtcCompileProgram", purpose + " " + target.option + " " + defines);
    size_t bytes = 0;
    if (result == kNvrtcCompilationError && nvrtcGetProgramLogSize(program, &bytes) == 0 && bytes > 1) {
      std::string log(bytes, '\0');
      if (nvrtcGetProgramLog(program, log.data()) == 0) outcome.message += ": " + first_error(log.c_str());
    }
    return outcome;
  }

  size_t bytes = 0;
  outcome = target.binary ? check(nvrtcGetCUBINSize(program, &bytes), "nvrtcGetCUBINSize", purpose)
                          : check(nvrtcGetPTXSize(program, &bytes), "nvrtcGetPTXSize", purpose);
  if (!outcome.ok()) return outcome;
  image->assign(bytes, 0);
  char* data = reinterpret_cast<char*>(image->data());
  return target.binary ? check(nvrtcGetCUBIN(program, data), "nvrtcGetCUBIN", purpose)
                       : check(nvrtcGetPTX(program, data), "nvrtcGetPTX", purpose);
}

Outcome Nvrtc::check(int result, const char* call, const std::string& purpose) const {
  if (result == 0) return {};
  const char* text = nvrtcGetErrorString(result);
  return failure(result == kNvrtcOutOfMemory ? SNP_NO_MEMORY : SNP_FAILED,
                 std::string(call) + " (" + purpose + "): " + (text ? text : "error " + std::to_string(result)));
}

}  // namespace sparsenet::gpu::cuda
