// The steps with which training simulates integers. Their results are those of the plain kernels bit for bit, but for
// what an affine in front rounds differently.
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"
#include "runtime/fake_quantize.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int64_t kChunk = 16384;  // elements

// The nearest integers, ties to even, for magnitudes below 2^22: behind this number, floats are 1 apart.
SPARSENET_INLINE V nearest(V x) {
  const float shift = 12582912.f;  // 1.5 * 2^23
  return (x + shift) - shift;
}

struct Values {
  Source source;
  float* out;
  int64_t pixels;
  int32_t chunk_pixels, c;
  float low, high, scale, zero, epsilon;
};

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

int32_t chunk_pixels(const Step& s) {
  const int64_t wanted = kChunk / s.out.c + 1, least = pixel_count(s.out) / 60000 + 1;
  return static_cast<int32_t>(wanted > least ? wanted : least);
}

bool fake_quantize_supports(const Step& s) {
  return s.op == StepOp::kFakeQuantize && s.act.kind == Act::kClamp && s.out.segment_count == 1 &&
         s.out.segments[0].pixel_stride == s.out.c;
}

void fake_quantize_query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(Values) + source_bytes(s.in);
  const int32_t chunk = chunk_pixels(s);
  needs->chunks = static_cast<int32_t>((pixel_count(s.out) + chunk - 1) / chunk);
}

const char* fake_quantize_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<Values*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->out = dense_pointer(step.out, place.arena);
  s->pixels = pixel_count(step.out);
  s->chunk_pixels = chunk_pixels(step);
  s->c = step.out.c;
  s->low = step.act.low;
  s->high = step.act.high;
  s->scale = step.train.alpha;
  s->zero = step.train.beta;
  s->epsilon = step.train.epsilon;
  return nullptr;
}

void fake_quantize_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const Values*>(memory);
  const int64_t first = int64_t{chunk} * s.chunk_pixels;
  const int count = static_cast<int>(s.pixels - first < s.chunk_pixels ? s.pixels - first : s.chunk_pixels);
  float* const y = s.out + first * s.c;
  const float* x = y;
  if (s.source.dense() && s.source.segments[0].pixel_stride == s.c) {
    x = s.source.segments[0].base + first * s.c;
  } else {
    gather(s.source, first, count, y, s.c);
  }
  const V low = splat(s.low), high = splat(s.high), scale = splat(s.scale), zero = splat(s.zero);
  const V up = splat(s.epsilon < 0.f ? -s.epsilon : s.epsilon), down = splat(s.epsilon);
  const int64_t elements = int64_t{count} * s.c;
  for (int64_t i = 0; i < elements; i += kLanes) {
    const int lanes = elements - i < kLanes ? static_cast<int>(elements - i) : kLanes;
    const V n = bounded(load_first(x + i, lanes), low, high) / scale + zero;
    store_first(y + i, (nearest(n + (n < 0.f ? down : up)) - zero) * scale, lanes);
  }
}

struct Weight {
  const float *weight, *most;
  float* out;
  int64_t rows, length, chunk_rows;
  float alpha;
};

int64_t chunk_rows(const Step& s) {
  const int64_t rows = s.train.operands[1].c, length = s.train.operands[0].c / rows;
  const int64_t wanted = kChunk / length + 1, least = rows / 60000 + 1;
  return wanted > least ? wanted : least;
}

bool round_weight_supports(const Step& s) {
  return s.op == StepOp::kRoundWeight;
}

void round_weight_query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(Weight);
  const int64_t chunk = chunk_rows(s);
  needs->chunks = static_cast<int32_t>((s.train.operands[1].c + chunk - 1) / chunk);
}

const char* round_weight_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<Weight*>(place.state);
  const View* operands = step.train.operands;
  s->weight = f32(operands[0].segments[0], place.arena);
  s->most = f32(operands[1].segments[0], place.arena);
  s->out = dense_pointer(operands[2], place.arena);
  s->rows = operands[1].c;
  s->length = operands[0].c / s->rows;
  s->chunk_rows = chunk_rows(step);
  s->alpha = step.train.alpha;
  return nullptr;
}

float largest_of(const float* x, int64_t count) {
  V most{};
  for (int64_t i = 0; i < count; i += kLanes) {
    const V v = load_first(x + i, count - i < kLanes ? static_cast<int>(count - i) : kLanes);
    most = vmax(most, vmax(v, -v));
  }
  float largest = 0.f;
  for (int lane = 0; lane < kLanes; ++lane) largest = most[lane] > largest ? most[lane] : largest;
  return largest;
}

void round_weight_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const Weight*>(memory);
  const int64_t begin = chunk * s.chunk_rows, end = begin + s.chunk_rows < s.rows ? begin + s.chunk_rows : s.rows;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = s.weight + row * s.length;
    float* y = s.out + row * s.length;
    const float of_row = row_scale(largest_of(x, s.length), s.most[row]);
    const V scale = splat(of_row), factor = splat(of_row * s.alpha);
    for (int64_t i = 0; i < s.length; i += kLanes) {
      const int lanes = s.length - i < kLanes ? static_cast<int>(s.length - i) : kLanes;
      store_first(y + i, vmin(splat(kMostWeight), nearest(load_first(x + i, lanes) / scale)) * factor, lanes);
    }
  }
}

}  // namespace

const Kernel kFakeQuantize = {
    .name = "fake_quantize_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = fake_quantize_supports,
    .query = fake_quantize_query,
    .prepare = fake_quantize_prepare,
    .run = fake_quantize_run,
};
const Kernel kRoundWeight = {
    .name = "round_weight_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = round_weight_supports,
    .query = round_weight_query,
    .prepare = round_weight_prepare,
    .run = round_weight_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
