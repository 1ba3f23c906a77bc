// Depthwise convolutions of int8: every channel with a filter of its own. Lanes are channels; the image is read in
// place.
#include "kernels/integer/integer.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  const int8_t* in;
  int8_t* out;
  ptrdiff_t in_stride, out_stride;
  int32_t in_h, in_w, out_h, out_w, channels, padded, zero;
  Window window;
  const int32_t* weights;  // [tap][padded channels]
  Requantize requantize;   // for sums of integers whose zero point is still to be taken off
};

int taps_of(const Step& s) {
  return s.window.kernel_h * s.window.kernel_w;
}

bool supports(const Step& s) {
  return s.op == StepOp::kConv && s.quant && !s.quant->channels && s.conv.groups == s.in.c && s.out.c == s.in.c &&
         s.in.c > 1 && s.in2.segment_count == 0 && s.out.segment_count == 1 && reads_in_place(s) &&
         s.in.type == DataType::kInt8 && int64_t{s.out.n} * s.out.h < 65000 &&
         int64_t{taps_of(s)} * padded_outputs(s.out.c) < (1 << 24);
}

void query(const Step& s, KernelNeeds* needs) {
  const auto padded = static_cast<uint64_t>(padded_outputs(s.out.c));
  needs->state_bytes = sizeof(State);
  needs->weight_bytes = (static_cast<uint64_t>(taps_of(s)) + 3) * padded * sizeof(int32_t);
  needs->chunks = s.out.n * s.out.h;
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const int taps = taps_of(step), padded = padded_outputs(step.out.c);
  auto* weights = reinterpret_cast<int32_t*>(place.weights);
  int32_t* numbers = weights + ptrdiff_t{taps} * padded;
  const auto* from = static_cast<const int8_t*>(step.conv.weight.data);
  for (int c = 0; c < step.out.c; ++c) {
    for (int t = 0; t < taps; ++t) {
      weights[t * padded + c] = from[c * taps + t];
      numbers[c] += from[c * taps + t];
    }
  }
  *s = {byte_pointer(step.in, place.arena),
        byte_pointer(step.out, place.arena),
        step.in.segments[0].pixel_stride,
        step.out.segments[0].pixel_stride,
        step.in.h,
        step.in.w,
        step.out.h,
        step.out.w,
        step.out.c,
        padded,
        step.quant->in_zero,
        step.window,
        weights,
        make_requantize(step, numbers, step.quant->in_zero)};
  return nullptr;
}

// x * w for numbers of 16 bits.
SPARSENET_INLINE VI small_product(VI x, VI w) {
#if defined(__AVX512BW__)
  return reinterpret_cast<VI>(_mm512_madd_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
#elif defined(__AVX2__)
  return reinterpret_cast<VI>(_mm256_madd_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w)));
#else
  return x * w;
#endif
}

// Weights as small_product() wants them: their upper halves are not to count.
SPARSENET_INLINE VI load_small(const int32_t* w) {
#if defined(__AVX2__)
  return load_vi(w) & 0xffff;
#else
  return load_vi(w);
#endif
}

// Lanes from channel `c` on, of one row of an image.
struct Lanes {
  const int8_t* in;  // channel c of the image's first pixel
  int8_t* out;       // channel c of the row's first pixel
  int32_t c, lanes, y0;
  TapRange rows;
};

// One output pixel, any part of whose window may lie outside of the image.
template <Form kForm>
void border_pixel(const State& s, const Lanes& l, const RequantizeVector& r, int ox) {
  const Window& w = s.window;
  const int x0 = ox * w.stride_w - w.pad_left;
  const TapRange columns = taps_inside(x0, s.in_w, w.kernel_w, w.dilation_w);
  const VI zero = splat_vi(s.zero);
  VI sum = load_vi(s.requantize.bias + l.c);
  for (int ky = 0; ky < w.kernel_h; ++ky) {
    const int8_t* row = l.in + (ptrdiff_t{l.y0 + ky * w.dilation_h} * s.in_w + x0) * s.in_stride;
    const int32_t* weights = s.weights + ptrdiff_t{ky} * w.kernel_w * s.padded + l.c;
    const bool row_inside = ky >= l.rows.begin && ky < l.rows.end;
    for (int kx = 0; kx < w.kernel_w; ++kx) {
      // What is outside of the image is the zero point.
      const bool inside = row_inside && kx >= columns.begin && kx < columns.end;
      const VI x = inside ? load_bytes(row + ptrdiff_t{kx} * w.dilation_w * s.in_stride, l.lanes) : zero;
      sum += small_product(x, load_small(weights + kx * s.padded));
    }
  }
  store_bytes(l.out + ox * s.out_stride, requantized<kForm>(sum, r), l.lanes);
}

// P neighbouring output pixels whose windows lie within the image's columns. kWhole: all lanes are channels.
template <Form kForm, int P, bool kWhole>
SPARSENET_INLINE void inner_pixels(const State& s, const Lanes& l, const RequantizeVector& r, const VI& outside,
                                   int ox) {
  const Window& w = s.window;
  const int lanes = kWhole ? kLanes : l.lanes;
  const ptrdiff_t step = w.stride_w * s.in_stride;
  VI sum[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) sum[p] = outside;
  for (int ky = l.rows.begin; ky < l.rows.end; ++ky) {
    const int8_t* x =
        l.in + (ptrdiff_t{l.y0 + ky * w.dilation_h} * s.in_w + ox * w.stride_w - w.pad_left) * s.in_stride;
    const int32_t* weights = s.weights + ptrdiff_t{ky} * w.kernel_w * s.padded + l.c;
    for (int kx = 0; kx < w.kernel_w; ++kx, x += w.dilation_w * s.in_stride, weights += s.padded) {
      const VI wv = load_small(weights);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        sum[p] += small_product(kWhole ? load_whole_bytes(x + p * step) : load_bytes(x + p * step, lanes), wv);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) store_bytes(l.out + (ox + p) * s.out_stride, requantized<kForm>(sum[p], r), lanes);
}

template <Form kForm, bool kWhole>
void inner_row(const State& s, const Lanes& l, const RequantizeVector& r, int begin, int end) {
  VI outside = load_vi(s.requantize.bias + l.c);  // and the rows that are not in the image
  for (int ky = 0; ky < s.window.kernel_h; ++ky) {
    if (ky >= l.rows.begin && ky < l.rows.end) continue;
    for (int kx = 0; kx < s.window.kernel_w; ++kx) {
      const int32_t* weights = s.weights + (ptrdiff_t{ky} * s.window.kernel_w + kx) * s.padded + l.c;
      outside += small_product(splat_vi(s.zero), load_small(weights));
    }
  }
  int ox = begin;
  for (; ox + 4 <= end; ox += 4) inner_pixels<kForm, 4, kWhole>(s, l, r, outside, ox);
  for (; ox < end; ++ox) inner_pixels<kForm, 1, kWhole>(s, l, r, outside, ox);
}

template <Form kForm>
void run_row(const State& s, int64_t image, int oy) {
  const Window& w = s.window;
  const int y0 = oy * w.stride_h - w.pad_top;
  const TapRange rows = taps_inside(y0, s.in_h, w.kernel_h, w.dilation_h);
  // Outputs from `begin` to `end` read only columns of the image.
  const int reach = (w.kernel_w - 1) * w.dilation_w;
  const int begin = imin(ceil_div(w.pad_left, w.stride_w), s.out_w);
  const int last = s.in_w - 1 - reach + w.pad_left;  // the last column at which a window may begin, from the padding on
  const int end = imax(begin, last < 0 ? 0 : imin(last / w.stride_w + 1, s.out_w));
  for (int c = 0; c < s.channels; c += kLanes) {
    const Lanes l{s.in + image * s.in_h * s.in_w * s.in_stride + c,
                  s.out + (image * s.out_h + oy) * s.out_w * s.out_stride + c,
                  c,
                  imin(kLanes, s.channels - c),
                  y0,
                  rows};
    const RequantizeVector r = load_requantize<kForm>(s.requantize, c);
    for (int ox = 0; ox < begin; ++ox) border_pixel<kForm>(s, l, r, ox);
    l.lanes == kLanes ? inner_row<kForm, true>(s, l, r, begin, end) : inner_row<kForm, false>(s, l, r, begin, end);
    for (int ox = end; ox < s.out_w; ++ox) border_pixel<kForm>(s, l, r, ox);
  }
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t image = chunk / s.out_h;
  const int oy = chunk % s.out_h;
  by_form(s.requantize, [&](auto form) { run_row<decltype(form)::value>(s, image, oy); });
}

}  // namespace

const Kernel kIntegerDepthwise = {
    .name = "conv2d_depthwise_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .types = kInt8,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
