#include <algorithm>
#include <limits>

#include "backends/gpu/lower_integers.h"

namespace sparsenet::gpu {

const char* ByteView::place(const snp_view& view, Builder& builder) {
  constexpr uint64_t most = std::numeric_limits<uint32_t>::max();
  if (view.type != SNP_INT8 && view.type != SNP_UINT8) return "expected a view of int8 or uint8";
  channels_ = 0;
  ranges_.clear();
  for (uint32_t i = 0; i < view.segment_count; ++i) {
    const snp_segment& segment = *SNP_AT(snp_segment, view.segments, i);
    if (segment.channels < 1 || segment.channels > view.c - channels_ || segment.pixel_stride < 0)
      return "expected ranges of channels that add up";
    const uint64_t bytes = static_cast<uint64_t>(pixels_of(view) - 1) * static_cast<uint64_t>(segment.pixel_stride) +
                           static_cast<uint64_t>(segment.channels);
    Range range{static_cast<uint32_t>(segment.offset), segment.pixel_stride, channels_, segment.channels};
    if (segment.constant >= 0) {
      snp_parameter parameter{};
      parameter.struct_size = sizeof parameter;
      parameter.constant = segment.constant;
      parameter.offset = segment.offset;
      range.base = builder.weight_bytes(builder.integers_of(parameter, view.type, bytes), bytes);
      range.stride = ~segment.pixel_stride;
    } else if (segment.offset > most || bytes > most - segment.offset) {
      return "integers beyond the 4 GiB that kernels address; use a smaller batch";
    }
    ranges_.push_back(range);
    channels_ += segment.channels;
  }
  return channels_ == view.c ? nullptr : "expected ranges of channels that add up";
}

ByteQuad ByteView::quad(int32_t channel, int32_t count) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), channel,
                                      [](int32_t c, const Range& range) { return c < range.first; });
  const Range& range = *(after - 1);
  const uint32_t base = range.base + static_cast<uint32_t>(channel - range.first);
  const int32_t stride = range.stride < 0 ? ~range.stride : range.stride;
  const bool word = count == 4 && base % 4 == 0 && stride % 4 == 0;
  return {base, range.stride, channel, word ? BYTE_QUAD_WORD : count};
}

std::vector<QuadCut> cut_quads(int32_t first, int32_t last, const std::vector<const ByteView*>& views) {
  std::vector<size_t> at(views.size());  // by view: the range that has the channel
  std::vector<QuadCut> cuts;
  for (int32_t channel = first; channel < last;) {
    int32_t end = std::min(last - channel, 4) + channel;
    for (size_t i = 0; i < views.size(); ++i) {
      const std::vector<ByteView::Range>& ranges = views[i]->ranges();
      while (channel - ranges[at[i]].first >= ranges[at[i]].channels) ++at[i];
      end = std::min(end, ranges[at[i]].first + ranges[at[i]].channels);
    }
    cuts.push_back({channel, end - channel});
    channel = end;
  }
  return cuts;
}

QuadView quad_table(const ByteView& view, const std::vector<QuadCut>& cuts, Builder& builder) {
  std::vector<ByteQuad> quads;
  quads.reserve(cuts.size());
  for (const QuadCut& cut : cuts) quads.push_back(view.quad(cut.channel, std::max(cut.count, 1)));
  const uint32_t place = builder.weight_bytes(quads.data(), quads.size() * sizeof(ByteQuad));
  return {0, 0, static_cast<int>(place / 16), view.channels(), 0};
}

QuadView quad_range(const ByteView& view, int32_t channels) {
  const ByteQuad first = view.quad(0, std::min(channels, 4));
  return {first.base, first.stride, -1, channels, channels < 4 ? 4 : first.count};
}

uint32_t scale_table(const snp_quant& quant, const std::vector<QuadCut>& cuts, Builder& builder) {
  std::vector<int32_t> scales(cuts.size() * 12);
  for (size_t i = 0; i < cuts.size(); ++i) {
    const int32_t* from = quant.channels + 3 * static_cast<ptrdiff_t>(cuts[i].channel);
    std::copy(from, from + 3 * cuts[i].count, scales.begin() + 12 * static_cast<ptrdiff_t>(i));
  }
  return builder.weight_bytes(scales.data(), scales.size() * 4);
}

IntegerSum integer_sum(uint32_t op, const snp_quant& quant) {
  IntegerSum sum{};
  sum.op = static_cast<int>(op);
  sum.twice = quant.rounding != 0;
  sum.left_shift = quant.left_shift;
  sum.in_zero = quant.in_zero;
  sum.in2_zero = quant.in2_zero;
  sum.out_zero = quant.out_zero;
  sum.low = quant.low;
  sum.high = quant.high;
  sum.value = quant.multipliers[0];
  sum.shift = quant.multipliers[1];
  if (quant.multiplier_count < 3) return sum;
  sum.value2 = quant.multipliers[2];
  sum.shift2 = quant.multipliers[3];
  sum.value_out = quant.multipliers[4];
  sum.shift_out = quant.multipliers[5];
  return sum;
}

}  // namespace sparsenet::gpu
