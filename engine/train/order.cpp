#include <sparsenet/train_tools.h>

#include <numeric>

#include "base/checksum.h"
#include "train/random_stream.h"
#include "zoo/initialize.h"

namespace sparsenet {

std::vector<uint32_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch) {
  std::vector<uint32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0u);
  RandomBits bits = random_stream("order", seed, {epoch});
  for (size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[static_cast<size_t>(random_below(bits, left))]);
  }
  return order;
}

uint64_t hash_bytes(const void* data, size_t size, uint64_t previous) {
  return xxh64(data, size, previous);
}

}  // namespace sparsenet
