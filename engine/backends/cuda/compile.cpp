#include "backends/cuda/compile.h"

#include <algorithm>
#include <thread>

#include "backends/gpu/binary_cache.h"
#include "backends/gpu/threads.h"

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
  const size_t threads = std::min(kMostThreads, std::max(1u, std::thread::hardware_concurrency()));
  const bool done = run_in_threads(jobs->size(), threads, [&](size_t i) {
    CompileJob& job = (*jobs)[i];
    job.outcome = run_job(nvrtc, target, cache_folder, &job);
  });
  if (!done) return failure(SNP_NO_MEMORY, "no memory left while kernels were compiled");
  for (const CompileJob& job : *jobs) {
    if (!job.outcome.ok()) return job.outcome;
  }
  return {};
}

}  // namespace sparsenet::gpu::cuda
