// Elementwise steps: Affine (also the gathering copy), Unary, and Binary if each operand has the output's shape or is
// one value per channel.
#include "kernels/portable/activation.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

int chunk_pixels(const Step& s) {
  const int64_t pixels = pixel_count(s.out);
  const int64_t wanted = 16384 / (s.out.c > 0 ? s.out.c : 1) + 1;  // 64 KB per chunk
  const int64_t least = pixels / 60000 + 1;                        // keeps the number of chunks in range
  return static_cast<int>(wanted > least ? wanted : least);
}

int32_t chunk_count(const Step& s) {
  const int chunk = chunk_pixels(s);
  return static_cast<int32_t>((pixel_count(s.out) + chunk - 1) / chunk);
}

struct State {
  Source a, b;
  Act act;
  BinaryOp op;
  float* out;
  ptrdiff_t out_stride;
  int64_t pixels;
  int32_t chunk_pixels, c;
};

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + source_bytes(s.in) + source_bytes(s.in2);
  needs->weight_bytes = 0;
  needs->scratch_bytes = 0;
  needs->chunks = chunk_count(s);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->a = make_source(step, place.arena, s + 1);
  if (step.in2.segment_count > 0) {
    Step second = step;
    second.in = step.in2;
    second.affine.scale = {};
    s->b = make_source(second, place.arena, reinterpret_cast<uint8_t*>(s + 1) + source_bytes(step.in));
  }
  s->act = step.act;
  s->op = step.binary.op;
  s->out = dense_pointer(step.out, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->pixels = pixel_count(step.out);
  s->chunk_pixels = chunk_pixels(step);
  s->c = step.out.c;
  return nullptr;
}

bool affine_supports(const Step& s) {
  return (s.op == StepOp::kAffine || s.op == StepOp::kUnary) && s.out.segment_count == 1;
}

void affine_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t first = int64_t{chunk} * s.chunk_pixels;
  const int count = static_cast<int>(s.pixels - first < s.chunk_pixels ? s.pixels - first : s.chunk_pixels);
  float* y = s.out + first * s.out_stride;
  gather(s.a, first, count, y, s.out_stride);
  if (s.act.kind != Act::kClamp || s.act.low > -INFINITY || s.act.high < INFINITY) {
    for (int p = 0; p < count; ++p) {
      for (int c = 0; c < s.c; c += kLanes) {
        const int lanes = imin(kLanes, s.c - c);
        float* v = y + p * s.out_stride + c;
        store_first(v, activate(load_first(v, lanes), s.act), lanes);
      }
    }
  }
}

bool same_shape(const View& a, const View& b) {
  return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

// The operands may have different segments: binary_impl walks through the channel ranges that lie within one segment of
// each.
bool binary_supports(const Step& s) {
  return s.op == StepOp::kBinary && !s.strided && s.out.segment_count == 1 && same_shape(s.in, s.out) &&
         same_shape(s.in2, s.out);
}

template <BinaryOp kOp>
void binary_impl(const State& s, int64_t first, int count) {
  int32_t ia = 0, ib = 0;
  int ca = 0, cb = 0;  // channels done in the current segments
  for (int channel = 0; channel < s.c;) {
    const GatherRange& a = s.a.segments[ia];
    const GatherRange& b = s.b.segments[ib];
    const int span = imin(a.channels - ca, b.channels - cb);
    for (int c = 0; c < span; c += kLanes) {
      const int lanes = imin(kLanes, span - c);
      const float* x = a.base + first * a.pixel_stride + ca + c;
      const float* z = b.base + first * b.pixel_stride + cb + c;
      float* y = s.out + first * s.out_stride + channel + c;
      for (int p = 0; p < count; ++p, x += a.pixel_stride, z += b.pixel_stride, y += s.out_stride) {
        store_first(y, activate(combine(kOp, load_first(x, lanes), load_first(z, lanes)), s.act), lanes);
      }
    }
    channel += span;
    ca += span;
    cb += span;
    if (ca == a.channels) ++ia, ca = 0;
    if (cb == b.channels) ++ib, cb = 0;
  }
}

void binary_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t first = int64_t{chunk} * s.chunk_pixels;
  const int count = static_cast<int>(s.pixels - first < s.chunk_pixels ? s.pixels - first : s.chunk_pixels);
  switch (s.op) {
    case BinaryOp::kAdd:
      binary_impl<BinaryOp::kAdd>(s, first, count);
      break;
    case BinaryOp::kSub:
      binary_impl<BinaryOp::kSub>(s, first, count);
      break;
    case BinaryOp::kMul:
      binary_impl<BinaryOp::kMul>(s, first, count);
      break;
    case BinaryOp::kDiv:
      binary_impl<BinaryOp::kDiv>(s, first, count);
      break;
    case BinaryOp::kMax:
      binary_impl<BinaryOp::kMax>(s, first, count);
      break;
    case BinaryOp::kMin:
      binary_impl<BinaryOp::kMin>(s, first, count);
      break;
    case BinaryOp::kPrelu:
      binary_impl<BinaryOp::kPrelu>(s, first, count);
      break;
  }
}

}  // namespace

const Kernel kAffine = {
    .name = "affine_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = affine_supports,
    .query = query,
    .prepare = prepare,
    .run = affine_run,
};
const Kernel kBinary = {
    .name = "binary_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = binary_supports,
    .query = query,
    .prepare = prepare,
    .run = binary_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
