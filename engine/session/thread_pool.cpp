#include "session/thread_pool.h"

#include <new>
#include <thread>

#include "base/forks.h"
#include "runtime/denormals.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace sparsenet {
namespace {

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield" ::: "memory");
#else
  std::this_thread::yield();
#endif
}

// About a millisecond of pauses. A worker that has seen no new step for so long yields its CPU instead of pausing.
constexpr int kSpinsBeforeYield = 20000;

constexpr uint64_t pack(uint32_t step, uint32_t next, uint32_t end) {
  return uint64_t{step} << 32 | uint64_t{next} << 16 | end;
}

}  // namespace

ThreadPool::ThreadPool(int threads, bool flush_denormals)
    : flush_denormals_(flush_denormals), workers_(new Worker[static_cast<size_t>(threads < 1 ? 1 : threads)]) {
  shares_.reset(new Share[static_cast<size_t>(threads < 1 ? 1 : threads)]);
  // If forks cannot be noticed, no threads are started, so that none can be missing after a fork.
  if (!watch_forks()) return;
  generation_ = fork_generation();
  start_workers(threads - 1);
}

ThreadPool::~ThreadPool() {
  if (generation_ != fork_generation()) {
    forget_workers();
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (int32_t i = 0; i < worker_count_; ++i) pthread_join(workers_[static_cast<size_t>(i)].id, nullptr);
}

void ThreadPool::start_workers(int32_t count) {
  for (worker_count_ = 0; worker_count_ < count; ++worker_count_) {
    Worker& worker = workers_[static_cast<size_t>(worker_count_)];
    worker.pool = this;
    worker.thread = worker_count_ + 1;
    worker.seen = step_.load(std::memory_order_relaxed);
    const auto run = [](void* self) -> void* {
      const Worker& mine = *static_cast<const Worker*>(self);
      mine.pool->worker_main(mine);
      return nullptr;
    };
    // There is no thread or no memory left: fewer threads than asked for are slower, not wrong.
    if (pthread_create(&worker.id, nullptr, run, &worker) != 0) return;
  }
}

// To be called in the child of a fork: the workers exist only in the parent. Mutex and condition variable are as they
// were at the moment of the fork, perhaps held by a worker forever, so they are constructed anew without being
// destroyed.
void ThreadPool::forget_workers() {
  worker_count_ = 0;
  new (&mutex_) std::mutex;
  new (&wake_) std::condition_variable;
  running_.store(false, std::memory_order_relaxed);
}

bool ThreadPool::take(Share& share, uint32_t step, int32_t* chunk) {
  uint64_t word = share.word.load(std::memory_order_acquire);
  for (;;) {
    const auto next = static_cast<uint32_t>(word >> 16 & 0xffff);
    const auto end = static_cast<uint32_t>(word & 0xffff);
    if (static_cast<uint32_t>(word >> 32) != step || next >= end) return false;
    if (share.word.compare_exchange_weak(word, pack(step, next + 1, end), std::memory_order_acquire,
                                         std::memory_order_acquire)) {
      *chunk = static_cast<int32_t>(next);
      return true;
    }
  }
}

void ThreadPool::work(uint32_t step, int32_t thread) {
  const int32_t n = size();
  for (int32_t i = 0; i < n; ++i) {
    Share& share = shares_[static_cast<size_t>((thread + i) % n)];
    int32_t chunk = 0;
    while (take(share, step, &chunk)) {
      // As long as a thread holds a chunk, the step, and so function_ and context_, cannot change.
      function_(context_, first_ + chunk, thread);
      done_.fetch_add(1, std::memory_order_release);
    }
  }
}

void ThreadPool::worker_main(const Worker& worker) {
  const rt::FlushDenormals flush(flush_denormals_);
  uint32_t seen = worker.seen;
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || running_.load(std::memory_order_relaxed); });
      if (stop_) return;
    }
    int spins = 0;
    while (running_.load(std::memory_order_acquire)) {
      const uint32_t step = step_.load(std::memory_order_acquire);
      if (step != seen) {
        seen = step;
        spins = 0;
        work(step, worker.thread);
      } else if (++spins < kSpinsBeforeYield) {
        relax();
      } else {
        std::this_thread::yield();
      }
    }
  }
}

void ThreadPool::begin_run() {
  if (worker_count_ == 0) return;
  if (const uint32_t now = fork_generation(); generation_ != now) {
    const int32_t count = worker_count_;
    forget_workers();
    generation_ = now;
    start_workers(count);
    if (worker_count_ == 0) return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    running_.store(true, std::memory_order_release);
  }
  wake_.notify_all();
}

void ThreadPool::end_run() {
  if (worker_count_ == 0) return;
  // Under the lock, so that a worker that is about to sleep cannot miss a run that begins right after.
  std::lock_guard<std::mutex> lock(mutex_);
  running_.store(false, std::memory_order_release);
}

void ThreadPool::parallel(int32_t chunks, ChunkFunction function, void* context) {
  const int32_t n = size();
  if (n == 1 || chunks == 1) {
    for (int32_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk, 0);
    return;
  }
  function_ = function;
  context_ = context;
  for (first_ = 0; first_ < chunks; first_ += kMostChunks) {
    const int32_t left = chunks - first_;
    share_out(left < kMostChunks ? left : kMostChunks);
  }
}

void ThreadPool::share_out(int32_t chunks) {
  const int32_t n = size();
  done_.store(0, std::memory_order_relaxed);
  const uint32_t step = step_.load(std::memory_order_relaxed) + 1;
  for (int32_t i = 0; i < n; ++i) {
    const auto begin = static_cast<uint32_t>(int64_t{chunks} * i / n);
    const auto end = static_cast<uint32_t>(int64_t{chunks} * (i + 1) / n);
    shares_[static_cast<size_t>(i)].word.store(pack(step, begin, end), std::memory_order_release);
  }
  step_.store(step, std::memory_order_release);
  work(step, 0);
  while (done_.load(std::memory_order_acquire) != chunks) relax();
}

rt::ThreadHook ThreadPool::handle() {
  return {[](void* self, int32_t chunks, ChunkFunction function, void* context) {
            static_cast<ThreadPool*>(self)->parallel(chunks, function, context);
          },
          this, size()};
}

}  // namespace sparsenet
