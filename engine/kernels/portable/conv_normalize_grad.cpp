// The backward pass through a 1x1 convolution and the affine with bounds in front of it (BN and ReLU), in one step. The
// gradient between the two, which has all channels that the layer has read, is needed for only a few pixels at a time
// and never leaves the cache.
#include "kernels/portable/gemm.h"
#include "kernels/portable/normalize_grad.h"
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kTileFloats = 16 * 1024;  // of the gradient that are in scratch at a time

struct State {
  NormalizeGradState normalize;  // first: see prepare_normalize_grad
  const float* d;                // gradient of the convolution's output
  ptrdiff_t d_stride;
  Parameters parameters;
  float* weights;
  float* zeros;  // the bias
  GemmShape shape;
  int32_t tile;
};

int tile_pixels(const Step& s) {
  return imin(imax(kTileFloats / round_lanes(s.train.operands[1].c) / 12 * 12, 12), 96);
}

bool supports(const Step& s) {
  return normalize_grad_supports(s) && s.conv.weight && s.in.segment_count == 1;
}

void query(const Step& s, KernelNeeds* needs) {
  normalize_grad_query(s, needs);
  const int c = s.train.operands[1].c;
  needs->state_bytes = sizeof(State) + normalize_grad_sources(s);
  needs->weight_bytes = static_cast<uint64_t>(packed_elements(c, s.in.c, 1) + round_lanes(c)) * sizeof(float);
  needs->scratch_bytes = means_bytes(s) * static_cast<uint64_t>(1 + tile_pixels(s));
}

void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  pack_weights(s.parameters, 0, s.weights, part, parts);
  if (part == 0) pack_bias(s.parameters, 0, s.zeros);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  prepare_normalize_grad(step, place, &s->normalize, sizeof(State) - sizeof(NormalizeGradState));
  const int32_t c = step.train.operands[1].c;
  s->d = dense_pointer(step.in, place.arena);
  s->d_stride = step.in.segments[0].pixel_stride;
  s->parameters = {step.conv.weight.f32(), nullptr, 1, c, 1, 0, c, step.in.c, 1};  // weight [in.c][c]
  s->weights = place.weights;
  s->zeros = place.weights + packed_elements(c, step.in.c, 1);
  s->tile = tile_pixels(step);
  s->shape.pixel_stride = s->d_stride;
  s->shape.runs = 1;
  s->shape.run_length = step.in.c;
  s->shape.out_pixel_stride = s->normalize.padded;
  s->shape.outputs = c;
  refresh(s, 0, 1);
  return nullptr;
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const NormalizeGradState& n = s.normalize;
  auto* means = static_cast<float*>(scratch);
  float* dy = means + n.padded;
  gather_means(n, means);
  const Span span = span_of(n.pixels, n.each, chunk);
  float* partial = begin_partial(n, chunk);
  const Epilogue plain{s.zeros, -INFINITY, INFINITY};
  for (int32_t p = 0; p < span.count; p += s.tile) {
    const int32_t count = imin(s.tile, span.count - p);
    const int64_t first = span.first + p;
    gemm_all(s.shape, s.d + first * s.d_stride, s.weights, plain, dy, nullptr, 1, count);
    normalize_grad_pixels(n, first, count, dy, n.padded, means, partial);
  }
}

void finish(const void* memory, int32_t chunk, void*) {
  finish_normalize_grad(static_cast<const State*>(memory)->normalize, chunk);
}

}  // namespace

const Kernel kConvNormalizeGrad = {
    .name = "conv2d_pointwise_normalize_grad_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .finish = finish,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
