// ThreadPool: runs the chunks of a step on a few threads with little overhead.
//
// Within a run (begin_run .. end_run) workers wait for the next step by spinning, since a step takes microseconds;
// between runs they sleep on a condition variable and cost nothing. A worker that wakes late or is preempted never
// holds the others up: every chunk is taken by compare-and-swap, first from the thread's own share (so that a thread
// gets the same rows in step after step, which are in its own cache), then from the others'.
//
// Memory order: a chunk's effects happen before the return of the parallel() call that ran it, and everything the
// caller did before parallel() happens before the chunk.
//
// Thread safety: one caller at a time, always the thread between begin_run and end_run.
//
// In the child of a fork(), which has none of its parent's threads, the next begin_run starts new ones. The fork must
// not have come between begin_run and end_run.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "runtime/bound_steps.h"

namespace sparsenet {

class ThreadPool {
 public:
  using ChunkFunction = void (*)(void* context, int32_t chunk, int32_t thread);
  // Starts threads - 1 workers; the caller is thread 0. If the system refuses some, size() tells how many there are.
  // `flush_denormals` is the mode of the workers; see denormals.h.
  explicit ThreadPool(int threads, bool flush_denormals = false);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return worker_count_ + 1; }

  void begin_run();
  // Calls function(context, chunk, thread) once for every chunk in [0, chunks); returns when all are done.
  void parallel(int32_t chunks, ChunkFunction function, void* context);
  void end_run();

  // What bound steps call to reach this pool.
  rt::ThreadHook handle();

 private:
  static constexpr int32_t kMostChunks = 0xffff;  // that are shared out at once
  // A thread's share of the current step in one word, so that taking a chunk is one compare-and-swap and a word that
  // belongs to another step can never be mistaken: step number (32 bits), next chunk (16), end (16).
  struct alignas(64) Share {
    std::atomic<uint64_t> word{0};
  };

  struct Worker {
    ThreadPool* pool;
    int32_t thread;
    uint32_t seen;  // number of the last step before the worker started
    pthread_t id;
  };

  void start_workers(int32_t count);
  void forget_workers();
  bool take(Share& share, uint32_t step, int32_t* chunk);
  void work(uint32_t step, int32_t thread);
  void share_out(int32_t chunks);  // at most kMostChunks, from first_ on
  void worker_main(const Worker& worker);

  const bool flush_denormals_;
  std::unique_ptr<Worker[]> workers_;
  int32_t worker_count_ = 0;
  uint32_t generation_ = 0;  // fork_generation() of the process that started the workers
  std::unique_ptr<Share[]> shares_;

  alignas(64) std::atomic<uint32_t> step_{0};  // number of the current step
  alignas(64) std::atomic<int32_t> done_{0};   // chunks of it that are finished
  std::atomic<bool> running_{false};
  ChunkFunction function_ = nullptr;  // of the current step; read only by a thread that holds one of its chunks
  void* context_ = nullptr;
  int32_t first_ = 0;  // the chunk of the step from which the numbers in the shares are counted

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
};

}  // namespace sparsenet
