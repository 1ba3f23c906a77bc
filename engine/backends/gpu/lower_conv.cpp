// Convolutions: which kernel computes a step. A fixed table of shapes and an estimate of cost choose; tuning may take
// another of the best by that estimate.
#include <algorithm>

#include "backends/gpu/conv_shape.h"

namespace sparsenet::gpu {
namespace {

constexpr size_t kMostTiles = 5;  // that tuning tries for a step
constexpr int kFewRows = 8;

// Whether groups have so few channels that tiles of a product would be nearly empty.
bool suits_direct(const ConvSizes& c) {
  return c.groups > 1 && (c.group_out < 16 || c.group_in < 8);
}

std::string key_of(const ConvSizes& c, const Builder& builder) {
  const snp_step& s = *c.step;
  const snp_window& w = *s.window;
  std::string key = "conv";
  for (const int number : {s.in->n, s.in->h, s.in->w, s.in->c, s.out->c, c.groups, w.kernel_h, w.kernel_w, w.stride_h,
                           w.stride_w, w.dilation_h, w.dilation_w, s.out->h, s.out->w, int{c.vectors_in},
                           int{c.vectors_out}, int{builder.half()}, int{suits_tensor_cores(c, builder)}})
    key += ' ' + std::to_string(number);
  return key;
}

const char* check(const snp_step& s) {
  if (!s.window || !s.conv || !s.conv->weight) return "a convolution has no window or no weights";
  const snp_window& w = *s.window;
  if (w.kernel_h < 1 || w.kernel_w < 1 || w.stride_h < 1 || w.stride_w < 1 || w.dilation_h < 1 || w.dilation_w < 1 ||
      w.pad_top < 0 || w.pad_left < 0)
    return "a convolution's window is not positive";
  const int groups = s.conv->groups;
  if (groups < 1 || s.in->c % groups != 0 || s.out->c % groups != 0)
    return "a convolution's groups do not divide its channels";
  if (s.in->n != s.out->n) return "a convolution has another number of images before it than behind it";
  if (s.act && s.act->kind > SNP_ERF) return "a convolution has a function behind it that is no activation";
  if (s.in2 && (s.in2->n != s.out->n || s.in2->h != s.out->h || s.in2->w != s.out->w || s.in2->c != s.out->c))
    return "what is added to a convolution is not of its output's size";
  if (s.affine && (!s.affine->scale || !s.affine->shift)) return "an affine has no scale or no shift";
  for (uint32_t i = 0; i < s.out->segment_count; ++i) {
    if (SNP_AT(snp_segment, s.out->segments, i)->constant >= 0) return "its output is a constant";
  }
  constexpr int64_t most = 1 << 30;  // so that places beyond an edge fit 32 bits too
  const int64_t taps = int64_t{w.kernel_h} * w.kernel_w;
  if (taps > most / (s.in->c / groups) || taps * (s.in->c / groups) > most / s.out->c)
    return "a convolution has more weights than 32 bits count";
  const auto too_far = [](int64_t out, int64_t stride, int64_t kernel, int64_t dilation, int64_t pad) {
    return out > most / stride || kernel > most / dilation || pad > most / 4 ||
           out * stride + kernel * dilation > most / 2;
  };
  if (too_far(s.out->h, w.stride_h, w.kernel_h, w.dilation_h, w.pad_top) ||
      too_far(s.out->w, w.stride_w, w.kernel_w, w.dilation_w, w.pad_left))
    return "a convolution's window reaches further than 32 bits count";
  return nullptr;
}

}  // namespace

const char* lower_conv(const snp_step& step, Builder& builder) {
  if (const char* reason = check(step)) return reason;
  const ConvSizes sizes = conv_sizes(step, builder);
  if (builder.device().is_cpu && !sizes.depthwise) {
    lower_conv_serial(sizes, builder);
    return nullptr;
  }
  if (suits_direct(sizes)) {
    lower_conv_direct(sizes, builder);
    return nullptr;
  }
  if (sizes.pointwise && sizes.groups == 1 && sizes.rows <= kFewRows) {
    lower_conv_few(sizes, builder);
    return nullptr;
  }
  // A choice is one of the tiles by rank, or, behind them, Winograd's convolution.
  const bool tensor_cores = suits_tensor_cores(sizes, builder);
  const std::vector<TileChoice> tiles =
      rank_tiles(builder, sizes.rows, sizes.depth, sizes.group_out, sizes.groups,
                 tensor_cores ? TileUse::kTensorCores : TileUse::kConvolution, kMostTiles);
  int count = static_cast<int>(tiles.size()), fixed = 0;
  if (!tensor_cores && suits_winograd(sizes, builder)) {
    if (winograd_cost(sizes, builder) < tiles.front().cost) fixed = count;
    ++count;
  }
  const int taken = count > 1 ? builder.choose(key_of(sizes, builder), count, fixed) : 0;
  if (taken < static_cast<int>(tiles.size()))
    lower_conv_tiled(sizes, tiles[static_cast<size_t>(taken)], builder);
  else
    lower_conv_winograd(sizes, builder);
  return nullptr;
}

}  // namespace sparsenet::gpu
