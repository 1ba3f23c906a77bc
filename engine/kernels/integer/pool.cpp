// Pooling of int8, also with a scale per channel in front. Lanes are channels; the image is read in place.
#include "kernels/integer/integer.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  const ByteRange* ranges;
  int32_t range_count;
  ChannelScales scales;
  int8_t* out;
  ptrdiff_t out_stride;
  int32_t in_h, in_w, out_h, out_w, channels;
  Window window;
  bool max, count_padding;
  int32_t zero, out_zero, low, high;
  Multiplier multiplier;  // of the mean of an image
  Rounding rounding;
};

bool pools_bytes(const Step& s) {
  return s.quant && s.out.segment_count == 1 && s.in.type == DataType::kInt8;
}

// Quotients by a window of fewer pixels are exact in float32.
bool pool_supports(const Step& s) {
  return s.op == StepOp::kPool && pools_bytes(s) && int64_t{s.window.kernel_h} * s.window.kernel_w < (1 << 16) &&
         int64_t{s.out.n} * s.out.h < 65000;
}

bool global_supports(const Step& s) {
  return s.op == StepOp::kGlobalPool && pools_bytes(s) && int64_t{s.in.h} * s.in.w < (1 << 22) && s.out.n < 65000;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + static_cast<size_t>(s.in.segment_count) * sizeof(ByteRange);
  if (s.quant->channels) needs->weight_bytes = scales_bytes(s.in.c);
  needs->chunks = s.op == StepOp::kPool ? s.out.n * s.out.h : s.out.n;
}

const char* prepare(const Step& step, const Place& place) {
  const QuantParams& q = *step.quant;
  auto* ranges = reinterpret_cast<ByteRange*>(static_cast<State*>(place.state) + 1);
  for (int32_t i = 0; i < step.in.segment_count; ++i) ranges[i] = byte_range(step.in.segments[i], place.arena);
  *static_cast<State*>(place.state) = {ranges,
                                       step.in.segment_count,
                                       make_scales(q.channels, step.in.c, reinterpret_cast<int32_t*>(place.weights)),
                                       byte_pointer(step.out, place.arena),
                                       step.out.segments[0].pixel_stride,
                                       step.in.h,
                                       step.in.w,
                                       step.out.h,
                                       step.out.w,
                                       step.out.c,
                                       step.window,
                                       step.pool.max,
                                       step.pool.count_include_pad,
                                       q.in_zero,
                                       q.out_zero,
                                       q.low,
                                       q.high,
                                       q.multipliers ? q.multipliers[0] : Multiplier{},
                                       q.rounding};
  return nullptr;
}

// Channels of all pixels from one pixel on.
struct ByteChannels {
  const int8_t* base;
  ptrdiff_t stride;
  int32_t channel, lanes;  // the first one among all, and how many
};

// As many bytes as a vector of integers has.
constexpr int kWide = 4 * kLanes;
typedef int8_t Wide __attribute__((vector_size(kWide)));
typedef int8_t WideUnaligned __attribute__((vector_size(kWide), aligned(1), may_alias));

// Calls f(channels) for all channels, a vector at a time; without those of whole groups of kWide if `wide_done`.
template <class F>
SPARSENET_INLINE void for_each_channels(const State& s, int64_t pixel, bool wide_done, F f) {
  int32_t first = 0;
  for (int32_t i = 0; i < s.range_count; first += s.ranges[i].channels, ++i) {
    const ByteRange& r = s.ranges[i];
    for (int32_t c = wide_done ? r.channels / kWide * kWide : 0; c < r.channels; c += kLanes) {
      f(ByteChannels{r.base + pixel * r.pixel_stride + c, r.pixel_stride, first + c, imin(kLanes, r.channels - c)});
    }
  }
}

// The scales of a vector of channels. They are read before a loop, because bytes that it writes could be theirs for all
// that the compiler knows.
template <bool kScaled>
struct Scaled {
  VI multiplier, addend, shift;

  SPARSENET_INLINE Scaled(const ChannelScales& s, int channel) {
    if constexpr (kScaled) {
      multiplier = load_vi(s.multiplier + channel);
      addend = load_vi(s.addend + channel);
      shift = load_vi(s.shift + channel);
    }
  }
  SPARSENET_INLINE VI load(const int8_t* x, int lanes) const {
    const VI v = load_bytes(x, lanes);
    if constexpr (!kScaled) return v;
    return min_vi(max_vi((v * multiplier + addend) >> shift, splat_vi(-128)), splat_vi(127));
  }
};

// sum / count, rounded down, of a sum that is not negative.
SPARSENET_INLINE VI quotient(VI sum, int count) {
  if ((count & (count - 1)) == 0) return sum >> __builtin_ctz(static_cast<unsigned>(count));
  return __builtin_convertvector(__builtin_convertvector(sum, V) / static_cast<float>(count), VI);
}

// Halves away from zero, or up.
SPARSENET_INLINE VI average(VI sum, int count, Rounding rounding) {
  if (rounding == Rounding::kSingle) return quotient(sum + (128 * count + count / 2), count) - 128;
  const VI whole = quotient((sum < 0 ? -sum : sum) + count / 2, count);
  return sum < 0 ? -whole : whole;
}

// How many pixels along one dimension a window has with its padding.
int padded_taps(int first, int size, int pad_behind, int kernel) {
  return imin(kernel, size + pad_behind - first);
}

// The largest of kWide bytes of all pixels of a window, for all pixels of a row of outputs.
SPARSENET_INLINE void max_row(const State& s, const int8_t* base, ptrdiff_t stride, const TapRange& rows, int8_t* y) {
  const Window& w = s.window;
  const Wide low = Wide{} + static_cast<int8_t>(s.low), high = Wide{} + static_cast<int8_t>(s.high);
  for (int ox = 0; ox < s.out_w; ++ox, y += s.out_stride) {
    const int x0 = ox * w.stride_w - w.pad_left;
    const TapRange columns = taps_inside(x0, s.in_w, w.kernel_w, 1);
    Wide v = low;  // which is what nothing else would become
    for (int ky = rows.begin; ky < rows.end; ++ky) {
      const int8_t* x = base + (ptrdiff_t{ky} * s.in_w + x0) * stride;
      for (int kx = columns.begin; kx < columns.end; ++kx) {
        const Wide at = *reinterpret_cast<const WideUnaligned*>(x + kx * stride);
        v = v > at ? v : at;
      }
    }
    *reinterpret_cast<WideUnaligned*>(y) = v < high ? v : high;
  }
}

template <bool kScaled>
void pool_row(const State& s, int64_t image, int oy) {
  const Window& w = s.window;
  const int y0 = oy * w.stride_h - w.pad_top;
  const TapRange rows = taps_inside(y0, s.in_h, w.kernel_h, 1);
  const int padded_rows = padded_taps(y0, s.in_h, w.pad_bottom, w.kernel_h);
  int8_t* out = s.out + (image * s.out_h + oy) * s.out_w * s.out_stride;
  const VI low = splat_vi(s.low), high = splat_vi(s.high);
  const int64_t first_pixel = (image * s.in_h + y0) * s.in_w;
  const bool wide = s.max && !kScaled;
  for (int32_t i = 0, first = 0; wide && i < s.range_count; first += s.ranges[i].channels, ++i) {
    const ByteRange& r = s.ranges[i];
    for (int32_t c = 0; c + kWide <= r.channels; c += kWide) {
      max_row(s, r.base + first_pixel * r.pixel_stride + c, r.pixel_stride, rows, out + first + c);
    }
  }
  for_each_channels(s, first_pixel, wide, [&](const ByteChannels& from) {
    const Scaled<kScaled> scaled(s.scales, from.channel);
    int8_t* y = out + from.channel;
    for (int ox = 0; ox < s.out_w; ++ox, y += s.out_stride) {
      const int x0 = ox * w.stride_w - w.pad_left;
      const TapRange columns = taps_inside(x0, s.in_w, w.kernel_w, 1);
      const int inside = (rows.end - rows.begin) * (columns.end - columns.begin);
      const int all = padded_rows * padded_taps(x0, s.in_w, w.pad_right, w.kernel_w);
      VI v = s.max ? splat_vi(-128) : splat_vi(s.count_padding ? (all - inside) * s.zero : 0);
      for (int ky = rows.begin; ky < rows.end; ++ky) {
        const int8_t* x = from.base + (ptrdiff_t{ky} * s.in_w + x0) * from.stride;
        for (int kx = columns.begin; kx < columns.end; ++kx) {
          const VI at = scaled.load(x + kx * from.stride, from.lanes);
          v = s.max ? max_vi(v, at) : v + at;
        }
      }
      if (!s.max) v = average(v, imax(1, s.count_padding ? all : inside), s.rounding);
      store_bytes(y, min_vi(max_vi(v, low), high), from.lanes);
    }
  });
}

void pool_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t image = chunk / s.out_h;
  s.scales.multiplier ? pool_row<true>(s, image, chunk % s.out_h) : pool_row<false>(s, image, chunk % s.out_h);
}

template <bool kScaled>
void global_image(const State& s, int32_t image) {
  const int64_t pixels = int64_t{s.in_h} * s.in_w;
  const Factor factor = factor_of(s.multiplier);
  for_each_channels(s, image * pixels, false, [&](const ByteChannels& from) {
    const Scaled<kScaled> scaled(s.scales, from.channel);
    const int8_t* x = from.base;
    VI sum{};
    for (int64_t p = 0; p < pixels; ++p, x += from.stride) sum += scaled.load(x, from.lanes);
    sum -= static_cast<int32_t>(pixels) * s.zero;
    const VI v = by(sum, factor, s.rounding) + s.out_zero;
    store_bytes(s.out + image * s.out_stride + from.channel, min_vi(max_vi(v, splat_vi(s.low)), splat_vi(s.high)),
                from.lanes);
  });
}

void global_run(const void* memory, int32_t image, void*) {
  const auto& s = *static_cast<const State*>(memory);
  s.scales.multiplier ? global_image<true>(s, image) : global_image<false>(s, image);
}

constexpr Kernel kernel(const char* name, bool (*supports)(const Step&), void (*run)(const void*, int32_t, void*)) {
  return {
      .name = name,
      .backend = "portable",
      .supports = supports,
      .query = query,
      .prepare = prepare,
      .run = run,
      .types = kInt8,
  };
}

}  // namespace

const Kernel kIntegerPool = kernel("pool2d_s8_" SPARSENET_ISA_NAME, pool_supports, pool_run);
const Kernel kIntegerGlobalPool = kernel("global_pool_s8_" SPARSENET_ISA_NAME, global_supports, global_run);

}  // namespace sparsenet::rt::SPARSENET_ISA
