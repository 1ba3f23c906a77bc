// Steps that reduce lines of values and write the lines again: Softmax and LayerNorm.
#include "kernels/portable/activation.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

SPARSENET_INLINE float sum_of(V v) {
  float sum = 0.f;
  for (int i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// Lanes from `lanes` on become `value`.
SPARSENET_INLINE V with_tail(V v, int lanes, float value) {
  for (int i = lanes; i < kLanes; ++i) v[i] = value;
  return v;
}

bool no_activation(const Act& act) {
  return act.kind == Act::kClamp && act.low == -INFINITY && act.high == INFINITY;
}

// --- Softmax. Either the lines are contiguous, or vectors hold neighbouring lines.

struct SoftmaxState {
  Strided s;
  const float* x;
  float* y;
  int32_t lane_dim;  // the dimension that a vector goes along; that of the lines themselves if they are contiguous
  int64_t outer, chunk_rows;
};

int32_t lane_dimension(const Strided& s) {
  if (s.reduced_from != s.rank - 1) return -1;
  for (int32_t d = s.rank - 1; d >= 0; --d) {
    if (s.out_strides[d] == 1 && s.in_strides[0][d] == 1) return d;
  }
  return -1;
}

void count_rows(const Strided& s, int32_t lane_dim, int64_t* outer, int64_t* chunk_rows) {
  *outer = 1;
  for (int32_t d = 0; d + 1 < s.rank; ++d) {
    if (d != lane_dim) *outer *= s.dims[d];
  }
  int64_t row = s.dims[s.rank - 1];
  if (lane_dim != s.rank - 1) row *= s.dims[lane_dim];
  const int64_t wanted = 4096 / row + 1, least = *outer / 60000 + 1;
  *chunk_rows = wanted > least ? wanted : least;
}

bool softmax_supports(const Step& step) {
  return step.op == StepOp::kSoftmax && no_activation(step.act) && lane_dimension(*step.strided) >= 0;
}

void softmax_query(const Step& step, KernelNeeds* needs) {
  int64_t outer = 0, chunk_rows = 0;
  count_rows(*step.strided, lane_dimension(*step.strided), &outer, &chunk_rows);
  needs->state_bytes = sizeof(SoftmaxState);
  needs->chunks = static_cast<int32_t>((outer + chunk_rows - 1) / chunk_rows);
}

const char* softmax_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<SoftmaxState*>(place.state);
  s->s = *step.strided;
  s->lane_dim = lane_dimension(s->s);
  count_rows(s->s, s->lane_dim, &s->outer, &s->chunk_rows);
  s->x = f32(step.in.segments[0], place.arena) + s->s.in_start[0];
  s->y = dense_pointer(step.out, place.arena) + s->s.out_start;
  return nullptr;
}

void softmax_line(const float* x, float* y, int64_t n) {
  V top = splat(-INFINITY);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    V v = load_first(x + i, lanes);
    if (lanes < kLanes) v = with_tail(v, lanes, -INFINITY);
    top = vmax(v, top);
  }
  float most = -INFINITY;
  for (int i = 0; i < kLanes; ++i) most = top[i] > most ? top[i] : most;
  V sums{};
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    const V v = load_first(x + i, lanes) - most;
    V e = v < -87.f ? V{} : vexp(v);
    store_first(y + i, e, lanes);
    if (lanes < kLanes) e = with_tail(e, lanes, 0.f);
    sums += e;
  }
  const float factor = 1.f / sum_of(sums);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    store_first(y + i, load_first(y + i, lanes) * factor, lanes);
  }
}

// Up to kLanes lines side by side.
void softmax_lines(const float* x, float* y, int64_t n, int64_t x_step, int64_t y_step, int lanes) {
  V top = splat(-INFINITY), sum{};
  for (int64_t i = 0; i < n; ++i) top = vmax(load_first(x + i * x_step, lanes), top);
  for (int64_t i = 0; i < n; ++i) {
    const V v = load_first(x + i * x_step, lanes) - top;
    const V e = v < -87.f ? V{} : vexp(v);
    store_first(y + i * y_step, e, lanes);
    sum += e;
  }
  const V factor = 1.f / sum;
  for (int64_t i = 0; i < n; ++i) store_first(y + i * y_step, load_first(y + i * y_step, lanes) * factor, lanes);
}

void softmax_run(const void* memory, int32_t chunk, void*) {
  const auto& state = *static_cast<const SoftmaxState*>(memory);
  const Strided& s = state.s;
  const int32_t line = s.rank - 1;
  const int64_t begin = chunk * state.chunk_rows;
  const int64_t end = begin + state.chunk_rows < state.outer ? begin + state.chunk_rows : state.outer;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = state.x;
    float* y = state.y;
    int64_t rest = row;
    for (int32_t d = line - 1; d >= 0; --d) {
      if (d == state.lane_dim) continue;
      const int64_t i = rest % s.dims[d];
      rest /= s.dims[d];
      x += i * s.in_strides[0][d];
      y += i * s.out_strides[d];
    }
    if (state.lane_dim == line) {
      softmax_line(x, y, s.dims[line]);
      continue;
    }
    for (int64_t i = 0; i < s.dims[state.lane_dim]; i += kLanes) {
      const int64_t left = s.dims[state.lane_dim] - i;
      softmax_lines(x + i, y + i, s.dims[line], s.in_strides[0][line], s.out_strides[line],
                    static_cast<int>(left < kLanes ? left : kLanes));
    }
  }
}

// --- LayerNorm

struct NormState {
  const float *x, *scale, *shift;
  float* y;
  ptrdiff_t x_stride, y_stride;
  int64_t pixels, chunk_pixels;
  int32_t c;
  float epsilon;
};

int64_t norm_chunk(const Step& s) {
  const int64_t pixels = int64_t{s.in.n} * s.in.h * s.in.w;
  const int64_t wanted = 8192 / s.in.c + 1, least = pixels / 60000 + 1;
  return wanted > least ? wanted : least;
}

bool norm_supports(const Step& s) {
  return s.op == StepOp::kLayerNorm && no_activation(s.act) && s.in.segment_count == 1 && s.out.segment_count == 1;
}

void norm_query(const Step& s, KernelNeeds* needs) {
  const int64_t pixels = int64_t{s.in.n} * s.in.h * s.in.w, chunk = norm_chunk(s);
  needs->state_bytes = sizeof(NormState);
  needs->chunks = static_cast<int32_t>((pixels + chunk - 1) / chunk);
}

const char* norm_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<NormState*>(place.state);
  s->x = f32(step.in.segments[0], place.arena);
  s->x_stride = step.in.segments[0].pixel_stride;
  s->y = dense_pointer(step.out, place.arena);
  s->y_stride = step.out.segments[0].pixel_stride;
  s->scale = step.affine.scale.f32();
  s->shift = step.affine.shift.f32();
  s->pixels = int64_t{step.in.n} * step.in.h * step.in.w;
  s->chunk_pixels = norm_chunk(step);
  s->c = step.in.c;
  s->epsilon = step.train.alpha;
  return nullptr;
}

// The variance is the mean of squared differences from the mean, which does not cancel.
void norm_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const NormState*>(memory);
  const int64_t begin = chunk * s.chunk_pixels;
  const int64_t end = begin + s.chunk_pixels < s.pixels ? begin + s.chunk_pixels : s.pixels;
  const float count = static_cast<float>(s.c);
  for (int64_t p = begin; p < end; ++p) {
    const float* x = s.x + p * s.x_stride;
    float* y = s.y + p * s.y_stride;
    V sum{}, squares{};
    for (int32_t c = 0; c < s.c; c += kLanes) sum += load_first(x + c, imin(kLanes, s.c - c));
    const float mean = sum_of(sum) / count;
    for (int32_t c = 0; c < s.c; c += kLanes) {
      const int lanes = imin(kLanes, s.c - c);
      V d = load_first(x + c, lanes) - mean;
      if (lanes < kLanes) d = with_tail(d, lanes, 0.f);
      squares += d * d;
    }
    const float factor = 1.f / sqrtf(sum_of(squares) / count + s.epsilon);
    for (int32_t c = 0; c < s.c; c += kLanes) {
      const int lanes = imin(kLanes, s.c - c);
      V v = (load_first(x + c, lanes) - mean) * factor;
      if (s.scale) v = v * load_first(s.scale + c, lanes) + load_first(s.shift + c, lanes);
      store_first(y + c, v, lanes);
    }
  }
}

}  // namespace

const Kernel kSoftmax = {
    .name = "softmax_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = softmax_supports,
    .query = softmax_query,
    .prepare = softmax_prepare,
    .run = softmax_run,
};
const Kernel kLayerNorm = {
    .name = "layer_norm_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = norm_supports,
    .query = norm_query,
    .prepare = norm_prepare,
    .run = norm_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
