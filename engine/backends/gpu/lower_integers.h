// What the files lower_integers*.cpp share: views of bytes as the kernels of integers address them, and checks.
#pragma once

#include <vector>

#include "backends/gpu/builder.h"
#include "backends/gpu/kernels/integers_params.h"

namespace sparsenet::gpu {

// A view of int8 or uint8 elements. Constant ranges are copied into the weights.
class ByteView {
 public:
  struct Range {
    uint32_t base;
    int32_t stride;  // ~stride of ranges in the weights
    int32_t first, channels;
  };

  // Returns null, or why the kernels cannot address it.
  const char* place(const snp_view& view, Builder& builder);

  int32_t channels() const { return channels_; }
  const std::vector<Range>& ranges() const { return ranges_; }
  bool is_single() const { return ranges_.size() == 1; }
  bool in_arena() const { return is_single() && ranges_[0].stride >= 0; }
  // Whether its elements follow each other without gaps.
  bool is_dense() const { return in_arena() && ranges_[0].stride == channels_; }
  ByteQuad quad(int32_t channel, int32_t count) const;  // within one range

 private:
  std::vector<Range> ranges_;
  int32_t channels_ = 0;
};

// Consecutive channels, at most four. Of none, kernels load the first one, but nothing depends on it.
struct QuadCut {
  int32_t channel, count;
};

// Cuts channels [first, last) so that no quad crosses from one range to the next in any of the views.
std::vector<QuadCut> cut_quads(int32_t first, int32_t last, const std::vector<const ByteView*>& views);

// `cuts`: the quads, as a table. Without them, those of a single range with `channels` channels.
QuadView quad_table(const ByteView& view, const std::vector<QuadCut>& cuts, Builder& builder);
QuadView quad_range(const ByteView& view, int32_t channels);

// The scales of the input's channels, in the order of the quads. The first counts from channel 0 on.
uint32_t scale_table(const snp_quant& quant, const std::vector<QuadCut>& cuts, Builder& builder);

// The sum, difference or product that `quant` describes.
IntegerSum integer_sum(uint32_t op, const snp_quant& quant);

constexpr int32_t round_up_to(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr uint32_t blocks_of(int64_t count, int32_t size) {
  return static_cast<uint32_t>((count + size - 1) / size);
}
inline int32_t pixels_of(const snp_view& view) {  // the builder has checked that there are below 2^31
  return view.n * view.h * view.w;
}
inline uint64_t elements_of(const snp_view& view) {
  return static_cast<uint64_t>(pixels_of(view)) * static_cast<uint64_t>(view.c);
}
// Threads of a group, where a kernel works with any number.
inline uint32_t usual_group(const Builder& builder) {
  return builder.device().max_group >= 128 ? 128 : 64;
}

// Defined in a file of their own each.
const char* lower_integer_conv(const snp_step& step, Builder& builder);
const char* lower_integer_pool(const snp_step& step, Builder& builder);  // lower_integers_pool.cpp: also the global one
const char* lower_integer_walk(const snp_step& step, Builder& builder);  // steps with an index space

}  // namespace sparsenet::gpu
