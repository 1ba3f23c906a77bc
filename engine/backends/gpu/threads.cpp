#include "backends/gpu/threads.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace sparsenet::gpu {

bool run_in_threads(size_t count, size_t threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> done{true};
  const auto take_turns = [&]() noexcept {
    for (size_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        done = false;
      }
    }
  };
  std::vector<std::thread> others;
  try {
    while (others.size() + 1 < std::min(count, threads)) others.emplace_back(take_turns);
  } catch (...) {
    // With fewer threads, or none, it takes longer.
  }
  take_turns();
  for (std::thread& thread : others) thread.join();
  return done;
}

}  // namespace sparsenet::gpu
