// ThreadPool: every chunk runs exactly once, in time, whatever the number of threads. For ThreadSanitizer above all.
#include "runtime/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

using sparsenet::ThreadPool;

namespace {

struct Tally {
  std::vector<std::atomic<int>> runs;
  std::vector<int> plain;  // written without atomics: the pool's own ordering must make it visible
  std::atomic<int> bad_thread{0};
  int threads;
  Tally(size_t chunks, int count) : runs(chunks), plain(chunks, 0), threads(count) {}

  static void run(void* context, int32_t chunk, int32_t thread) {
    auto* tally = static_cast<Tally*>(context);
    ++tally->runs[static_cast<size_t>(chunk)];
    ++tally->plain[static_cast<size_t>(chunk)];
    if (thread < 0 || thread >= tally->threads) ++tally->bad_thread;
  }
};

}  // namespace

TEST_CASE("every chunk of every step runs once") {
  for (int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    REQUIRE(pool.size() == threads);
    for (int32_t chunks : {1, 2, 3, 7, 64, 1000}) {
      Tally tally(static_cast<size_t>(chunks), threads);
      const int rounds = 5, steps = 20;
      for (int round = 0; round < rounds; ++round) {
        pool.begin_run();
        for (int step = 0; step < steps; ++step) {
          pool.parallel(chunks, Tally::run, &tally);
          // What the step wrote is visible at once.
          int wrong = 0;
          for (int count : tally.plain) wrong += count != round * steps + step + 1;
          CHECK(wrong == 0);
        }
        pool.end_run();
      }
      int wrong = 0;
      for (const auto& count : tally.runs) wrong += count != rounds * steps;
      CHECK_MESSAGE(wrong == 0, threads, " threads, ", chunks, " chunks");
      CHECK(tally.bad_thread == 0);
    }
  }
}

TEST_CASE("the largest number of chunks") {
  ThreadPool pool(3);
  Tally tally(static_cast<size_t>(ThreadPool::kMaxChunks), 3);
  pool.begin_run();
  pool.parallel(ThreadPool::kMaxChunks, Tally::run, &tally);
  pool.end_run();
  int wrong = 0;
  for (int count : tally.plain) wrong += count != 1;
  CHECK(wrong == 0);
}

TEST_CASE("steps with uneven chunks, and pauses between runs") {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  const auto uneven = [](void* context, int32_t chunk, int32_t) {
    if (chunk % 5 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    static_cast<std::atomic<int>*>(context)->fetch_add(chunk);
  };
  for (int round = 0; round < 10; ++round) {
    pool.begin_run();
    for (int step = 0; step < 10; ++step) pool.parallel(16, uneven, &sum);
    pool.end_run();
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 3));
  }
  CHECK(sum == 100 * 120);
}

TEST_CASE("pools that never run, and pools beside each other") {
  { ThreadPool idle(4); }
  ThreadPool a(2), b(3);
  Tally first(10, 2), second(10, 3);
  a.begin_run();
  b.begin_run();
  for (int i = 0; i < 50; ++i) {
    a.parallel(10, Tally::run, &first);
    b.parallel(10, Tally::run, &second);
  }
  b.end_run();
  a.end_run();
  for (int count : first.plain) CHECK(count == 50);
  for (int count : second.plain) CHECK(count == 50);
}
