// Channel gates in one step: the mean over the image, two small matrix products, and the scaling of h, in place or not.
// See AttentionAttrs in sparsenet/graph.h for the formulas.
//
// A chunk is a range of pixels of one image, so that every thread sums and scales the pixels it convolved. The first
// round leaves the sums of each chunk behind the state; the second adds them up in the chunks' order, computes the gate
// and scales. Every chunk computes the gate anew, which is cheaper than waiting for another one to do so.
#include "kernels/portable/activation.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  const float* in;
  float* out;
  ptrdiff_t in_stride, out_stride;
  float* sums;  // [chunk][padded]
  int32_t pixels, parts, part_pixels, c, padded, hidden, hidden_padded;
  bool paper;
  Act act, gate;
  // Weights are stored input-major with padded outputs: [input][outputs padded], so that a product is a sum of scaled
  // vectors.
  const float *s1, *t1, *w1, *b1, *s2, *t2, *w2, *b2;
};

int round_lanes(int c) {
  return ceil_div(c, kLanes) * kLanes;
}

// The number of chunks per image.
int parts_of(const Step& s) {
  const int pixels = s.in.h * s.in.w;
  return pixels >= 512 ? 4 : pixels >= 256 ? 2 : 1;
}

bool supports(const Step& s) {
  return s.op == StepOp::kAttention && s.in.segment_count == 1 && s.out.segment_count == 1 &&
         !s.in.segments[0].constant && s.in.n < 16000;
}

// Floats of every parameter block, in the order s1 t1 w1 b1 s2 t2 w2 b2.
void block_sizes(const Step& s, uint64_t sizes[8]) {
  const auto c = static_cast<uint64_t>(s.in.c), p = static_cast<uint64_t>(round_lanes(s.in.c));
  const auto r = static_cast<uint64_t>(s.attention.hidden), rp = static_cast<uint64_t>(round_lanes(s.attention.hidden));
  const bool paper = s.attention.hidden == 0;
  sizes[0] = sizes[1] = paper ? p : 0;
  sizes[2] = paper ? c * p : c * rp;
  sizes[3] = paper ? p : rp;
  sizes[4] = sizes[5] = paper ? 2 * p : 0;
  sizes[6] = paper ? 2 * c * p : r * p;
  sizes[7] = p;
}

void query(const Step& s, KernelNeeds* needs) {
  uint64_t sizes[8], total = 0;
  block_sizes(s, sizes);
  for (uint64_t size : sizes) total += size;
  needs->state_bytes =
      sizeof(State) + static_cast<uint64_t>(s.in.n * parts_of(s) * round_lanes(s.in.c)) * sizeof(float);
  needs->weight_bytes = total * sizeof(float);
  // g, e, f, and the result of an affine or the hidden values
  needs->scratch_bytes =
      static_cast<uint64_t>(round_lanes(s.in.c) * 3 + imax(2 * round_lanes(s.in.c), round_lanes(s.attention.hidden))) *
      sizeof(float);
  needs->chunks = s.in.n * parts_of(s);
}

void transpose(const float* from, int rows, int columns, int padded_rows, float* to) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) to[ptrdiff_t{c} * padded_rows + r] = from[ptrdiff_t{r} * columns + c];
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  float* weights = place.weights;
  s->in = dense_pointer(step.in, place.arena);
  s->out = dense_pointer(step.out, place.arena);
  s->in_stride = step.in.segments[0].pixel_stride;
  s->out_stride = step.out.segments[0].pixel_stride;
  s->pixels = step.in.h * step.in.w;
  s->sums = reinterpret_cast<float*>(s + 1);
  s->parts = parts_of(step);
  s->part_pixels = ceil_div(s->pixels, s->parts);
  s->c = step.in.c;
  s->padded = round_lanes(s->c);
  s->hidden = step.attention.hidden;
  s->hidden_padded = round_lanes(s->hidden);
  s->paper = step.attention.hidden == 0;
  s->act = step.attention.act;
  s->gate = step.attention.gate;
  uint64_t sizes[8];
  block_sizes(step, sizes);
  float* at[8];
  for (int i = 0; i < 8; ++i) {
    at[i] = weights;
    weights += sizes[i];
  }
  const int c = s->c;
  const size_t bytes = static_cast<size_t>(c) * sizeof(float);
  if (s->paper) {
    memcpy(at[0], step.attention.params[0].f32(), bytes);
    memcpy(at[1], step.attention.params[1].f32(), bytes);
    transpose(step.attention.params[2].f32(), c, c, s->padded, at[2]);
    memcpy(at[3], step.attention.params[3].f32(), bytes);
    for (int half = 0; half < 2; ++half) {  // the halves for e and for g each begin at a whole vector
      memcpy(at[4] + half * s->padded, step.attention.params[4].f32() + half * c, bytes);
      memcpy(at[5] + half * s->padded, step.attention.params[5].f32() + half * c, bytes);
    }
    transpose(step.attention.params[6].f32(), c, 2 * c, s->padded, at[6]);
    memcpy(at[7], step.attention.params[7].f32(), bytes);
  } else {
    transpose(step.attention.params[0].f32(), s->hidden, c, s->hidden_padded, at[2]);
    memcpy(at[3], step.attention.params[1].f32(), static_cast<size_t>(imax(s->hidden, 0)) * sizeof(float));
    transpose(step.attention.params[2].f32(), c, s->hidden, s->padded, at[6]);
    memcpy(at[7], step.attention.params[3].f32(), bytes);
  }
  s->s1 = at[0];
  s->t1 = at[1];
  s->w1 = at[2];
  s->b1 = at[3];
  s->s2 = at[4];
  s->t2 = at[5];
  s->w2 = at[6];
  s->b2 = at[7];
  return nullptr;
}

// y[o] = b[o] + sum_i x[i] w[i][o], outputs padded to whole vectors.
void product(const float* x, int inputs, const float* w, const float* b, int padded, float* y) {
  for (int o = 0; o < padded; o += kLanes) {
    V acc[4] = {load(b + o), V{}, V{}, V{}};
    for (int i = 0; i < inputs; ++i) acc[i & 3] += x[i] * load(w + ptrdiff_t{i} * padded + o);
    store(y + o, (acc[0] + acc[1]) + (acc[2] + acc[3]));
  }
}

void affine(const float* x, const float* scale, const float* shift, int padded, const Act& act, float* y) {
  for (int o = 0; o < padded; o += kLanes) store(y + o, activate(load(x + o) * load(scale + o) + load(shift + o), act));
}

struct Range {
  int64_t first;  // counted in the pixels of the whole batch
  int32_t count;
};

Range range_of(const State& s, int32_t chunk) {
  const int32_t image = chunk / s.parts, begin = chunk % s.parts * s.part_pixels;
  return {int64_t{image} * s.pixels + begin, imin(s.part_pixels, s.pixels - begin)};
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const Range range = range_of(s, chunk);
  for (int c = 0; c < s.c; c += kLanes) {
    const int lanes = imin(kLanes, s.c - c);
    V acc[4] = {V{}, V{}, V{}, V{}};
    const float* p = s.in + range.first * s.in_stride + c;
    int x = 0;
    if (lanes == kLanes) {
      for (; x + 4 <= range.count; x += 4, p += 4 * s.in_stride) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) acc[j] += load(p + j * s.in_stride);
      }
    }
    for (; x < range.count; ++x, p += s.in_stride) acc[x & 3] += load_first(p, lanes);
    store(s.sums + ptrdiff_t{chunk} * s.padded + c, (acc[0] + acc[1]) + (acc[2] + acc[3]));
  }
}

void mean(const State& s, int32_t image, float* g) {
  const float inverse = 1.f / static_cast<float>(s.pixels);
  const float* sums = s.sums + ptrdiff_t{image} * s.parts * s.padded;
  for (int c = 0; c < s.padded; c += kLanes) {
    V sum = load(sums + c);
    for (int part = 1; part < s.parts; ++part) sum += load(sums + ptrdiff_t{part} * s.padded + c);
    store(g + c, sum * inverse);
  }
}

void finish(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  auto* g = static_cast<float*>(scratch);
  float* e = g + s.padded;
  float* f = e + s.padded;
  float* t = f + s.padded;
  constexpr Act kRelu = {Act::kClamp, 0.f, INFINITY, 0.f, 0.f};
  mean(s, chunk / s.parts, g);
  if (s.paper) {
    affine(g, s.s1, s.t1, s.padded, s.act, t);
    product(t, s.c, s.w1, s.b1, s.padded, e);
    affine(e, s.s2, s.t2, s.padded, kRelu, t);
    affine(g, s.s2 + s.padded, s.t2 + s.padded, s.padded, kRelu, t + s.padded);
    if (s.c != s.padded) memmove(t + s.c, t + s.padded, static_cast<size_t>(s.c) * sizeof(float));
    product(t, 2 * s.c, s.w2, s.b2, s.padded, f);
  } else {
    product(g, s.c, s.w1, s.b1, s.hidden_padded, t);
    for (int o = 0; o < s.hidden_padded; o += kLanes) store(t + o, activate(load(t + o), s.act));
    product(t, s.hidden, s.w2, s.b2, s.padded, f);
  }
  const Range range = range_of(s, chunk);
  for (int c = 0; c < s.c; c += kLanes) {
    const int lanes = imin(kLanes, s.c - c);
    V gate = activate(load(f + c), s.gate);
    if (s.paper) gate += 1.f;
    const float* x = s.in + range.first * s.in_stride + c;
    float* y = s.out + range.first * s.out_stride + c;
    if (lanes == kLanes) {
      for (int p = 0; p < range.count; ++p, x += s.in_stride, y += s.out_stride) store(y, load(x) * gate);
    } else {
      for (int p = 0; p < range.count; ++p, x += s.in_stride, y += s.out_stride) {
        store_first(y, load_first(x, lanes) * gate, lanes);
      }
    }
  }
}

}  // namespace

const Kernel kAttention = {
    .name = "attention_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .finish = finish,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
