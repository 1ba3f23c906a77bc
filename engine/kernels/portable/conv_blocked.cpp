// Convolution of any window, in blocks: a chunk is a band of output rows of one image, and a range of outputs (or of
// groups). The input rows that it needs are gathered into a panel with their padding (and the affine in front), and the
// register tile reads the taps from there.
//
#include "kernels/portable/blocking.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/tile.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct Blocking {
  int32_t rows, bands, units,
      ranges;  // output rows per band; per image; outputs' vectors (or groups) per range; ranges
};

struct State {
  Source source;
  TileShape shape;
  Parameters parameters;
  float* weights;
  float* out;
  const float* residual;
  ptrdiff_t group_weights, group_bias;  // floats of one group's packed weights, and of its padded bias
  int32_t groups, group_out, group_blocks, oh, ow;
  Panel panel;
  bool flat;  // whether the operands of all pixels of a band are neighbours
  Blocking blocking;
};

Axis x_axis(const Step& s) {
  const Window& w = s.window;
  return phased_axis(s.in.w, w.kernel_w, w.stride_w, w.dilation_w, w.pad_left, s.out.w);
}
Axis y_axis(const Step& s, int rows) {
  const Window& w = s.window;
  return phased_axis(s.in.h, w.kernel_h, w.stride_h, w.dilation_h, w.pad_top, rows);
}

int taps(const Step& s) {
  return s.window.kernel_h * s.window.kernel_w;
}

Blocking blocking_of(const Step& s) {
  const int group_blocks = ceil_div(s.out.c / s.conv.groups, kLanes);
  const int64_t elements = int64_t{s.in.c / s.conv.groups} * taps(s);
  Blocking b;
  int units;
  if (s.conv.groups == 1) {
    units = group_blocks;
    b.units = imin(ceil_div(blocks_in_cache(elements, units), 2) * 2, units);
  } else {
    units = s.conv.groups;
    b.units = blocks_in_cache(elements * group_blocks, units);
  }
  b.ranges = ceil_div(units, b.units);
  // About 200 pixels per band, and at least four chunks per image if there are as many rows.
  const int rows = imax(1, 200 / imax(s.out.w, 1));
  b.rows = imin(rows, imax(1, ceil_div(s.out.h * b.ranges, 4)));
  b.bands = ceil_div(s.out.h, b.rows);
  b.rows = ceil_div(s.out.h, b.bands);
  b.bands = ceil_div(s.out.h, b.rows);
  return b;
}

int64_t chunks(const Step& s) {
  const Blocking b = blocking_of(s);
  return int64_t{s.out.n} * b.bands * b.ranges;
}

int64_t panel_floats(const Step& s) {
  return block_floats(y_axis(s, blocking_of(s).rows), x_axis(s)) * panel_blocks(s.in.c);
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || s.out.segment_count != 1 || s.in2.segment_count > 1) return false;
  // A panel holds blocks of 64 channels, and the tile computes vectors of outputs: fewer would waste too much.
  if (s.in.c < 16 || (s.conv.groups > 1 && (s.in.c / s.conv.groups < 8 || s.out.c / s.conv.groups < kLanes))) {
    return false;
  }
  return chunks(s) < 65000 && panel_floats(s) < kMostElements;
}

int64_t group_weights(const Step& s) {
  return packed_elements(s.out.c / s.conv.groups, s.in.c / s.conv.groups, taps(s));
}

// The most pieces of one tap of a group, which end where a block of the panel does.
int most_pieces(const Step& s) {
  const int inputs = s.in.c / s.conv.groups;
  return s.conv.groups == 1 ? panel_blocks(inputs) : ceil_div(inputs, kPanelChannels) + 1;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + source_bytes(s.in) +
                       static_cast<uint64_t>(s.conv.groups) * static_cast<uint64_t>(taps(s)) *
                           static_cast<uint64_t>(most_pieces(s)) * sizeof(Run);
  needs->weight_bytes =
      static_cast<uint64_t>(s.conv.groups * (group_weights(s) + packed_elements(s.out.c / s.conv.groups, 1, 1))) * 4;
  needs->scratch_bytes = static_cast<uint64_t>(panel_floats(s)) * sizeof(float);
  needs->chunks = static_cast<int32_t>(chunks(s));
}

void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  float* bias = s.weights + s.groups * s.group_weights;
  for (int g = 0; g < s.groups; ++g) {
    pack_weights(s.parameters, g, s.weights + g * s.group_weights, part, parts);
    if (part == 0) pack_bias(s.parameters, g, bias + g * s.group_bias);
  }
}

// The runs of all groups; every group has `per_group` places, those not needed are empty.
void make_runs(const Step& step, const State& s, Run* runs, int per_group) {
  const Window& w = step.window;
  const int inputs = step.in.c / s.groups;
  for (int g = 0; g < s.groups; ++g) {
    Run* run = runs + ptrdiff_t{g} * per_group;
    Run* const end = run + per_group;
    for (int t = 0; t < taps(step); ++t) {
      const int ty = t / w.kernel_w * w.dilation_h, tx = t % w.kernel_w * w.dilation_w;
      const int row = ty % w.stride_h * s.panel.y.length + ty / w.stride_h;
      const int column = tx % w.stride_w * s.panel.x.length + tx / w.stride_w;
      const int pixel = row * s.panel.x.phases * s.panel.x.length + column;
      for (int c = g * inputs; c < (g + 1) * inputs;) {
        const int length = imin(kPanelChannels - c % kPanelChannels, (g + 1) * inputs - c);
        *run++ = {static_cast<int32_t>(c / kPanelChannels * s.panel.block_stride) + pixel * kPanelChannels +
                      c % kPanelChannels,
                  length};
        c += length;
      }
    }
    while (run != end) *run++ = {0, 0};
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->blocking = blocking_of(step);
  s->groups = step.conv.groups;
  s->group_out = step.out.c / s->groups;
  s->group_blocks = ceil_div(s->group_out, kLanes);
  s->group_weights = static_cast<ptrdiff_t>(group_weights(step));
  s->group_bias = static_cast<ptrdiff_t>(packed_elements(s->group_out, 1, 1));
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  refresh(s, 0, 1);
  s->panel = make_panel(y_axis(step, s->blocking.rows), x_axis(step));
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->flat = s->panel.x.phases == 1 && s->panel.x.length == s->ow;
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  TileShape& t = s->shape;
  auto* runs = reinterpret_cast<Run*>(reinterpret_cast<uint8_t*>(s + 1) + source_bytes(step.in));
  t.run_count = taps(step) * most_pieces(step);
  make_runs(step, *s, runs, t.run_count);
  t.runs = runs;
  t.outputs = s->group_out;
  t.block = ptrdiff_t{taps(step)} * (step.in.c / s->groups) * kLanes;
  t.out_stride = step.out.segments[0].pixel_stride;
  t.residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  t.row = s->panel.row;
  t.out_row = s->ow * t.out_stride;
  t.residual_row = s->ow * t.residual_stride;
  t.epilogue = epilogue_of(place.weights + s->groups * s->group_weights, step.act);
  t.act = step.act;
  return nullptr;
}

// The rows of a band for the blocks [begin, end) of group g.
void run_group(const State& s, int g, int begin, int end, const float* panel, ptrdiff_t first_pixel, int rows) {
  TileShape t = s.shape;
  t.runs += ptrdiff_t{g} * t.run_count;
  t.epilogue.bias += g * s.group_bias;
  const float* w = s.weights + g * s.group_weights;
  const ptrdiff_t channel = ptrdiff_t{g} * s.group_out;
  tile_matrix(t, panel, w, s.out + first_pixel * t.out_stride + channel,
              s.residual ? s.residual + first_pixel * t.residual_stride + channel : nullptr, s.flat ? 1 : rows,
              s.flat ? rows * s.ow : s.ow, begin, end);
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Blocking& b = s.blocking;
  const int range = chunk % b.ranges;
  const int band = chunk / b.ranges % b.bands, image = chunk / b.ranges / b.bands;
  const int oy = band * b.rows, rows = imin(b.rows, s.oh - oy);
  auto* panel = static_cast<float*>(scratch);
  fill_panel(s.source, s.panel, image, oy, s.panel.y.length - (b.rows - rows), 0, s.source.channels, panel);
  const ptrdiff_t pixel = (ptrdiff_t{image} * s.oh + oy) * s.ow;
  const int begin = range * b.units;
  if (s.groups == 1) {
    run_group(s, 0, begin, imin(begin + b.units, s.group_blocks), panel, pixel, rows);
  } else {
    const int end = imin(begin + b.units, s.groups);
    for (int g = begin; g < end; ++g) run_group(s, g, 0, s.group_blocks, panel, pixel, rows);
  }
}

}  // namespace

const Kernel kConvBlocked = {
    .name = "conv2d_blocked_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
