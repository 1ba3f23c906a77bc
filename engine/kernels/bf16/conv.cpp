// Convolutions, also fully connected layers, whose products are of bfloat16 numbers: inputs and weights are rounded,
// sums and everything around them are float32. A chunk is a band of output rows of one image and a range of outputs; a
// 1x1 convolution takes all pixels of the batch as one column. The input pixels that a chunk needs are gathered into a
// panel, where rounding, affine, padding and channel ranges are done once. Tiles then walk along whole planes of the
// panel, across the ends of rows: what they compute for the pixels between rows is left out when sums are finished.
#include "kernels/bf16/multiply.h"
#include "kernels/portable/cut.h"
#include "kernels/portable/gemm.h"
#include "kernels/portable/winograd.h"
#include "runtime/kernel.h"
#include "step/step.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  Source source;
  Pieces pieces;
  Bf16Panel panel;
  Images images;
  Cut cut;
  const Bf16* weights;
  Epilogue epilogue;
  Act act;
  float* out;
  const float* residual;
  ptrdiff_t out_stride, residual_stride;
  int32_t outputs, all_blocks;
};

int taps(const Step& s) {
  return s.window.kernel_h * s.window.kernel_w;
}

Axis x_axis(const Step& s) {
  const Window& w = s.window;
  const Images i = images_of(s);
  return phased_axis(i.in_w, w.kernel_w, w.stride_w, w.dilation_w, w.pad_left, i.out_w);
}
Axis y_axis(const Step& s, int rows) {
  const Window& w = s.window;
  return phased_axis(images_of(s).in_h, w.kernel_h, w.stride_h, w.dilation_h, w.pad_top, rows);
}

int64_t weight_elements(const Step& s) {
  return int64_t{ceil_div(s.out.c, kLanes)} * taps(s) * channel_blocks(s.in.c) * kTileWeights;
}

Cut cut_of(const Step& s) {
  const Axis x = x_axis(s);
  const int64_t row_bytes = int64_t{x.phases} * x.length * channel_blocks(s.in.c) * kBlockChannels * 2;
  return cut_of(images_of(s), {s.out.c, x.length, weight_elements(s) * 2, row_bytes, 0, 256, 127});
}

int64_t panel_elements(const Step& s) {
  // Beyond the last pixel a tile reads up to a tile more.
  return panel_pixels(y_axis(s, cut_of(s).rows), x_axis(s)) * channel_blocks(s.in.c) * kBlockChannels +
         int64_t{2} * kTilePixels * kBlockChannels;
}

bool supports(const Step& s) {
  // Fewer channels or outputs would leave most of a tile empty.
  if (s.op != StepOp::kConv || s.conv.groups != 1 || s.conv.variable || s.in.c < 16 || s.out.c < 8) return false;
  if (s.out.segment_count != 1 || s.in2.segment_count > 1 || pixels_of(s.out) >= kMostElements) return false;
#if !defined(__AMX_BF16__)
  // Dot products of pairs are at most twice as fast as float32's multiply-adds. F(4x4, 3x3) needs a quarter of them,
  // and short sums are not worth the gathering.
  if (prefers_form4<false>(s) || int64_t{taps(s)} * s.in.c < 96) return false;
#endif
  return chunks_of(images_of(s), cut_of(s)) < 65000 && panel_elements(s) < kMostElements;
}

size_t offsets_bytes(const Step& s) {
  return static_cast<size_t>(taps(s)) * static_cast<size_t>(channel_blocks(s.in.c)) * sizeof(int32_t);
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + source_bytes(s.in) + offsets_bytes(s);
  needs->weight_bytes = static_cast<uint64_t>(weight_elements(s)) * sizeof(Bf16) +
                        static_cast<uint64_t>(packed_elements(s.out.c, 1, 1)) * sizeof(float);
  needs->scratch_bytes = static_cast<uint64_t>(panel_elements(s)) * sizeof(Bf16);
  needs->chunks = static_cast<int32_t>(chunks_of(images_of(s), cut_of(s)));
}

// [block of outputs][tap][block of channels][pair][output][2 channels]; what is beyond the last channel or output stays
// zero.
void pack(const Parameters& p, Bf16* packed) {
  const int blocks = channel_blocks(p.inputs);
  for (int o = 0; o < p.outputs; ++o) {
    Bf16* of_output = packed + ptrdiff_t{o / kLanes} * p.taps * blocks * kTileWeights + o % kLanes * 2;
    for (int t = 0; t < p.taps; ++t) {
      const float* w = p.weight + p.first + o * p.out + t * p.tap;
      for (int c = 0; c < p.inputs; ++c) {
        const ptrdiff_t tile = ptrdiff_t{t} * blocks + c / kBlockChannels;
        of_output[tile * kTileWeights + c % kBlockChannels / 2 * 2 * kLanes + c % 2] = to_bf16(w[c * p.in]);
      }
    }
  }
}

void make_offsets(const Step& step, const Bf16Panel& panel, int32_t* offset) {
  const Window& w = step.window;
  for (int t = 0; t < taps(step); ++t) {
    const int ty = t / w.kernel_w * w.dilation_h, tx = t % w.kernel_w * w.dilation_w;
    const int plane = ty % w.stride_h * panel.x.phases + tx % w.stride_w;
    const int row = plane * panel.y.length + ty / w.stride_h;
    const int pixel = row * panel.x.length + tx / w.stride_w;
    for (int b = 0; b < panel.blocks; ++b) {
      *offset++ = static_cast<int32_t>(b * panel.block) + pixel * kBlockChannels;
    }
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->images = images_of(step);
  s->cut = cut_of(step);
  s->outputs = step.out.c;
  s->all_blocks = ceil_div(step.out.c, kLanes);
  const Axis y = y_axis(step, s->cut.rows), x = x_axis(step);
  s->panel = {y, x, channel_blocks(step.in.c), static_cast<ptrdiff_t>(panel_pixels(y, x) * kBlockChannels)};
  auto* offsets = reinterpret_cast<int32_t*>(reinterpret_cast<uint8_t*>(s + 1) + source_bytes(step.in));
  make_offsets(step, s->panel, offsets);
  const int count = taps(step) * s->panel.blocks;
  s->pieces = {offsets, count, ptrdiff_t{count} * kTileWeights};
  const Parameters parameters = parameters_of(step);
  auto* weights = reinterpret_cast<Bf16*>(place.weights);
  pack(parameters, weights);
  s->weights = weights;
  auto* bias = reinterpret_cast<float*>(weights + weight_elements(step));
  pack_bias(parameters, 0, bias);
  s->epilogue = epilogue_of(bias, step.act);
  s->act = step.act;
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  return nullptr;
}

// Finishes `count` neighbouring pixels of a tile's sums; `pixel` is the index of the first one among the outputs.
void finish(const State& s, const float* sums, int sums_stride, int64_t pixel, int count, int first_output,
            int outputs) {
  const V low = splat(s.epilogue.low), high = splat(s.epilogue.high);
  float* y = s.out + pixel * s.out_stride + first_output;
  const float* r = s.residual ? s.residual + pixel * s.residual_stride + first_output : nullptr;
  for (int o = 0; o < outputs; o += kLanes) {
    const int lanes = imin(kLanes, outputs - o);
    const V bias = load(s.epilogue.bias + first_output + o);
    for (int p = 0; p < count; ++p) {
      V v = load(sums + p * sums_stride + o) + bias;
      if (r) v += load_first(r + p * s.residual_stride + o, lanes);
      store_first(y + p * s.out_stride + o, bounded(v, low, high), lanes);
    }
  }
  if (s.act.kind != Act::kClamp) activate_rows(s.act, y, 0, s.out_stride, 1, count, outputs);
}

// The pixels [first, last) of a plane, which begins with output row y0 of an image, times B vectors of outputs.
template <int P, int B>
void tile(const State& s, const Bf16* panel, int first, int last, int image, int y0, int block) {
  alignas(64) float sums[P * kTilePixels * B * kLanes];
  multiply<P, B>(s.pieces, panel + ptrdiff_t{first} * kBlockChannels, s.weights + block * s.pieces.block, sums);
  const int length = s.panel.x.length, first_output = block * kLanes;
  const int outputs = imin(B * kLanes, s.outputs - first_output);
  const int64_t image_pixel = (int64_t{image} * s.images.out_h + y0) * s.images.out_w;
  for (int p = first; p < last;) {
    const int row = p / length, column = p % length;
    const int end = imin(last, (row + 1) * length);
    const int count = imin(end, row * length + s.images.out_w) - p;
    if (count > 0) {
      finish(s, sums + (p - first) * B * kLanes, B * kLanes, image_pixel + int64_t{row} * s.images.out_w + column,
             count, first_output, outputs);
    }
    p = end;
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Part part = part_of(s.images, s.cut, s.all_blocks, chunk);
  auto* panel = static_cast<Bf16*>(scratch);
  fill_bf16_panel(s.source, s.panel, part.image, part.y0, s.panel.y.length - (s.cut.rows - part.rows), panel);
  const int pixels = (part.rows - 1) * s.panel.x.length + s.images.out_w;
  begin_tiles();
  for (int block = part.begin; block < part.end; block += 2) {
    for (int p = 0; p < pixels; p += 2 * kTilePixels) {
      const int last = imin(p + 2 * kTilePixels, pixels);
      const bool two = last - p > kTilePixels;
      if (part.end - block == 1) {
        two ? tile<2, 1>(s, panel, p, last, part.image, part.y0, block)
            : tile<1, 1>(s, panel, p, last, part.image, part.y0, block);
      } else {
        two ? tile<2, 2>(s, panel, p, last, part.image, part.y0, block)
            : tile<1, 2>(s, panel, p, last, part.image, part.y0, block);
      }
    }
  }
  end_tiles();
}

const Kernel kConv = {
    .name = "conv2d_bf16_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .copies_parameters = true,
};

}  // namespace

extern const Kernel* const kBf16Kernels[];
const Kernel* const kBf16Kernels[] = {&kConv, nullptr};

}  // namespace sparsenet::rt::SPARSENET_ISA
