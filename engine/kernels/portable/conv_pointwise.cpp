// 1x1 convolutions of stride 1, also fully connected layers: a matrix product over all pixels of the batch. A chunk is
// a range of pixels and a range of outputs. It multiplies a group of pixels by the range's weights and goes on to the
// next group. Pixels are read in place or, where they are channel ranges, have an affine in front or fill no tile,
// gathered into a panel. Ranges of outputs are so small that their weights stay in the second-level cache meanwhile.
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
  int32_t all_blocks, pieces;
  Blocking blocking;
  bool in_place;
};

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// The even number, at most `most`, of vectors of outputs per range with which two threads have most nearly as much to
// do, where the first one takes the first half of the ranges.
int even_range(int blocks, int most) {
  int best = most, least = blocks;
  for (int size = most / 2 * 2; size >= 2; size -= 2) {
    const int first = ceil_div(blocks, size) / 2 * size;  // vectors in the first half of the ranges
    const int longest = imax(first, blocks - first);
    if (longest < least) {
      best = size;
      least = longest;
    }
  }
  return best;
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
  if (b.pixel_chunks == 1) b.blocks = even_range(blocks, b.blocks);
  b.ranges = ceil_div(blocks, b.blocks);
  const int fit =
      static_cast<int>(panel_floats() / (panel_blocks(step.in.c) * kPanelChannels)) / kTilePixels2 * kTilePixels2;
  // Four tiles are enough to use what is loaded of the weights; more would only take memory.
  b.group = imin(imin(imax(fit, kTilePixels2), 4 * kTilePixels2), b.pixels);
  return b;
}

// Whole tiles read the image itself, if its pixels need no gathering and are not so far apart that all of them belong
// to one set of the first-level cache. A single vector of outputs is too little work for the addresses that it takes.
bool reads_tiles_in_place(const Step& step) {
  return step.in.segment_count == 1 && !step.affine.scale && step.out.c > kLanes &&
         step.in.segments[0].pixel_stride % 512 != 0;
}

bool supports(const Step& step) {
  return step.op == StepOp::kConv && step.window.kernel_h == 1 && step.window.kernel_w == 1 &&
         step.window.stride_h == 1 && step.window.stride_w == 1 && step.conv.groups == 1 && step.window.pad_top == 0 &&
         step.window.pad_left == 0 && step.window.pad_bottom == 0 && step.window.pad_right == 0 &&
         step.out.segment_count == 1 && step.in2.segment_count <= 1 &&
         blocking_of(step).pixel_chunks * blocking_of(step).ranges < 65000;
}

// Runs of a pixel that is read in place.
int pieces_of(const Step& step) {
  return ceil_div(step.in.c, kPartialElements);
}

size_t runs_bytes(const Step& step) {
  return static_cast<size_t>(panel_blocks(step.in.c) + pieces_of(step)) * sizeof(Run);
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
  for (int i = 0; i < pieces_of(step); ++i) {  // of a pixel in the image
    runs[count + i] = {i * kPartialElements, imin(kPartialElements, step.in.c - i * kPartialElements)};
  }
  s->pieces = pieces_of(step);
  s->in_place = reads_tiles_in_place(step);
  TileShape& t = s->shape;
  t.runs = runs;
  t.run_count = count;
  t.outputs = step.out.c;
  t.block = ptrdiff_t{step.in.c} * kLanes;
  t.pixel_stride = step.in.segments[0].pixel_stride;
  t.out_stride = step.out.segments[0].pixel_stride;
  t.residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  t.epilogue = epilogue_of(s->bias, step.act);
  t.act = step.act;
  return nullptr;
}

// As many of the pixels [first, last) as whole tiles can read in place. Returns the first of the others.
int64_t run_in_place(const State& s, int64_t first, int64_t last, int begin, int end) {
  TileShape t = s.shape;
  t.runs += t.run_count;
  t.run_count = s.pieces;
  // Weights that stay in the first-level cache need no group of tiles to be read for.
  const bool small = (end - begin) * t.block * static_cast<int64_t>(sizeof(float)) <= caches.first_level / 2;
  const int group = small ? kTilePixels2 : s.blocking.group;
  const int64_t whole = first + (last - first) / kTilePixels2 * kTilePixels2;
  for (; first < whole; first += group) {
    const int64_t group_end = whole - first < group ? whole : first + group;
    for (int b = begin; b < end; b += 2) {
      const TileFunction function = image_tile(imin(end - b, 2));
      const int output = b * kLanes;
      for (int64_t p = first; p < group_end; p += kTilePixels2) {
        function(t, s.source.segments[0].base + p * t.pixel_stride, s.weights + b * t.block,
                 s.out + p * t.out_stride + output, s.residual ? s.residual + p * t.residual_stride + output : nullptr,
                 output);
      }
    }
  }
  return whole;
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Blocking& b = s.blocking;
  const int range = chunk % b.ranges;
  const int begin = range * b.blocks, end = imin(begin + b.blocks, s.all_blocks);
  const int64_t first = int64_t{chunk / b.ranges} * b.pixels;
  const int64_t last = first + b.pixels < s.pixels ? first + b.pixels : s.pixels;
  auto* panel = static_cast<float*>(scratch);
  const int64_t gathered = s.in_place ? run_in_place(s, first, last, begin, end) : first;
  for (int64_t p = gathered; p < last; p += b.group) {
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
