// The compact kernels for pooling, attention and pointwise steps.
#include "kernels/compact/compact.h"

namespace sparsenet::rt::compact {
namespace {

// What pooling and pointwise steps need.
template <class Real>
struct State {
  Input<Real> in;
  Dense out;
  Act act;
  int32_t in_h, in_w, out_h, out_w, channels;
  int32_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  bool max_pool, count_include_pad;
};

template <class Real>
void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State<Real>) + ranges_bytes(s.in);
  needs->chunks = s.out.n * s.out.h;
}

template <class Real>
const char* prepare(const Step& s, const Place& place) {
  auto* state = static_cast<State<Real>*>(place.state);
  *state = {make_input<Real>(s, place.arena, reinterpret_cast<Range*>(state + 1)),
            make_dense(s.out, place.arena),
            s.act,
            s.in.h,
            s.in.w,
            s.out.h,
            s.out.w,
            s.out.c,
            s.window.kernel_h,
            s.window.kernel_w,
            s.window.stride_h,
            s.window.stride_w,
            s.window.pad_top,
            s.window.pad_left,
            s.window.pad_bottom,
            s.window.pad_right,
            s.pool.max,
            s.pool.count_include_pad};
  return nullptr;
}

bool pool_supports(const Step& s) {
  return s.op == StepOp::kPool && is_dense(s.out);
}

int32_t larger(int32_t a, int32_t b) {
  return a > b ? a : b;
}
int32_t smaller(int32_t a, int32_t b) {
  return a < b ? a : b;
}

template <class Real>
void pool_run(const void* state, int32_t chunk, void*) {
  const auto& s = *static_cast<const State<Real>*>(state);
  const int64_t image = chunk / s.out_h;
  const int32_t top = chunk % s.out_h * s.stride_h - s.pad_top, bottom = top + s.kernel_h;
  for (int32_t ox = 0; ox < s.out_w; ++ox) {
    const int32_t left = ox * s.stride_w - s.pad_left, right = left + s.kernel_w;
    float* out = s.out.base + (int64_t{chunk} * s.out_w + ox) * s.out.pixel_stride;
    for (int32_t c = 0; c < s.channels; ++c) out[c] = s.max_pool ? -INFINITY : 0.f;
    const int32_t y0 = larger(top, 0), y1 = smaller(bottom, s.in_h), x0 = larger(left, 0), x1 = smaller(right, s.in_w);
    for (int32_t y = y0; y < y1; ++y) {
      for (int32_t x = x0; x < x1; ++x) {
        const int64_t pixel = (image * s.in_h + y) * s.in_w + x;
        if (s.max_pool) {
          for_each_channel(s.in, pixel, [&](int32_t c, float v) { out[c] = v > out[c] ? v : out[c]; });
        } else {
          for_each_channel(s.in, pixel, [&](int32_t c, float v) { out[c] += v; });
        }
      }
    }
    int32_t count = larger(y1 - y0, 0) * larger(x1 - x0, 0);
    if (s.count_include_pad) {
      count = (smaller(bottom, s.in_h + s.pad_bottom) - top) * (smaller(right, s.in_w + s.pad_right) - left);
    }
    const float factor = s.max_pool ? 1.f : 1.f / static_cast<float>(larger(count, 1));
    for (int32_t c = 0; c < s.channels; ++c) out[c] = activate_one(out[c] * factor, s.act);
  }
}

bool global_pool_supports(const Step& s) {
  return s.op == StepOp::kGlobalPool && is_dense(s.out);
}

template <class Real>
void global_pool_query(const Step& s, KernelNeeds* needs) {
  query<Real>(s, needs);
  needs->scratch_bytes = static_cast<uint64_t>(s.in.c) * sizeof(float);
  needs->chunks = s.in.n;
}

template <class Real>
void global_pool_run(const void* state, int32_t image, void* scratch) {
  const auto& s = *static_cast<const State<Real>*>(state);
  auto* row = static_cast<float*>(scratch);
  float* out = s.out.base + int64_t{image} * s.out.pixel_stride;
  for (int32_t c = 0; c < s.channels; ++c) out[c] = 0.f;
  for (int32_t y = 0; y < s.in_h; ++y) {
    // Row by row, because short sums lose less precision than one long sum.
    for (int32_t c = 0; c < s.channels; ++c) row[c] = 0.f;
    for (int32_t x = 0; x < s.in_w; ++x) {
      for_each_channel(s.in, (int64_t{image} * s.in_h + y) * s.in_w + x, [&](int32_t c, float v) { row[c] += v; });
    }
    for (int32_t c = 0; c < s.channels; ++c) out[c] += row[c];
  }
  const float factor = 1.f / (static_cast<float>(s.in_h) * static_cast<float>(s.in_w));
  for (int32_t c = 0; c < s.channels; ++c) out[c] = activate_one(out[c] * factor, s.act);
}

bool affine_supports(const Step& s) {
  return (s.op == StepOp::kAffine || s.op == StepOp::kUnary) && is_dense(s.out);
}

template <class Real>
void affine_run(const void* state, int32_t chunk, void*) {
  const auto& s = *static_cast<const State<Real>*>(state);
  for (int32_t x = 0; x < s.out_w; ++x) {
    const int64_t pixel = int64_t{chunk} * s.out_w + x;
    float* out = s.out.base + pixel * s.out.pixel_stride;
    for_each_channel(s.in, pixel, [&](int32_t c, float v) { out[c] = activate_one(v, s.act); });
  }
}

// The channel gate; see AttentionAttrs in sparsenet/graph.h for the formulas.
template <class Real>
struct AttentionState {
  Dense in, out;
  int32_t pixels, row, channels, hidden;  // `pixels`: of an image; `row`: of one of its rows
  const Real* params[8];
  Act act, gate;
};

bool attention_supports(const Step& s) {
  return s.op == StepOp::kAttention && is_dense(s.in) && is_dense(s.out);
}

template <class Real>
void attention_query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(AttentionState<Real>);
  needs->scratch_bytes = static_cast<uint64_t>(5 * s.in.c + s.attention.hidden) * sizeof(float);
  needs->chunks = s.in.n;
}

template <class Real>
const char* attention_prepare(const Step& s, const Place& place) {
  auto* state = static_cast<AttentionState<Real>*>(place.state);
  *state = {make_dense(s.in, place.arena),
            make_dense(s.out, place.arena),
            s.in.h * s.in.w,
            s.in.w,
            s.in.c,
            s.attention.hidden,
            {},
            s.attention.act,
            s.attention.gate};
  for (int i = 0; i < 8; ++i) state->params[i] = as<Real>(s.attention.params[i]);
  return nullptr;
}

template <class Real>
float dot(const Real* w, const float* x, int32_t n, float sum) {
  for (int32_t i = 0; i < n; ++i) sum += w[i] * x[i];
  return sum;
}

// Means over an image's pixels, row by row.
template <class Real>
void means(const AttentionState<Real>& s, const float* in, float* row, float* g) {
  for (int32_t c = 0; c < s.channels; ++c) g[c] = 0.f;
  for (int32_t p = 0; p < s.pixels; p += s.row) {
    for (int32_t c = 0; c < s.channels; ++c) row[c] = 0.f;
    for (int32_t x = 0; x < s.row; ++x, in += s.in.pixel_stride) {
      for (int32_t c = 0; c < s.channels; ++c) row[c] += in[c];
    }
    for (int32_t c = 0; c < s.channels; ++c) g[c] += row[c];
  }
  const float factor = 1.f / static_cast<float>(s.pixels);
  for (int32_t c = 0; c < s.channels; ++c) g[c] *= factor;
}

template <class Real>
void attention_run(const void* state, int32_t image, void* scratch) {
  const auto& s = *static_cast<const AttentionState<Real>*>(state);
  const int32_t n = s.channels;
  auto* g = static_cast<float*>(scratch);  // n
  float* t = g + n;                        // 2 n
  float* e = t + 2 * n;                    // n; hidden values of the squeeze-excite form
  float* f = e + (s.hidden > n ? s.hidden : n);
  const float* in = s.in.base + int64_t{image} * s.pixels * s.in.pixel_stride;
  means(s, in, t, g);
  const Real* const* p = s.params;
  if (s.hidden == 0) {
    for (int32_t i = 0; i < n; ++i) t[i] = activate_one(p[0][i] * g[i] + p[1][i], s.act);
    for (int32_t i = 0; i < n; ++i) e[i] = dot(p[2] + int64_t{i} * n, t, n, p[3][i]);
    for (int32_t i = 0; i < 2 * n; ++i)
      t[i] = bounded_one(p[4][i] * (i < n ? e[i] : g[i - n]) + p[5][i], 0.f, INFINITY);
    for (int32_t i = 0; i < n; ++i)
      f[i] = 1.f + activate_one(dot(p[6] + int64_t{i} * 2 * n, t, 2 * n, p[7][i]), s.gate);
  } else {
    for (int32_t i = 0; i < s.hidden; ++i) e[i] = activate_one(dot(p[0] + int64_t{i} * n, g, n, p[1][i]), s.act);
    for (int32_t i = 0; i < n; ++i)
      f[i] = activate_one(dot(p[2] + int64_t{i} * s.hidden, e, s.hidden, p[3][i]), s.gate);
  }
  float* out = s.out.base + int64_t{image} * s.pixels * s.out.pixel_stride;
  for (int32_t i = 0; i < s.pixels; ++i, in += s.in.pixel_stride, out += s.out.pixel_stride) {
    for (int32_t c = 0; c < n; ++c) out[c] = in[c] * f[c];
  }
}

}  // namespace

const Kernel kPool = {
    .name = "pool2d_f32_compact",
    .backend = "portable",
    .supports = pool_supports,
    .query = query<float>,
    .prepare = prepare<float>,
    .run = pool_run<float>,
};
const Kernel kGlobalPool = {
    .name = "global_pool_f32_compact",
    .backend = "portable",
    .supports = global_pool_supports,
    .query = global_pool_query<float>,
    .prepare = prepare<float>,
    .run = global_pool_run<float>,
};
const Kernel kAffine = {
    .name = "affine_f32_compact",
    .backend = "portable",
    .supports = affine_supports,
    .query = query<float>,
    .prepare = prepare<float>,
    .run = affine_run<float>,
};
const Kernel kAttention = {
    .name = "attention_f32_compact",
    .backend = "portable",
    .supports = attention_supports,
    .query = attention_query<float>,
    .prepare = attention_prepare<float>,
    .run = attention_run<float>,
};
const Kernel kPoolHalf = {
    .name = "pool2d_f16_compact",
    .backend = "portable",
    .supports = pool_supports,
    .query = query<Half>,
    .prepare = prepare<Half>,
    .run = pool_run<Half>,
    .types = kHalfParameters,
};
const Kernel kGlobalPoolHalf = {
    .name = "global_pool_f16_compact",
    .backend = "portable",
    .supports = global_pool_supports,
    .query = global_pool_query<Half>,
    .prepare = prepare<Half>,
    .run = global_pool_run<Half>,
    .types = kHalfParameters,
};
const Kernel kAffineHalf = {
    .name = "affine_f16_compact",
    .backend = "portable",
    .supports = affine_supports,
    .query = query<Half>,
    .prepare = prepare<Half>,
    .run = affine_run<Half>,
    .types = kHalfParameters,
};
const Kernel kAttentionHalf = {
    .name = "attention_f16_compact",
    .backend = "portable",
    .supports = attention_supports,
    .query = attention_query<Half>,
    .prepare = attention_prepare<Half>,
    .run = attention_run<Half>,
    .types = kHalfParameters,
};

}  // namespace sparsenet::rt::compact
