// Pooling over windows, and over whole images.
#include "backends/gpu/lower_pool.h"

#include <algorithm>
#include <limits>

#include "backends/gpu/index_space.h"

namespace sparsenet::gpu {
namespace {

const char* lower_global_pool(const snp_step& step, int count, Builder& builder) {
  if (step.out->n != step.in->n || step.out->h != 1 || step.out->w != 1 || step.out->c != step.in->c)
    return "expected an output of one pixel for each image";
  GlobalPoolParams p{};
  p.out = builder.view(*step.out);
  p.affine = affine_of(step, builder);
  p.act = Builder::activation(step.act);
  launch_global_pool(*step.in, count, p, builder);
  return nullptr;
}

// Whether sizes of windows are such that sums and products of them stay far from 31 bits.
bool fits(const snp_window& w) {
  constexpr int32_t most = 1 << 14;
  for (int32_t size : {w.kernel_h, w.kernel_w})
    if (size < 1 || size > most) return false;
  for (int32_t pad : {w.pad_bottom, w.pad_right})
    if (pad < 0 || pad > most) return false;
  return w.stride_h >= 1 && w.stride_w >= 1 && w.dilation_h <= 1 && w.dilation_w <= 1;
}

// Whether, along one dimension, the last window begins within the input, and the first one not far in front of it.
bool covers(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t before) {
  return before < kernel && before > -in && (int64_t{out} - 1) * stride - before < in;
}

// The number of pixels that a sum is divided by, if there is one window, which has all of the input. Otherwise 0.
int64_t count_of_all(const snp_step& step) {
  const snp_window& w = *step.window;
  const snp_view& in = *step.in;
  const bool all = step.out->h == 1 && step.out->w == 1 && w.pad_top >= 0 && w.pad_left >= 0 &&
                   w.kernel_h - w.pad_top >= in.h && w.kernel_w - w.pad_left >= in.w;
  if (!all) return 0;
  if (!step.pool->count_include_pad) return int64_t{in.h} * in.w;
  return int64_t{std::min(w.kernel_h, in.h + w.pad_bottom + w.pad_top)} *
         std::min(w.kernel_w, in.w + w.pad_right + w.pad_left);
}

}  // namespace

void launch_global_pool(const snp_view& in, int count, GlobalPoolParams p, Builder& builder) {
  p.in = builder.view(in);
  p.channels = in.c;
  p.pixels = in.h * in.w;
  p.count = count;
  p.block = 32;
  const auto groups = [&] {
    return uint64_t{divide_up(static_cast<uint64_t>(in.c), static_cast<uint64_t>(p.block))} *
           static_cast<uint64_t>(in.n);
  };
  while (p.block > 8 && groups() < builder.device().units) p.block /= 2;
  p.blocks = (in.c + p.block - 1) / p.block;
  const uint64_t means = static_cast<uint64_t>(in.n) * static_cast<uint64_t>(in.c);
  Launch& launch = builder.launch("pool", "global_pool", "", {static_cast<uint32_t>(groups()), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = bytes_of(in, builder);
  launch.bytes_written = means * (p.to_scratch ? 4 : builder.element_bytes());
}

const char* lower_pool(const snp_step& step, Builder& builder) {
  const snp_view &in = *step.in, &out = *step.out;
  if (step.op == SNP_GLOBAL_POOL) return lower_global_pool(step, in.h * in.w, builder);
  if (!step.window || !step.pool) return "it has no window";
  const snp_window& w = *step.window;
  if (!fits(w)) return "its windows are dilated, or larger than 16384 pixels";
  if (out.n != in.n || out.c != in.c || !covers(in.h, out.h, w.kernel_h, w.stride_h, w.pad_top) ||
      !covers(in.w, out.w, w.kernel_w, w.stride_w, w.pad_left))
    return "the output's size does not follow from input and window";
  if (!step.pool->max) {
    const int64_t count = count_of_all(step);
    if (count >= 64) return lower_global_pool(step, static_cast<int>(count), builder);
  }
  PoolParams p{};
  p.in = builder.view(in);
  p.out = builder.view(out);
  // Large windows of few outputs need all the threads that there are.
  const bool few = elements_of(out) < uint64_t{1024} * builder.device().units && w.kernel_h * w.kernel_w > 16;
  p.width = in_fours(in) && in_fours(out) && !few ? 4 : 1;
  p.row = static_cast<uint32_t>(out.c / p.width);
  p.items = static_cast<uint32_t>(pixels_of(out)) * p.row;
  p.in_h = in.h;
  p.in_w = in.w;
  p.out_h = out.h;
  p.out_w = out.w;
  p.kernel_h = w.kernel_h;
  p.kernel_w = w.kernel_w;
  p.stride_h = w.stride_h;
  p.stride_w = w.stride_w;
  p.pad_top = w.pad_top;
  p.pad_left = w.pad_left;
  p.pad_bottom = w.pad_bottom;
  p.pad_right = w.pad_right;
  p.max = step.pool->max ? 1 : 0;
  p.start = p.max ? -std::numeric_limits<float>::infinity() : 0.f;
  p.count_include_pad = step.pool->count_include_pad ? 1 : 0;
  p.affine = affine_of(step, builder);
  p.act = Builder::activation(step.act);
  Launch& launch = builder.launch("pool", "pool", "", {divide_up(p.items, 256), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = bytes_of(in, builder);
  launch.bytes_written = bytes_of(out, builder);
  return nullptr;
}

}  // namespace sparsenet::gpu
