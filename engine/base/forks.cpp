#include "base/forks.h"

#include <pthread.h>

#include <atomic>

namespace sparsenet {
namespace {

std::atomic<uint32_t> generation{0};
std::atomic<bool> watching{false};

void count_fork() {
  generation.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

bool watch_forks() {
  if (watching.load(std::memory_order_acquire)) return true;
  // Two threads may get here at once and register twice: each fork then counts twice, which does no harm.
  if (pthread_atfork(nullptr, nullptr, count_fork) != 0) return false;
  watching.store(true, std::memory_order_release);
  return true;
}

uint32_t fork_generation() {
  return generation.load(std::memory_order_relaxed);
}

}  // namespace sparsenet
