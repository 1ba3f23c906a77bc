#include "backends/cuda/compile.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "backends/gpu/binary_cache.h"

namespace sparsenet::gpu::cuda {
namespace {

constexpr unsigned kMostThreads = 16;

// All that the image depends on. Machine code is the same for every device of an architecture.
std::string cache_key(const Nvrtc& nvrtc, const Nvrtc::Target& target, const std::string& defines, const char* source) {
  std::string key = "NVRTC " + std::to_string(nvrtc.version()) + " " + target.option;
  for (const char* option : Nvrtc::options()) key += std::string(" ") + option;
  return key + " " + defines + "\n" + source;
}

Outcome run_job(const Nvrtc& nvrtc, const Nvrtc::Target& target, const std::string& cache_folder, CompileJob* job) {
  const char* source = kernel_source(job->file);
  if (!source) return failure(SNP_FAILED, "this plugin has no kernels/" + job->file + ".cl");
  const std::string key = cache_key(nvrtc, target, job->defines, source);
  if (read_cached_binary(cache_folder, key, &job->image)) return {};
  Outcome outcome = nvrtc.compile(job->file, source, job->defines, target, &job->image);
  if (outcome.ok()) write_cached_binary(cache_folder, key, job->image);
  return outcome;
}

}  // namespace

Outcome compile_all(const Nvrtc& nvrtc, const Nvrtc::Target& target, const std::string& cache_folder,
                    std::vector<CompileJob>* jobs) {
  std::atomic<size_t> next{0};
  const auto work = [&]() noexcept {
    for (size_t i = next++; i < jobs->size(); i = next++) {
      CompileJob& job = (*jobs)[i];
      try {
        job.outcome = run_job(nvrtc, target, cache_folder, &job);
      } catch (...) {
        job.outcome.status = SNP_NO_MEMORY;  // its message, which needs memory, is the caller's thread's to make
      }
    }
  };
  const size_t wanted =
      std::min<size_t>({jobs->size(), kMostThreads, std::max(1u, std::thread::hardware_concurrency())});
  std::vector<std::thread> threads;
  try {
    while (threads.size() + 1 < wanted) threads.emplace_back(work);
  } catch (...) {
    // With fewer threads, or none, it takes longer.
  }
  work();
  for (std::thread& thread : threads) thread.join();
  for (const CompileJob& job : *jobs) {
    if (job.outcome.ok()) continue;
    return job.outcome.message.empty() ? failure(job.outcome.status, "no memory left while kernels were compiled")
                                       : job.outcome;
  }
  return {};
}

}  // namespace sparsenet::gpu::cuda
