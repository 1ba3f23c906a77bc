// Pools of integers.
#include "backends/gpu/lower_integers.h"

namespace sparsenet::gpu {
namespace {

// The quads of input and output, and the scales of the input's channels.
template <class Params>
const char* place_views(const snp_step& step, Builder& builder, Params* params) {
  ByteView in, out;
  if (const char* reason = in.place(*step.in, builder)) return reason;
  if (const char* reason = out.place(*step.out, builder)) return reason;
  const std::vector<QuadCut> cuts = cut_quads(0, step.in->c, {&in, &out});
  const bool single = in.is_single() && out.is_single();
  params->quads = static_cast<int>(cuts.size());
  params->in = single ? quad_range(in, step.in->c) : quad_table(in, cuts, builder);
  params->out = single ? quad_range(out, step.in->c) : quad_table(out, cuts, builder);
  if (step.quant->channels) {
    params->has_scales = 1;
    params->scales = scale_table(*step.quant, cuts, builder);
  }
  return nullptr;
}

const char* lower_mean(const snp_step& step, Builder& builder) {
  if (pixels_of(*step.out) != step.in->n) return "expected an output of one pixel for each image";
  const snp_quant& q = *step.quant;
  IntegerMeanParams params{};
  if (const char* reason = place_views(step, builder, &params)) return reason;
  params.images = step.in->n;
  params.pixels = step.in->h * step.in->w;
  params.twice = q.rounding != 0;
  params.in_zero = q.in_zero;
  params.out_zero = q.out_zero;
  params.low = q.low;
  params.high = q.high;
  params.value = q.multipliers[0];
  params.shift = q.multipliers[1];
  constexpr uint32_t quads = 8;
  const uint32_t group = usual_group(builder);
  const uint32_t blocks = blocks_of(params.quads, static_cast<int32_t>(quads));
  if (uint64_t{blocks} * static_cast<uint64_t>(params.images) > INT32_MAX)
    return "it takes more groups of threads than a device has in one launch";
  Launch& launch = builder.launch("integers", "integer_mean", "", {blocks * static_cast<uint32_t>(params.images), 1, 1},
                                  {quads, group / quads, 1}, params);
  launch.bytes_read = elements_of(*step.in);
  launch.bytes_written = elements_of(*step.out);
  return nullptr;
}

}  // namespace

const char* lower_integer_pool(const snp_step& step, Builder& builder) {
  if (step.in->n != step.out->n || step.in->c != step.out->c)
    return "expected an output of the input's images and channels";
  if (step.op == SNP_GLOBAL_POOL) return lower_mean(step, builder);
  if (!step.pool || !step.window) return "expected a window";
  const snp_window& window = *step.window;
  const snp_quant& q = *step.quant;
  IntegerPoolParams params{};
  if (const char* reason = place_views(step, builder, &params)) return reason;
  params.in_h = step.in->h;
  params.in_w = step.in->w;
  params.out_h = step.out->h;
  params.out_w = step.out->w;
  params.kernel_h = window.kernel_h;
  params.kernel_w = window.kernel_w;
  params.stride_h = window.stride_h;
  params.stride_w = window.stride_w;
  params.pad_top = window.pad_top;
  params.pad_left = window.pad_left;
  params.pad_bottom = window.pad_bottom;
  params.pad_right = window.pad_right;
  params.pixels = pixels_of(*step.out);
  params.is_max = step.pool->max != 0;
  params.count_padding = step.pool->count_include_pad != 0;
  params.twice = q.rounding != 0;
  params.in_zero = q.in_zero;
  params.low = q.low;
  params.high = q.high;
  const uint32_t group = usual_group(builder);
  Launch& launch = builder.launch("integers", "integer_pool", "",
                                  {blocks_of(int64_t{params.pixels} * params.quads, static_cast<int32_t>(group)), 1, 1},
                                  {group, 1, 1}, params);
  launch.bytes_read =
      elements_of(*step.out) * static_cast<uint64_t>(window.kernel_h) * static_cast<uint64_t>(window.kernel_w);
  launch.bytes_written = elements_of(*step.out);
  return nullptr;
}

}  // namespace sparsenet::gpu
