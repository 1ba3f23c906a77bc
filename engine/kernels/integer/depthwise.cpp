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
         s.in.type == DataType::kInt8 && int64_t{s.out.n} * s.out.h < 65000;
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

template <Rounding kRounding>
void run_row(const State& s, int64_t image, int oy) {
  const Window& w = s.window;
  const int y0 = oy * w.stride_h - w.pad_top;
  const TapRange rows = taps_inside(y0, s.in_h, w.kernel_h, w.dilation_h);
  const int8_t* in = s.in + image * s.in_h * s.in_w * s.in_stride;
  int8_t* out = s.out + (image * s.out_h + oy) * s.out_w * s.out_stride;
  for (int c = 0; c < s.channels; c += kLanes) {
    const int lanes = imin(kLanes, s.channels - c);
    const RequantizeVector r = load_requantize(s.requantize, c);
    const VI zero = splat_vi(s.zero);
    for (int ox = 0; ox < s.out_w; ++ox) {
      const int x0 = ox * w.stride_w - w.pad_left;
      const TapRange columns = taps_inside(x0, s.in_w, w.kernel_w, w.dilation_w);
      VI sum{};
      for (int ky = rows.begin; ky < rows.end; ++ky) {
        const int8_t* row = in + (ptrdiff_t{y0 + ky * w.dilation_h} * s.in_w + x0) * s.in_stride + c;
        const int32_t* weights = s.weights + ptrdiff_t{ky} * w.kernel_w * s.padded + c;
        for (int kx = columns.begin; kx < columns.end; ++kx) {
          const VI x = load_bytes(row + ptrdiff_t{kx} * w.dilation_w * s.in_stride, lanes);
          sum += small_product(x, load_small(weights + kx * s.padded));
        }
      }
      // What is outside of the image is the zero point.
      const bool inside = rows.end - rows.begin == w.kernel_h && columns.end - columns.begin == w.kernel_w;
      if (!inside) {
        for (int t = 0; t < w.kernel_h * w.kernel_w; ++t) {
          const int ky = t / w.kernel_w, kx = t % w.kernel_w;
          if (ky >= rows.begin && ky < rows.end && kx >= columns.begin && kx < columns.end) continue;
          sum += small_product(zero, load_small(s.weights + ptrdiff_t{t} * s.padded + c));
        }
      }
      store_bytes(out + ox * s.out_stride + c, requantized<kRounding>(sum, r), lanes);
    }
  }
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t image = chunk / s.out_h;
  const int oy = chunk % s.out_h;
  s.requantize.rounding == Rounding::kDouble ? run_row<Rounding::kDouble>(s, image, oy)
                                             : run_row<Rounding::kSingle>(s, image, oy);
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
