// Feeds stored inputs to the targets, without libFuzzer, so that every build tests what fuzzing has found.
//
//   fuzz_replay TARGET FILE|FOLDER...
//
// Exits with 1 if an input takes too long or too much memory; a crash ends the program by itself, after the input's
// name has been printed. SPARSENET_FUZZ_SECONDS and SPARSENET_FUZZ_MEGABYTES set the limits (default 5 and 512).
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "fuzz/target.h"

namespace fs = std::filesystem;

// Nothing is mutated here.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" size_t LLVMFuzzerMutate(uint8_t* /*data*/, size_t size, size_t /*max_size*/) {
  return size;
}

namespace {

double limit(const char* variable, double otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtod(text, nullptr);
}

// Counts this process only: others may have the CPU meanwhile.
double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

bool replay(const sparsenet::fuzz::Target& target, const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  // Exactly as large as the input, so that a sanitizer detects access to the first byte beyond it.
  const std::unique_ptr<uint8_t[]> bytes(new uint8_t[std::max<size_t>(text.size(), 1)]);
  std::copy(text.begin(), text.end(), bytes.get());
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);
  const double start = cpu_seconds();
  target.run(bytes.get(), text.size());
  const double seconds = cpu_seconds() - start;
  const double most_seconds = limit("SPARSENET_FUZZ_SECONDS", 5), most_memory = limit("SPARSENET_FUZZ_MEGABYTES", 512);
  if (seconds > most_seconds) {
    std::fprintf(stderr, "error: %s: expected at most %g s, took %.1f s\n", path.c_str(), most_seconds, seconds);
    return false;
  }
  if (peak_megabytes() > most_memory) {
    std::fprintf(stderr, "error: %s: expected at most %g MB, took %.0f MB\n", path.c_str(), most_memory,
                 peak_megabytes());
    return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const sparsenet::fuzz::Target* target = argc < 3 ? nullptr : sparsenet::fuzz::find_target(argv[1]);
  if (target == nullptr) {
    std::fprintf(stderr, "usage: fuzz_replay TARGET FILE|FOLDER...\ntargets:");
    for (const auto* known : sparsenet::fuzz::all_targets()) std::fprintf(stderr, " %s", known->name);
    std::fprintf(stderr, "\n");
    return 2;
  }
  std::vector<fs::path> files;
  for (int i = 2; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "error: no inputs for target %s\n", target->name);
    return 1;
  }
  for (const fs::path& path : files) {
    if (!replay(*target, path)) return 1;
  }
  std::printf("%zu inputs\n", files.size());
  return 0;
}
