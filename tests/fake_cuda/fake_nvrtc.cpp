// A fake NVRTC: it compiles nothing, but checks how it is called, and puts source and macros into an image that the
// fake driver runs. See fake_cuda.h.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>

#include "backends/cuda/nvrtc.h"
#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/faults.h"
#include "tests/fake_cuda/image.h"

namespace sparsenet::gpu::cuda {
struct NvrtcProgramObject {
  std::string source;
  fake::Image image;
  bool compiled = false;
};
}  // namespace sparsenet::gpu::cuda

namespace {

using sparsenet::gpu::cuda::NvrtcProgram;
using sparsenet::gpu::cuda::NvrtcProgramObject;

constexpr int kSuccess = 0, kInvalidInput = 3, kInvalidProgram = 4, kInvalidOption = 5, kCompilationError = 6;
constexpr int kArchitectures[] = {75, 80, 86, 89, 90};
constexpr const char* kLog = "kernel.cl(1): error: the fake compiler was told to fail\n1 error detected.\n";

struct Books {
  std::mutex mutex;
  fake::Faults faults;
  std::set<NvrtcProgram> programs;
  std::string misuse;
  size_t misuses = 0;

  int misused(const char* call, const std::string& what, int code) {
    misuse += std::string("misuse: ") + call + ": " + what + "\n";
    ++misuses;
    return code;
  }
};
Books& books() {
  static Books instance;
  return instance;
}

// Prints the report when the library is unloaded or the program ends.
struct AtEnd {
  ~AtEnd() {
    char text[4096];
    if (fake_nvrtc_report(text, sizeof(text))) std::fputs(text, stderr);
  }
};
const AtEnd at_end = (books(), AtEnd());

bool is_live(NvrtcProgram program) {
  return books().programs.count(program) != 0;
}

int size_of(const char* call, NvrtcProgram program, const char* prefix, size_t* bytes) {
  if (!is_live(program) || !program->compiled) return books().misused(call, "no compiled program", kInvalidProgram);
  if (!bytes) return books().misused(call, "no place for the size", kInvalidInput);
  *bytes = program->image.target.rfind(prefix, 0) == 0 ? program->image.encode().size() : 0;
  return kSuccess;
}

int copy_of(const char* call, NvrtcProgram program, const char* prefix, char* to) {
  size_t bytes = 0;
  const int result = size_of(call, program, prefix, &bytes);
  if (result != kSuccess) return result;
  if (!to || bytes == 0) return books().misused(call, "the program was not compiled to that", kInvalidInput);
  program->image.encode().copy(to, bytes);
  return kSuccess;
}

}  // namespace

#define FAKE_EXPORT extern "C" __attribute__((visibility("default")))
#define FAKE_ENTER(name)                                 \
  const std::lock_guard<std::mutex> lock(books().mutex); \
  const int injected = books().faults.count(#name);      \
  if (injected) return injected

FAKE_EXPORT int nvrtcVersion(int* major, int* minor) {
  FAKE_ENTER(nvrtcVersion);
  const auto version = static_cast<int>(fake::setting("FAKE_NVRTC_VERSION", 12040));
  *major = version / 1000;
  *minor = version % 1000 / 10;
  return kSuccess;
}

FAKE_EXPORT const char* nvrtcGetErrorString(int result) {
  switch (result) {
    case 0:
      return "NVRTC_SUCCESS";
    case 1:
      return "NVRTC_ERROR_OUT_OF_MEMORY";
    case kInvalidInput:
      return "NVRTC_ERROR_INVALID_INPUT";
    case kInvalidProgram:
      return "NVRTC_ERROR_INVALID_PROGRAM";
    case kInvalidOption:
      return "NVRTC_ERROR_INVALID_OPTION";
    case kCompilationError:
      return "NVRTC_ERROR_COMPILATION";
    default:
      return "NVRTC_ERROR unknown";
  }
}

FAKE_EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  FAKE_ENTER(nvrtcGetNumSupportedArchs);
  *count = static_cast<int>(std::size(kArchitectures));
  return kSuccess;
}

FAKE_EXPORT int nvrtcGetSupportedArchs(int* architectures) {
  FAKE_ENTER(nvrtcGetSupportedArchs);
  std::copy(std::begin(kArchitectures), std::end(kArchitectures), architectures);
  return kSuccess;
}

FAKE_EXPORT int nvrtcCreateProgram(NvrtcProgram* program, const char* source, const char* name, int header_count,
                                   const char* const*, const char* const*) {
  FAKE_ENTER(nvrtcCreateProgram);
  if (!program || !source || !name || header_count != 0)
    return books().misused("nvrtcCreateProgram", "no source or no name", kInvalidInput);
  *program = new NvrtcProgramObject;
  (*program)->source = source;
  books().programs.insert(*program);
  return kSuccess;
}

FAKE_EXPORT int nvrtcDestroyProgram(NvrtcProgram* program) {
  const std::lock_guard<std::mutex> lock(books().mutex);
  const int injected = books().faults.count("nvrtcDestroyProgram");
  if (!program || !is_live(*program)) return books().misused("nvrtcDestroyProgram", "no program", kInvalidProgram);
  books().programs.erase(*program);
  delete *program;
  *program = nullptr;
  return injected;
}

FAKE_EXPORT int nvrtcCompileProgram(NvrtcProgram program, int option_count, const char* const* options) {
  FAKE_ENTER(nvrtcCompileProgram);
  if (!is_live(program)) return books().misused("nvrtcCompileProgram", "no program", kInvalidProgram);
  fake::Image image;
  image.source = program->source;
  for (int i = 0; i < option_count; ++i) {
    const std::string option = options[i];
    const std::string arch = "--gpu-architecture=";
    if (option.rfind("-D", 0) == 0) {
      image.macros += (image.macros.empty() ? "" : " ") + option;
    } else if (option.rfind(arch, 0) == 0) {
      image.target = option.substr(arch.size());
    } else if (option != "--std=c++17" && option != "-default-device" && option != "--fmad=false") {
      return books().misused("nvrtcCompileProgram", "unknown option " + option, kInvalidOption);
    }
  }
  bool known = false;
  for (const int number : kArchitectures)
    known =
        known || image.target == "sm_" + std::to_string(number) || image.target == "compute_" + std::to_string(number);
  if (!known) return books().misused("nvrtcCompileProgram", "unknown target " + image.target, kInvalidOption);
  program->image = image;
  program->compiled = true;
  return kSuccess;
}

FAKE_EXPORT int nvrtcGetProgramLogSize(NvrtcProgram program, size_t* bytes) {
  FAKE_ENTER(nvrtcGetProgramLogSize);
  if (!is_live(program)) return books().misused("nvrtcGetProgramLogSize", "no program", kInvalidProgram);
  *bytes = std::strlen(kLog) + 1;
  return kSuccess;
}

FAKE_EXPORT int nvrtcGetProgramLog(NvrtcProgram program, char* log) {
  FAKE_ENTER(nvrtcGetProgramLog);
  if (!is_live(program)) return books().misused("nvrtcGetProgramLog", "no program", kInvalidProgram);
  std::memcpy(log, kLog, std::strlen(kLog) + 1);
  return kSuccess;
}

FAKE_EXPORT int nvrtcGetCUBINSize(NvrtcProgram program, size_t* bytes) {
  FAKE_ENTER(nvrtcGetCUBINSize);
  return size_of("nvrtcGetCUBINSize", program, "sm_", bytes);
}

FAKE_EXPORT int nvrtcGetCUBIN(NvrtcProgram program, char* cubin) {
  FAKE_ENTER(nvrtcGetCUBIN);
  return copy_of("nvrtcGetCUBIN", program, "sm_", cubin);
}

FAKE_EXPORT int nvrtcGetPTXSize(NvrtcProgram program, size_t* bytes) {
  FAKE_ENTER(nvrtcGetPTXSize);
  return size_of("nvrtcGetPTXSize", program, "compute_", bytes);
}

FAKE_EXPORT int nvrtcGetPTX(NvrtcProgram program, char* ptx) {
  FAKE_ENTER(nvrtcGetPTX);
  return copy_of("nvrtcGetPTX", program, "compute_", ptx);
}

FAKE_EXPORT const char* const* fake_nvrtc_functions(void) {
  static const char* const names[] = {
#define FAKE_NAME(name, parameters) #name,
      SPARSENET_NVRTC_FUNCTIONS(FAKE_NAME)
#undef FAKE_NAME
          nullptr};
  return names;
}

FAKE_EXPORT unsigned long fake_nvrtc_calls(const char* name) {
  const std::lock_guard<std::mutex> lock(books().mutex);
  return books().faults.calls(name);
}

FAKE_EXPORT void fake_nvrtc_fail(const char* faults) {
  const std::lock_guard<std::mutex> lock(books().mutex);
  books().faults.set(faults);
}

FAKE_EXPORT size_t fake_nvrtc_report(char* text, size_t capacity) {
  const std::lock_guard<std::mutex> lock(books().mutex);
  std::string report = books().misuse;
  const size_t programs = books().programs.size();
  if (programs) report += "leak: " + std::to_string(programs) + " programs of NVRTC\n";
  if (text && capacity) {
    const size_t bytes = report.copy(text, capacity - 1);
    text[bytes] = 0;
  }
  const size_t count = books().misuses + programs;
  books().misuse.clear();
  books().misuses = 0;
  return count;
}
