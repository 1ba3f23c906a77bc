// Plain kernels of inference: convolution, pooling, affines and activations, attention.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"

namespace sparsenet::rt {
namespace {

bool affine_supports(const Step& step) {
  return step.op == StepOp::kAffine || step.op == StepOp::kUnary;
}

// The index of the weight for output channel o, input channel c of its group, and a tap.
int64_t weight_index(const Step& s, int32_t o, int32_t c, int32_t ky, int32_t kx) {
  const int32_t group_in = s.in.c / s.conv.groups, group_out = s.out.c / s.conv.groups;
  if (!s.conv.transposed) return ((int64_t{o} * group_in + c) * s.window.kernel_h + ky) * s.window.kernel_w + kx;
  const int32_t in = o / group_out * group_in + c;
  return ((int64_t{in} * group_out + o % group_out) * s.window.kernel_h + s.window.kernel_h - 1 - ky) *
             s.window.kernel_w +
         s.window.kernel_w - 1 - kx;
}

void conv_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const int32_t group_in = s.in.c / s.conv.groups, group_out = s.out.c / s.conv.groups;
  for (int32_t n = 0; n < s.out.n; ++n) {
    for (int32_t oy = 0; oy < s.out.h; ++oy) {
      for (int32_t ox = 0; ox < s.out.w; ++ox) {
        const int64_t pixel = (int64_t{n} * s.out.h + oy) * s.out.w + ox;
        for (int32_t o = 0; o < s.out.c; ++o) {
          const int32_t first = o / group_out * group_in;
          float sum = s.conv.bias ? number(s.conv.bias, o) : 0.f;
          for (int32_t ky = 0; ky < s.window.kernel_h; ++ky) {
            const int32_t y = oy * s.window.stride_h - s.window.pad_top + ky * s.window.dilation_h;
            if (y < 0 || y >= s.in.h) continue;
            for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
              const int32_t x = ox * s.window.stride_w - s.window.pad_left + kx * s.window.dilation_w;
              if (x < 0 || x >= s.in.w) continue;
              const int64_t from = (int64_t{n} * s.in.h + y) * s.in.w + x;
              for (int32_t c = 0; c < group_in; ++c) {
                sum += input_at(r, from, first + c) * number(s.conv.weight, weight_index(s, o, c, ky, kx));
              }
            }
          }
          if (s.in2.segment_count > 0) sum += *element(s.in2, r.arena, pixel, o);
          *element(s.out, r.arena, pixel, o) = activate_one(sum, s.act);
        }
      }
    }
  }
}

void pool_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  for (int32_t n = 0; n < s.out.n; ++n) {
    for (int32_t oy = 0; oy < s.out.h; ++oy) {
      for (int32_t ox = 0; ox < s.out.w; ++ox) {
        for (int32_t c = 0; c < s.out.c; ++c) {
          float best = -INFINITY, sum = 0.f;
          int32_t inside = 0, padded = 0;
          for (int32_t ky = 0; ky < s.window.kernel_h; ++ky) {
            for (int32_t kx = 0; kx < s.window.kernel_w; ++kx) {
              const int32_t y = oy * s.window.stride_h - s.window.pad_top + ky,
                            x = ox * s.window.stride_w - s.window.pad_left + kx;
              if (y < s.in.h + s.window.pad_bottom && x < s.in.w + s.window.pad_right) ++padded;
              if (y < 0 || y >= s.in.h || x < 0 || x >= s.in.w) continue;
              const float v = input_at(r, (int64_t{n} * s.in.h + y) * s.in.w + x, c);
              best = std::fmax(best, v);
              sum += v;
              ++inside;
            }
          }
          const int32_t count = s.pool.count_include_pad ? padded : inside;
          const float v = s.pool.max ? best : sum / static_cast<float>(count > 0 ? count : 1);
          *element(s.out, r.arena, (int64_t{n} * s.out.h + oy) * s.out.w + ox, c) = activate_one(v, s.act);
        }
      }
    }
  }
}

void global_pool_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const int64_t pixels = int64_t{s.in.h} * s.in.w;
  for (int32_t n = 0; n < s.in.n; ++n) {
    for (int32_t c = 0; c < s.in.c; ++c) {
      double sum = 0;
      for (int64_t p = 0; p < pixels; ++p) sum += input_at(r, n * pixels + p, c);
      *element(s.out, r.arena, n, c) = activate_one(static_cast<float>(sum / static_cast<double>(pixels)), s.act);
    }
  }
}

void affine_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const int64_t pixels = int64_t{s.in.n} * s.in.h * s.in.w;
  for (int64_t p = 0; p < pixels; ++p) {
    for (int32_t c = 0; c < s.in.c; ++c) *element(s.out, r.arena, p, c) = activate_one(input_at(r, p, c), s.act);
  }
}

// Element i of y = W x + b, for a row-major W with n inputs.
float row(const Parameter& w, const Parameter& b, int32_t i, const float* x, int32_t n) {
  float sum = number(b, i);
  for (int32_t k = 0; k < n; ++k) sum += number(w, int64_t{i} * n + k) * x[k];
  return sum;
}

void attention_query(const Step& step, KernelNeeds* needs) {
  reference_query(step, needs);
  const auto c = static_cast<uint64_t>(step.in.c), hidden = static_cast<uint64_t>(step.attention.hidden);
  needs->scratch_bytes = (5 * c + hidden) * sizeof(float);
}

void attention_run(const void* state, int32_t, void* scratch) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const int32_t c = s.in.c;
  const int64_t pixels = int64_t{s.in.h} * s.in.w;
  float* g = static_cast<float*>(scratch);  // mean, c
  float* t = g + c;                         // what the next product reads, 2c
  float* e = t + 2 * c;                     // c
  float* f = e + c;                         // c; hidden values of the squeeze-excite form behind it
  for (int32_t n = 0; n < s.in.n; ++n) {
    for (int32_t i = 0; i < c; ++i) {
      double sum = 0;
      for (int64_t p = 0; p < pixels; ++p) sum += *element(s.in, r.arena, n * pixels + p, i);
      g[i] = static_cast<float>(sum / static_cast<double>(pixels));
    }
    const Parameter* p = s.attention.params;
    if (s.attention.hidden == 0) {
      for (int32_t i = 0; i < c; ++i) t[i] = activate_one(number(p[0], i) * g[i] + number(p[1], i), s.attention.act);
      for (int32_t i = 0; i < c; ++i) e[i] = row(p[2], p[3], i, t, c);
      for (int32_t i = 0; i < 2 * c; ++i) {
        t[i] = bounded_one(number(p[4], i) * (i < c ? e[i] : g[i - c]) + number(p[5], i), 0.f, INFINITY);
      }
      for (int32_t i = 0; i < c; ++i) f[i] = 1.f + activate_one(row(p[6], p[7], i, t, 2 * c), s.attention.gate);
    } else {
      float* h = f + c;
      for (int32_t i = 0; i < s.attention.hidden; ++i) h[i] = activate_one(row(p[0], p[1], i, g, c), s.attention.act);
      for (int32_t i = 0; i < c; ++i) {
        f[i] = activate_one(row(p[2], p[3], i, h, s.attention.hidden), s.attention.gate);
      }
    }
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (int32_t i = 0; i < c; ++i) {
        *element(s.out, r.arena, n * pixels + pixel, i) = *element(s.in, r.arena, n * pixels + pixel, i) * f[i];
      }
    }
  }
}

}  // namespace

const Kernel kReferenceConv = {
    .name = "conv2d_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kConv>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = conv_run,
    .types = kFloat32 | kHalfParameters,
};
const Kernel kReferencePool = {
    .name = "pool2d_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kPool>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = pool_run,
    .types = kFloat32 | kHalfParameters,
};
const Kernel kReferenceGlobalPool = {
    .name = "global_pool_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kGlobalPool>,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = global_pool_run,
    .types = kFloat32 | kHalfParameters,
};
const Kernel kReferenceAffine = {
    .name = "affine_f32_reference",
    .backend = "reference",
    .supports = affine_supports,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = affine_run,
    .types = kFloat32 | kHalfParameters,
};
const Kernel kReferenceAttention = {
    .name = "attention_f32_reference",
    .backend = "reference",
    .supports = supports<StepOp::kAttention>,
    .query = attention_query,
    .prepare = reference_prepare,
    .run = attention_run,
    .types = kFloat32 | kHalfParameters,
};

}  // namespace sparsenet::rt
