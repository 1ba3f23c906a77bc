// Makes every thread of a ThreadPool work in the same step, however busy the machine is.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "runtime/denormals.h"
#include "session/thread_pool.h"

namespace sparsenet::test {

struct EveryThread {
  std::atomic<int> came{0}, flushing{0};
  int threads = 0;

  // Runs a step with as many chunks as there are threads, each of which waits until all others have one; gives up after
  // ten seconds. Returns how many came together; `flushing` counts those that treat denormals as zero.
  int meet(ThreadPool& pool, int expected) {
    came = flushing = 0;
    threads = expected;
    pool.begin_run();
    pool.parallel(expected, chunk, this);
    pool.end_run();
    return came;
  }

 private:
  static void chunk(void* self, int32_t, int32_t) {
    auto& all = *static_cast<EveryThread*>(self);
    all.flushing += (rt::float_mode() & rt::kFlushBits) != 0 ? 1 : 0;
    ++all.came;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (all.came < all.threads) {
      if (std::chrono::steady_clock::now() > end) {
        all.came = -1000;
        return;
      }
      std::this_thread::yield();
    }
  }
};

}  // namespace sparsenet::test
