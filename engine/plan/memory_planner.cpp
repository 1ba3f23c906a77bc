#include "plan/memory_planner.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>

namespace sparsenet {
namespace {

size_t round_up(size_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

bool overlap(const PlannedBuffer& a, const PlannedBuffer& b) {
  return a.first <= b.last && b.first <= a.last;
}

// Places the buffers in the given order and returns the arena's size; stops early once that reaches `limit`.
size_t place(std::vector<PlannedBuffer>* buffers, const std::vector<size_t>& order, bool best_fit, size_t limit) {
  std::vector<size_t> placed;  // by ascending offset
  placed.reserve(order.size());
  size_t total = 0;
  for (size_t id : order) {
    PlannedBuffer& buffer = (*buffers)[id];
    size_t end = 0;  // of everything that is in the way so far
    size_t best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t other_id : placed) {
      const PlannedBuffer& other = (*buffers)[other_id];
      if (!overlap(buffer, other)) continue;
      if (other.offset >= end + buffer.bytes) {
        const size_t gap = other.offset - end;
        if (gap < best_gap) {
          best = end;
          best_gap = gap;
          if (!best_fit) break;
        }
      }
      end = std::max(end, other.offset + other.bytes);
    }
    buffer.offset = best == SIZE_MAX ? end : best;
    total = std::max(total, buffer.offset + buffer.bytes);
    if (total >= limit) return total;
    const auto at = std::upper_bound(placed.begin(), placed.end(), buffer.offset,
                                     [&](size_t offset, size_t x) { return offset < (*buffers)[x].offset; });
    placed.insert(at, id);
  }
  return total;
}

uint64_t next_random(uint64_t* state) {  // xorshift64 (G. Marsaglia, 2003)
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

}  // namespace

size_t memory_lower_bound(const std::vector<PlannedBuffer>& buffers) {
  std::map<int, int64_t> change;
  for (const PlannedBuffer& b : buffers) {
    change[b.first] += static_cast<int64_t>(round_up(b.bytes));
    change[b.last + 1] -= static_cast<int64_t>(round_up(b.bytes));
  }
  int64_t live = 0, most = 0;
  for (const auto& [step, delta] : change) {
    live += delta;
    most = std::max(most, live);
  }
  return static_cast<size_t>(most);
}

size_t plan_memory(std::vector<PlannedBuffer>* buffers) {
  std::vector<PlannedBuffer>& all = *buffers;
  for (PlannedBuffer& buffer : all) buffer.bytes = round_up(buffer.bytes);
  const size_t bound = memory_lower_bound(all);
  const size_t n = all.size();

  std::vector<size_t> by_id(n);
  std::iota(by_id.begin(), by_id.end(), size_t{0});
  auto sorted = [&](auto less) {
    std::vector<size_t> order = by_id;
    std::stable_sort(order.begin(), order.end(), less);
    return order;
  };
  auto life = [&](size_t i) { return static_cast<size_t>(all[i].last - all[i].first + 1); };
  std::vector<std::vector<size_t>> orders;
  orders.push_back(sorted([&](size_t a, size_t b) { return all[a].bytes > all[b].bytes; }));
  orders.push_back(sorted([&](size_t a, size_t b) {
    return all[a].bytes != all[b].bytes ? all[a].bytes > all[b].bytes : life(a) > life(b);
  }));
  orders.push_back(sorted([&](size_t a, size_t b) { return all[a].bytes * life(a) > all[b].bytes * life(b); }));
  orders.push_back(sorted([&](size_t a, size_t b) { return all[a].first < all[b].first; }));
  orders.push_back(sorted([&](size_t a, size_t b) { return life(a) > life(b); }));

  size_t best = SIZE_MAX;
  std::vector<size_t> best_order;
  bool best_variant = false;
  std::vector<PlannedBuffer> result;
  auto attempt = [&](const std::vector<size_t>& order, bool variant) {
    std::vector<PlannedBuffer> trial = all;
    const size_t total = place(&trial, order, variant, best);
    if (total >= best) return false;
    best = total;
    best_order = order;
    best_variant = variant;
    result = std::move(trial);
    return true;
  };
  for (const auto& order : orders) {
    for (bool variant : {false, true}) {
      if (best > bound) attempt(order, variant);
    }
  }
  // Moves one random buffer to an earlier place in the order, and keeps what helps. Bounded by work, not by time, so
  // that results do not depend on the machine.
  uint64_t random = 0x9e3779b97f4a7c15u;
  const size_t tries = n < 2 ? 0 : std::min<size_t>(400, 4000000 / (n * n));
  for (size_t i = 0; i < tries && best > bound; ++i) {
    std::vector<size_t> order = best_order;
    const auto from = static_cast<size_t>(1 + next_random(&random) % (n - 1));
    const auto to = static_cast<size_t>(next_random(&random) % from);
    std::rotate(order.begin() + static_cast<std::ptrdiff_t>(to), order.begin() + static_cast<std::ptrdiff_t>(from),
                order.begin() + static_cast<std::ptrdiff_t>(from) + 1);
    attempt(order, best_variant);
  }
  if (n > 0) all = std::move(result);
  return n == 0 ? 0 : best;
}

}  // namespace sparsenet
