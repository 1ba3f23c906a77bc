// Plain kernels of the steps that compute with integers. They define the results bit by bit; faster kernels are tested
// against them.
#include "kernels/reference/integers.h"

#include "kernels/reference/common.h"
#include "kernels/reference/walk.h"
#include "runtime/requantize.h"

namespace sparsenet::rt {
namespace {

template <StepOp kOp>
bool supports_integers(const Step& step) {
  return step.op == kOp && step.quant;
}

// The input of a step, with the scales of its channels.
int32_t input_of(const ReferenceState& r, int64_t pixel, int32_t c) {
  const int32_t x = *integer(r.step.in, r.arena, pixel, c);
  return r.step.quant->channels ? scaled(x, r.step.quant->channels[c]) : x;
}

int64_t weight_at(const Step& s, int32_t o, int32_t c, int32_t ky, int32_t kx) {
  return ((int64_t{o} * (s.in.c / s.conv.groups) + c) * s.window.kernel_h + ky) * s.window.kernel_w + kx;
}

void conv_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const QuantParams& q = *s.quant;
  const auto* weight = static_cast<const int8_t*>(s.conv.weight.data);
  const auto* bias = static_cast<const int32_t*>(s.conv.bias.data);
  const int32_t group_in = s.in.c / s.conv.groups, group_out = s.out.c / s.conv.groups;
  for (int64_t pixel = 0; pixel < pixels_of(s.out); ++pixel) {
    const auto ox = static_cast<int32_t>(pixel % s.out.w), oy = static_cast<int32_t>(pixel / s.out.w % s.out.h);
    const int64_t image = pixel / s.out.w / s.out.h;
    for (int32_t o = 0; o < s.out.c; ++o) {
      int32_t sum = bias ? bias[o] : 0;
      for (int32_t ky = 0; ky < s.window.kernel_h; ++ky) {
        const int32_t y = oy * s.window.stride_h - s.window.pad_top + ky * s.window.dilation_h;
        if (y < 0 || y >= s.in.h) continue;
        for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
          const int32_t x = ox * s.window.stride_w - s.window.pad_left + kx * s.window.dilation_w;
          if (x < 0 || x >= s.in.w) continue;
          const int64_t from = (image * s.in.h + y) * s.in.w + x;
          for (int32_t c = 0; c < group_in; ++c) {
            const int32_t v = input_of(r, from, o / group_out * group_in + c) - q.in_zero;
            sum = wrapped_sum(sum, v * weight[weight_at(s, o, c, ky, kx)]);
          }
        }
      }
      sum = wrapped_sum(multiplied(sum, q.multipliers[o], q.rounding), q.out_zero);
      int32_t v = clamped(sum, q.low, q.high);
      if (q.residual) {
        const QuantParams& add = *q.residual;
        v = combined(BinaryOp::kAdd, v - add.in_zero, *integer(s.in2, r.arena, pixel, o) - add.in2_zero, add);
      }
      *integer(s.out, r.arena, pixel, o) = static_cast<int8_t>(v);
    }
  }
}

// The average is that of the integers, not of the numbers that they stand for.
void pool_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const QuantParams& q = *s.quant;
  for (int64_t pixel = 0; pixel < pixels_of(s.out); ++pixel) {
    const auto ox = static_cast<int32_t>(pixel % s.out.w), oy = static_cast<int32_t>(pixel / s.out.w % s.out.h);
    const int64_t image = pixel / s.out.w / s.out.h;
    for (int32_t c = 0; c < s.out.c; ++c) {
      int32_t best = -128, sum = 0, inside = 0, padded = 0;
      for (int32_t ky = 0; ky < s.window.kernel_h; ++ky) {
        for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
          const int32_t y = oy * s.window.stride_h - s.window.pad_top + ky,
                        x = ox * s.window.stride_w - s.window.pad_left + kx;
          if (y < s.in.h + s.window.pad_bottom && x < s.in.w + s.window.pad_right) ++padded;
          if (y < 0 || y >= s.in.h || x < 0 || x >= s.in.w) continue;
          const int32_t v = input_of(r, (image * s.in.h + y) * s.in.w + x, c);
          best = v > best ? v : best;
          if (!s.pool.max) sum += v;  // which lowering has made sure fits
          ++inside;
        }
      }
      if (s.pool.count_include_pad) {
        sum += (padded - inside) * q.in_zero;
        inside = padded;
      }
      if (!s.pool.max) best = rounded_average(sum, inside > 0 ? inside : 1, q.rounding);
      *integer(s.out, r.arena, pixel, c) = static_cast<int8_t>(clamped(best, q.low, q.high));
    }
  }
}

void global_pool_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const QuantParams& q = *s.quant;
  const int64_t pixels = int64_t{s.in.h} * s.in.w;
  for (int32_t n = 0; n < s.in.n; ++n) {
    for (int32_t c = 0; c < s.in.c; ++c) {
      int32_t sum = 0;
      for (int64_t p = 0; p < pixels; ++p) {
        sum = wrapped_sum(sum, input_of(r, n * pixels + p, c) - q.in_zero);
      }
      sum = wrapped_sum(multiplied(sum, q.multipliers[0], q.rounding), q.out_zero);
      *integer(s.out, r.arena, n, c) = static_cast<int8_t>(clamped(sum, q.low, q.high));
    }
  }
}

bool binary_supports(const Step& step) {
  return step.op == StepOp::kBinary && step.quant &&
         (step.binary.op == BinaryOp::kAdd || step.binary.op == BinaryOp::kSub || step.binary.op == BinaryOp::kMul);
}

void binary_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const QuantParams& q = *s.quant;
  if (!s.strided) {  // same shapes, any channel ranges
    for (int64_t p = 0; p < pixels_of(s.out); ++p) {
      for (int32_t c = 0; c < s.out.c; ++c) {
        const int32_t a = *integer(s.in, r.arena, p, c) - q.in_zero, b = *integer(s.in2, r.arena, p, c) - q.in2_zero;
        *integer(s.out, r.arena, p, c) = combined(s.binary.op, a, b, q);
      }
    }
    return;
  }
  const int8_t* a = integer(s.in, r.arena, 0, 0) + s.strided->in_start[0];
  const int8_t* b = integer(s.in2, r.arena, 0, 0) + s.strided->in_start[1];
  int8_t* y = integer(s.out, r.arena, 0, 0) + s.strided->out_start;
  for_each(*s.strided, 0, s.strided->rank, [&](const Walk& at) {
    y[at.out] = combined(s.binary.op, a[at.in[0]] - q.in_zero, b[at.in[1]] - q.in2_zero, q);
  });
}

// A step that moves integers, or one of the op Scale.
bool affine_supports(const Step& step) {
  return step.op == StepOp::kAffine && step.quant && !step.affine.scale;
}

void affine_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  for (int64_t p = 0; p < pixels_of(r.step.out); ++p) {
    for (int32_t c = 0; c < r.step.out.c; ++c) {
      *integer(r.step.out, r.arena, p, c) = static_cast<int8_t>(input_of(r, p, c));
    }
  }
}

void table_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  for (int64_t p = 0; p < pixels_of(r.step.out); ++p) {
    for (int32_t c = 0; c < r.step.out.c; ++c) {
      *integer(r.step.out, r.arena, p, c) = r.step.quant->table[*integer(r.step.in, r.arena, p, c) + 128];
    }
  }
}

bool table_supports(const Step& step) {
  return step.op == StepOp::kUnary && step.quant && step.quant->table;
}

void strided_copy_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const int8_t* x = integer(r.step.in, r.arena, 0, 0) + s.in_start[0];
  int8_t* y = integer(r.step.out, r.arena, 0, 0);
  if (s.fill_first) std::memset(y, static_cast<int8_t>(s.fill_value), static_cast<size_t>(s.out_elements));
  y += s.out_start;
  for_each(s, 0, s.rank, [&](const Walk& at) { y[at.out] = x[at.in[0]]; });
}

// Half of the way between two integers goes to the even one, or away from zero. What is not a number becomes the zero
// point, so that the same bits come out everywhere.
int32_t rounded(float x, Rounding rounding) {
  if (x != x) return 0;
  if (x > 1024.f) return 1024;
  if (x < -1024.f) return -1024;
  const auto down = static_cast<int32_t>(x);  // towards zero; the rest is exact
  const float rest = x - static_cast<float>(down), size = rest < 0.f ? -rest : rest;
  const bool away = size > 0.5f || (size == 0.5f && (rounding == Rounding::kDouble || down % 2 != 0));
  return away ? down + (x < 0.f ? -1 : 1) : down;
}

void quantize_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const QuantParams& q = *s.quant;
  for (int64_t p = 0; p < pixels_of(s.out); ++p) {
    for (int32_t c = 0; c < s.out.c; ++c) {
      int32_t v = 0;
      if (s.in.type == DataType::kFloat32) {
        v = rounded(*element(s.in, r.arena, p, c) / q.scale, q.rounding);
      } else {
        const int8_t* byte = integer(s.in, r.arena, p, c);
        v = s.in.type == DataType::kUInt8 ? static_cast<uint8_t>(*byte) : *byte;
        v = multiplied(v - q.in_zero, q.multipliers[0], q.rounding);
      }
      *integer(s.out, r.arena, p, c) = static_cast<int8_t>(clamped(wrapped_sum(v, q.out_zero), q.low, q.high));
    }
  }
}

void dequantize_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  for (int64_t p = 0; p < pixels_of(s.out); ++p) {
    for (int32_t c = 0; c < s.out.c; ++c) {
      const int32_t v = *integer(s.in, r.arena, p, c) - s.quant->in_zero;
      *element(s.out, r.arena, p, c) = static_cast<float>(v) * s.quant->scale;
    }
  }
}

constexpr Kernel kernel(const char* name, bool (*supports)(const Step&), void (*run)(const void*, int32_t, void*),
                        uint32_t types = kInt8) {
  return {
      .name = name,
      .backend = "reference",
      .supports = supports,
      .query = reference_query,
      .prepare = reference_prepare,
      .run = run,
      .types = types,
  };
}

constexpr uint32_t kAnyView = of_views(DataType::kFloat32) | of_views(DataType::kInt8) | of_views(DataType::kUInt8);

}  // namespace

const Kernel kIntegerReferenceConv = kernel("conv2d_s8_reference", supports_integers<StepOp::kConv>, conv_run);
const Kernel kIntegerReferencePool = kernel("pool2d_s8_reference", supports_integers<StepOp::kPool>, pool_run);
const Kernel kIntegerReferenceGlobalPool =
    kernel("global_pool_s8_reference", supports_integers<StepOp::kGlobalPool>, global_pool_run);
const Kernel kIntegerReferenceBinary = kernel("binary_s8_reference", binary_supports, binary_run);
const Kernel kIntegerReferenceAffine = kernel("copy_s8_reference", affine_supports, affine_run);
const Kernel kIntegerReferenceTable = kernel("table_s8_reference", table_supports, table_run);
const Kernel kIntegerReferenceStridedCopy =
    kernel("strided_copy_s8_reference", supports_integers<StepOp::kStridedCopy>, strided_copy_run);
const Kernel kIntegerReferenceQuantize =
    kernel("quantize_reference", supports_integers<StepOp::kQuantize>, quantize_run, kAnyView);
const Kernel kIntegerReferenceDequantize =
    kernel("dequantize_reference", supports_integers<StepOp::kDequantize>, dequantize_run, kAnyView);

const Kernel* const kIntegerReferenceKernels[] = {
    &kIntegerReferenceConv,
    &kIntegerReferencePool,
    &kIntegerReferenceGlobalPool,
    &kIntegerReferenceBinary,
    &kIntegerReferenceAffine,
    &kIntegerReferenceTable,
    &kIntegerReferenceStridedCopy,
    &kIntegerReferenceQuantize,
    &kIntegerReferenceDequantize,
    &kIntegerReferenceSoftmax,
    nullptr,
};

}  // namespace sparsenet::rt
