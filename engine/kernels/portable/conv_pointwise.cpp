// 1x1 convolutions, also fully connected layers: a matrix product over all pixels of the batch. An input of several
// channel ranges, or with an affine in front (BN + ReLU), is gathered a few pixels at a time into scratch that stays in
// the first-level cache; a dense input is read in place.
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kGatherFloats = 32 * 1024;  // that are gathered at most before they are used

struct State {
  Source source;
  GemmShape shape;
  Epilogue epilogue;
  Act act;
  Parameters parameters;
  float* weights;
  float* bias;
  float* out;
  const float* residual;
  int64_t pixels;
  int32_t chunk_pixels, gather_pixels;
};

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// A small image is cut into equal quarters, so that two or four threads finish together; a larger one into more chunks
// of equal size.
int chunk_pixels(int64_t pixels) {
  const int64_t quarter = (pixels + 3) / 4;
  const int64_t least = pixels / 32000 + 1;  // keeps the number of chunks in range
  const int64_t wanted = quarter < 16 ? 16 : quarter > 128 ? 128 : quarter;
  return static_cast<int>(wanted > least ? wanted : least);
}

int gather_pixels(const Step& step) {
  const int fit = kGatherFloats / step.in.c / 12 * 12;
  return imin(imin(imax(fit, 12), 24), chunk_pixels(pixel_count(step.in)));
}

bool is_dense(const Step& step) {
  return step.in.segment_count == 1 && !step.affine.scale;
}

bool supports(const Step& step) {
  return step.op == StepOp::kConv && step.window.kernel_h == 1 && step.window.kernel_w == 1 &&
         step.window.stride_h == 1 && step.window.stride_w == 1 && step.conv.groups == 1 && step.window.pad_top == 0 &&
         step.window.pad_left == 0 && step.window.pad_bottom == 0 && step.window.pad_right == 0 &&
         step.out.segment_count == 1 && step.in2.segment_count <= 1 &&
         pixel_count(step.in) / chunk_pixels(pixel_count(step.in)) < 65000;
}

void query(const Step& step, KernelNeeds* needs) {
  const int64_t pixels = pixel_count(step.in);
  const int chunk = chunk_pixels(pixels);
  needs->state_bytes = sizeof(State) + source_bytes(step.in);
  needs->weight_bytes =
      static_cast<uint64_t>(packed_elements(step.out.c, step.in.c, 1) + packed_elements(step.out.c, 1, 1)) * 4;
  needs->scratch_bytes =
      is_dense(step) ? 0 : static_cast<uint64_t>(gather_pixels(step)) * static_cast<uint64_t>(step.in.c) * 4;
  needs->chunks = static_cast<int32_t>((pixels + chunk - 1) / chunk);
}

void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  pack_weights(s.parameters, 0, s.weights, part, parts);
  if (part == 0) pack_bias(s.parameters, 0, s.bias);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->pixels = pixel_count(step.in);
  s->chunk_pixels = chunk_pixels(s->pixels);
  s->gather_pixels = is_dense(step) ? s->chunk_pixels : gather_pixels(step);
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  s->bias = place.weights + packed_elements(step.out.c, step.in.c, 1);
  refresh(s, 0, 1);
  s->act = step.act;
  s->epilogue = epilogue_of(s->bias, step.act);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  GemmShape& g = s->shape;
  g.pixel_stride = is_dense(step) ? step.in.segments[0].pixel_stride : step.in.c;
  g.runs = 1;
  g.run_length = step.in.c;
  g.out_pixel_stride = step.out.segments[0].pixel_stride;
  g.residual_pixel_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  g.outputs = step.out.c;
  return nullptr;
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t first = int64_t{chunk} * s.chunk_pixels;
  const int64_t last = first + s.chunk_pixels < s.pixels ? first + s.chunk_pixels : s.pixels;
  const bool dense = s.source.dense();
  for (int64_t p = first; p < last; p += s.gather_pixels) {
    const int count = static_cast<int>(last - p < s.gather_pixels ? last - p : s.gather_pixels);
    const float* x = static_cast<const float*>(scratch);
    if (dense) {
      x = s.source.segments[0].base + p * s.shape.pixel_stride;
    } else {
      gather(s.source, p, count, static_cast<float*>(scratch), s.source.channels);
    }
    float* y = s.out + p * s.shape.out_pixel_stride;
    gemm_all(s.shape, x, s.weights, s.epilogue, y,
             s.residual ? s.residual + p * s.shape.residual_pixel_stride : nullptr, 1, count);
    activate_rows(s.act, y, 0, s.shape.out_pixel_stride, 1, count, s.shape.outputs);
  }
}

}  // namespace

const Kernel kConvPointwise = {
    .name = "conv2d_pointwise_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
