// Gathering as a function of its own, for backends whose kernels need all channels of a pixel side by side.
#include "runtime/gather.h"

#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {

void gather_pixels(const Gather& from, int64_t first, int count, float* to);
void gather_pixels(const Gather& from, int64_t first, int count, float* to) {
  const Source source{from.ranges, from.range_count, from.channels, from.scale, from.shift, from.low, from.high};
  gather(source, first, count, to, from.channels);
}

}  // namespace sparsenet::rt::SPARSENET_ISA
