// 1x1 convolution, also fully connected layers: a matrix product over all pixels of the batch. Several channel ranges
// and an affine in front (BN + ReLU) are gathered, a few pixels at a time, into scratch that stays in the first-level
// cache; a dense input is read in place.
#include "kernels/gemm.h"
#include "kernels/portable.h"
#include "kernels/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kGatherFloats = 32 * 1024;  // at most so much is gathered before it is used

struct State {
  Source source;
  GemmShape shape;
  Epilogue epilogue;
  Act act;
  const float* weights;
  float* out;
  const float* residual;
  int64_t pixels;
  int32_t chunk_pixels, gather_pixels, ranges, parts;
};

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// How the work is cut. Chunks are ranges of pixels, small enough for a few threads to share small images evenly, large
// enough for full register tiles. Where pixels are few and weights are many, reading the weights is the work: then the
// output channels are cut in two as well, and a thread that takes one half of the chunks reads one half of the weights.
struct Cut {
  int32_t pixels, gather, parts;
  int64_t ranges;
};

Cut cut(const Step& step) {
  const int64_t pixels = pixel_count(step.in);
  Cut c{};
  c.pixels = pixels <= 128 ? 16 : pixels <= 512 ? 24 : pixels <= 16384 ? 48 : 192;
  c.parts = 1;
  if (pixels <= 128 && int64_t{step.in.c} * step.out.c >= 32 * 1024 && step.out.c >= 2 * kLanes) {
    c.parts = 2;
    c.pixels = 32;
  }
  const int fit = kGatherFloats / step.in.c / 12 * 12;
  c.gather = imin(imin(imax(fit, 12), 24), c.pixels == 32 ? 16 : c.pixels);
  c.ranges = (pixels + c.pixels - 1) / c.pixels;
  return c;
}

bool is_dense(const Step& step) {
  return step.in.segment_count == 1 && !step.pre_scale;
}

bool supports(const Step& step) {
  return step.op == StepOp::kConv && step.kernel_h == 1 && step.kernel_w == 1 && step.stride_h == 1 &&
         step.stride_w == 1 && step.groups == 1 && step.pad_top == 0 && step.pad_left == 0 && step.pad_bottom == 0 &&
         step.pad_right == 0 && step.out.segment_count == 1 && step.in2.segment_count <= 1 && cut(step).ranges < 32000;
}

void query(const Step& step, KernelNeeds* needs) {
  const Cut c = cut(step);
  needs->state_bytes = sizeof(State) + source_bytes(step.in);
  needs->weight_bytes =
      static_cast<size_t>(packed_elements(step.out.c, step.in.c, 1) + packed_elements(step.out.c, 1, 1)) * 4;
  needs->scratch_bytes = is_dense(step) ? 0 : static_cast<size_t>(c.gather) * static_cast<size_t>(step.in.c) * 4;
  needs->chunks = static_cast<int32_t>(c.ranges) * c.parts;
}

const char* prepare(const Step& step, uint8_t* arena, void* memory, float* weights) {
  auto* s = static_cast<State*>(memory);
  s->source = make_source(step, arena, s + 1);
  s->pixels = pixel_count(step.in);
  const Cut c = cut(step);
  s->chunk_pixels = c.pixels;
  s->gather_pixels = is_dense(step) ? c.pixels : c.gather;
  s->ranges = static_cast<int32_t>(c.ranges);
  s->parts = c.parts;
  pack_weights(step.weight, step.out.c, step.in.c, 1, weights);
  float* bias = weights + packed_elements(step.out.c, step.in.c, 1);
  if (step.bias) memcpy(bias, step.bias, static_cast<size_t>(step.out.c) * sizeof(float));
  s->weights = weights;
  s->act = step.act;
  s->epilogue = epilogue_of(bias, step.act);
  s->out = dense_pointer(step.out, arena);
  s->residual = dense_pointer(step.in2, arena);
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
  const int64_t first = int64_t{chunk % s.ranges} * s.chunk_pixels;
  const int part = chunk / s.ranges;
  const int blocks = ceil_div(s.shape.outputs, kLanes);
  const int begin = ceil_div(blocks * part, s.parts), end = ceil_div(blocks * (part + 1), s.parts);
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
    gemm_blocks(s.shape, x, s.weights, s.epilogue, y,
                s.residual ? s.residual + p * s.shape.residual_pixel_stride : nullptr, 1, count, begin, end);
    activate_rows(s.act, y + begin * kLanes, 0, s.shape.out_pixel_stride, 1, count,
                  imin(s.shape.outputs, end * kLanes) - begin * kLanes);
  }
}

}  // namespace

const Kernel kConvPointwise = {
    "conv2d_pointwise_f32_" SPARSENET_ISA_NAME, "portable", supports, query, prepare, run, nullptr, false};

}  // namespace sparsenet::rt::SPARSENET_ISA
