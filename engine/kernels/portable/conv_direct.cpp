// Convolution of any kernel, stride, dilation, padding and number of groups. A chunk is a band of output rows of one
// image: the input rows it needs are gathered into scratch with their padding (and the affine in front), so the inner
// loops need not deal with borders.
#include "kernels/portable/band.h"
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  Source source;
  GemmShape shape;
  Epilogue epilogue;
  Act act;
  Parameters parameters;
  float* weights;
  float* out;
  const float* residual;
  ptrdiff_t group_weights;  // floats of one group's packed weights
  ptrdiff_t group_bias;     // floats of one group's padded bias
  int32_t groups, group_in, group_out;
  int32_t h, w, c, oh, ow, band_rows, bands;
  int32_t stride_h, stride_w, dilation_h, dilation_w, kernel_h, kernel_w, pad_top, pad_left, band_width;
};

int band_rows(const Step& s) {
  // Around 64 pixels per band, an even number of rows, and at least four bands per image if possible. Of images too
  // wide for that, four rows: neighbouring bands each gather the rows that both of them read.
  const int rows = s.out.w <= 32 ? 64 / s.out.w / 2 * 2 : 4;
  return imin(rows, imax(s.out.h / 4, 1));
}

int64_t bands(const Step& s) {
  return int64_t{s.out.n} * ceil_div(s.out.h, band_rows(s));
}

bool supports(const Step& s) {
  return s.op == StepOp::kConv && s.out.segment_count == 1 && s.in2.segment_count <= 1 && bands(s) < 65000;
}

int64_t group_weights(const Step& s) {
  return packed_elements(s.out.c / s.conv.groups, s.in.c / s.conv.groups, s.window.kernel_h * s.window.kernel_w);
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes =
      static_cast<uint64_t>(s.conv.groups * (group_weights(s) + packed_elements(s.out.c / s.conv.groups, 1, 1))) * 4;
  needs->scratch_bytes = static_cast<uint64_t>(band_input_rows(s, band_rows(s))) *
                         static_cast<uint64_t>(band_input_width(s, s.out.w)) * static_cast<uint64_t>(s.in.c) * 4;
  needs->chunks = static_cast<int32_t>(bands(s));
}

void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  float* bias = s.weights + s.groups * s.group_weights;
  for (int g = 0; g < s.groups; ++g) {
    pack_weights(s.parameters, g, s.weights + g * s.group_weights, part, parts);
    if (part == 0) pack_bias(s.parameters, g, bias + g * s.group_bias);
  }
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->groups = step.conv.groups;
  s->group_in = step.in.c / step.conv.groups;
  s->group_out = step.out.c / step.conv.groups;
  s->group_weights = static_cast<ptrdiff_t>(group_weights(step));
  s->group_bias = static_cast<ptrdiff_t>(packed_elements(s->group_out, 1, 1));
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  refresh(s, 0, 1);
  s->act = step.act;
  s->epilogue = epilogue_of(place.weights + s->groups * s->group_weights, step.act);
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  s->h = step.in.h;
  s->w = step.in.w;
  s->c = step.in.c;
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->band_rows = band_rows(step);
  s->bands = ceil_div(s->oh, s->band_rows);
  s->band_width = band_input_width(step, step.out.w);
  s->stride_h = step.window.stride_h;
  s->stride_w = step.window.stride_w;
  s->dilation_h = step.window.dilation_h;
  s->dilation_w = step.window.dilation_w;
  s->kernel_h = step.window.kernel_h;
  s->kernel_w = step.window.kernel_w;
  s->pad_top = step.window.pad_top;
  s->pad_left = step.window.pad_left;
  GemmShape& g = s->shape;
  g.pixel_stride = ptrdiff_t{s->stride_w} * s->c;
  g.row_stride = ptrdiff_t{s->stride_h} * s->band_width * s->c;
  g.out_pixel_stride = step.out.segments[0].pixel_stride;
  g.out_row_stride = s->ow * g.out_pixel_stride;
  g.residual_pixel_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  g.residual_row_stride = s->ow * g.residual_pixel_stride;
  g.outputs = s->group_out;
  // The operand of a pixel is one piece per kernel row, in which taps and channels lie side by side. (run_taps does not
  // use these members.)
  g.runs = step.window.kernel_h;
  g.run_stride = ptrdiff_t{s->dilation_h} * s->band_width * s->c;
  g.run_length = step.window.kernel_w * s->c;
  return nullptr;
}

// For convolutions that are grouped, or dilated along a row: the pieces of a pixel's operand do not lie at one fixed
// stride, so the taps are taken one by one.
void run_taps(const State& s, const float* band, int rows, float* y, const float* residual) {
  constexpr int kPixels = 4;
  const int taps = s.kernel_h * s.kernel_w;
  const int blocks = ceil_div(s.group_out, kLanes);
  const V low = splat(s.epilogue.low), high = splat(s.epilogue.high);
  for (int g = 0; g < s.groups; ++g) {
    const float* wg = s.weights + g * s.group_weights;
    for (int r = 0; r < rows; ++r) {
      for (int x0 = 0; x0 < s.ow; x0 += kPixels) {
        const int count = imin(kPixels, s.ow - x0);
        for (int b = 0; b < blocks; ++b) {
          V acc[kPixels];
          for (int p = 0; p < kPixels; ++p) acc[p] = load(s.epilogue.bias + g * s.group_bias + b * kLanes);
          const float* w = wg + ptrdiff_t{b} * taps * s.group_in * kLanes;
          for (int ky = 0; ky < s.kernel_h; ++ky) {
            for (int kx = 0; kx < s.kernel_w; ++kx) {
              const float* in =
                  band +
                  (ptrdiff_t{r * s.stride_h + ky * s.dilation_h} * s.band_width + x0 * s.stride_w + kx * s.dilation_w) *
                      s.c +
                  g * s.group_in;
              for (int c = 0; c < s.group_in; ++c, w += kLanes) {
                const V wv = load(w);
                for (int p = 0; p < kPixels; ++p) {
                  // Past the row's end the last pixel is computed again and not stored.
                  acc[p] += in[imin(p, count - 1) * s.shape.pixel_stride + c] * wv;
                }
              }
            }
          }
          const int lanes = imin(kLanes, s.group_out - b * kLanes);
          for (int p = 0; p < count; ++p) {
            const ptrdiff_t o = ptrdiff_t{g} * s.group_out + b * kLanes;
            V v = acc[p];
            if (residual) {
              v += load_first(residual + r * s.shape.residual_row_stride + (x0 + p) * s.shape.residual_pixel_stride + o,
                              lanes);
            }
            v = bounded(v, low, high);
            store_first(y + r * s.shape.out_row_stride + (x0 + p) * s.shape.out_pixel_stride + o, v, lanes);
          }
        }
      }
    }
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const int image = chunk / s.bands;
  const int oy = chunk % s.bands * s.band_rows;
  const int rows = imin(s.band_rows, s.oh - oy);
  auto* band = static_cast<float*>(scratch);
  const BandShape shape{s.h, s.w, s.c, s.pad_left, s.band_width};
  fill_band(s.source, shape, image, oy * s.stride_h - s.pad_top,
            (rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1, band);
  const ptrdiff_t row = ptrdiff_t{image} * s.oh + oy;
  float* y = s.out + row * s.shape.out_row_stride;
  const float* residual = s.residual ? s.residual + row * s.shape.residual_row_stride : nullptr;
  if (s.groups == 1 && s.dilation_w == 1) {
    gemm_all(s.shape, band, s.weights, s.epilogue, y, residual, rows, s.ow);
  } else {
    run_taps(s, band, rows, y, residual);
  }
  activate_rows(s.act, y, s.shape.out_row_stride, s.shape.out_pixel_stride, rows, s.ow, s.groups * s.group_out);
}

}  // namespace

const Kernel kConvDirect = {
    .name = "conv2d_direct_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
