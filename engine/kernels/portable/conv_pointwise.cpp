// 1x1 convolutions of stride 1, also fully connected layers: a matrix product over all pixels of the batch. A chunk is
// a range of pixels and a range of outputs. It gathers a group of pixels into a panel (channel ranges, and the affine
// in front, on the way), multiplies it by the range's weights, and goes on to the next group. Ranges of outputs are so
// small that their weights stay in the second-level cache meanwhile.
#include "kernels/portable/blocking.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/tile.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct Blocking {
  int32_t pixels, ranges;  // per chunk; of outputs
  int32_t blocks, group;   // of outputs per range; pixels gathered at once
  int64_t pixel_chunks;
};

struct State {
  Source source;
  TileShape shape;
  Parameters parameters;
  float* weights;
  float* bias;
  float* out;
  const float* residual;
  int64_t pixels;
  int32_t all_blocks;
  Blocking blocking;
};

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

Blocking blocking_of(const Step& step) {
  const int64_t pixels = pixel_count(step.in);
  const int blocks = ceil_div(step.out.c, kLanes);
  Blocking b;
  // There should be at least four chunks, so that two or four threads finish together. What is cut must be read by
  // every chunk in whole: the weights if pixels are cut, the pixels if outputs are.
  const bool cut_outputs = pixels < 4 * kTilePixels2 || (pixels < step.out.c && blocks >= 16);
  const int64_t quarter = cut_outputs ? pixels : (pixels + 3) / 4;
  const int64_t least = pixels / 16000 + 1;  // keeps the number of chunks in range
  const int64_t wanted = quarter < 16 ? imin(static_cast<int>(pixels), 16) : quarter > 112 ? 112 : quarter;
  b.pixels = static_cast<int32_t>(wanted > least ? wanted : least);
  b.pixel_chunks = (pixels + b.pixels - 1) / b.pixels;
  const int ranges = b.pixel_chunks >= 4 ? 1 : imax(1, imin(ceil_div(4, static_cast<int>(b.pixel_chunks)), blocks / 4));
  b.blocks = imin(ceil_div(blocks, ranges), blocks_in_cache(int64_t{step.in.c}, blocks));
  b.blocks = imin(ceil_div(b.blocks, 2) * 2, blocks);
  b.ranges = ceil_div(blocks, b.blocks);
  const int fit =
      static_cast<int>(panel_floats() / (panel_blocks(step.in.c) * kPanelChannels)) / kTilePixels2 * kTilePixels2;
  // Four tiles are enough to use what is loaded of the weights; more would only take memory.
  b.group = imin(imin(imax(fit, kTilePixels2), 4 * kTilePixels2), b.pixels);
  return b;
}

bool supports(const Step& step) {
  return step.op == StepOp::kConv && step.window.kernel_h == 1 && step.window.kernel_w == 1 &&
         step.window.stride_h == 1 && step.window.stride_w == 1 && step.conv.groups == 1 && step.window.pad_top == 0 &&
         step.window.pad_left == 0 && step.window.pad_bottom == 0 && step.window.pad_right == 0 &&
         step.out.segment_count == 1 && step.in2.segment_count <= 1 &&
         blocking_of(step).pixel_chunks * blocking_of(step).ranges < 65000;
}

size_t runs_bytes(const Step& step) {
  return static_cast<size_t>(panel_blocks(step.in.c)) * sizeof(Run);
}

void query(const Step& step, KernelNeeds* needs) {
  const Blocking b = blocking_of(step);
  needs->state_bytes = sizeof(State) + source_bytes(step.in) + runs_bytes(step);
  needs->weight_bytes =
      static_cast<uint64_t>(packed_elements(step.out.c, step.in.c, 1) + packed_elements(step.out.c, 1, 1)) * 4;
  needs->scratch_bytes =
      static_cast<uint64_t>(b.group) * static_cast<uint64_t>(panel_blocks(step.in.c)) * kPanelChannels * sizeof(float);
  needs->chunks = static_cast<int32_t>(b.pixel_chunks * b.ranges);
}

void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  pack_weights(s.parameters, 0, s.weights, part, parts);
  if (part == 0) pack_bias(s.parameters, 0, s.bias);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->blocking = blocking_of(step);
  s->pixels = pixel_count(step.in);
  s->all_blocks = ceil_div(step.out.c, kLanes);
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  s->bias = place.weights + packed_elements(step.out.c, step.in.c, 1);
  refresh(s, 0, 1);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  auto* runs = reinterpret_cast<Run*>(reinterpret_cast<uint8_t*>(s + 1) + source_bytes(step.in));
  const int count = panel_blocks(step.in.c);
  for (int i = 0; i < count; ++i) {
    runs[i] = {i * s->blocking.group * kPanelChannels, imin(kPanelChannels, step.in.c - i * kPanelChannels)};
  }
  TileShape& t = s->shape;
  t.runs = runs;
  t.run_count = count;
  t.outputs = step.out.c;
  t.block = ptrdiff_t{step.in.c} * kLanes;
  t.out_stride = step.out.segments[0].pixel_stride;
  t.residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  t.epilogue = epilogue_of(s->bias, step.act);
  t.act = step.act;
  return nullptr;
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Blocking& b = s.blocking;
  const int range = chunk % b.ranges;
  const int begin = range * b.blocks, end = imin(begin + b.blocks, s.all_blocks);
  const int64_t first = int64_t{chunk / b.ranges} * b.pixels;
  const int64_t last = first + b.pixels < s.pixels ? first + b.pixels : s.pixels;
  auto* panel = static_cast<float*>(scratch);
  for (int64_t p = first; p < last; p += b.group) {
    const int count = static_cast<int>(last - p < b.group ? last - p : b.group);
    gather_panel(s.source, p, count, 1, 0, s.source.channels, panel, ptrdiff_t{b.group} * kPanelChannels);
    tile_matrix(s.shape, panel, s.weights, s.out + p * s.shape.out_stride,
                s.residual ? s.residual + p * s.shape.residual_stride : nullptr, 1, count, begin, end);
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
