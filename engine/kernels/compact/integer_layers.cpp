// The compact kernels of int8 for depthwise convolutions, pooling, sums and products, and for steps that only scale or
// move.
#include "kernels/compact/integer.h"

namespace sparsenet::rt::compact {
namespace {

struct State {
  ByteInput in;
  Bytes in2, out;
  const QuantParams* quant;
  const int8_t* weight;
  const int32_t* bias;
  Window window;
  int32_t in_h, in_w, out_h, out_w, channels;
  bool count_include_pad;
};

void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State) + byte_ranges_bytes(s.in);
  needs->chunks = s.out.n * s.out.h;
}

const char* prepare(const Step& s, const Place& place) {
  auto* state = static_cast<State*>(place.state);
  *state = {make_bytes(s, place.arena, reinterpret_cast<ByteRange*>(state + 1)),
            make_piece(s.in2, place.arena),
            make_piece(s.out, place.arena),
            s.quant,
            static_cast<const int8_t*>(s.conv.weight.data),
            static_cast<const int32_t*>(s.conv.bias.data),
            s.window,
            s.in.h,
            s.in.w,
            s.out.h,
            s.out.w,
            s.out.c,
            s.pool.count_include_pad};
  return nullptr;
}

int8_t* output_row(const State& s, int32_t chunk) {
  return s.out.base + int64_t{chunk} * s.out_w * s.out.pixel_stride;
}

// Calls f(channel, number) for all channels of a pixel, which are scaled already.
template <class F>
void for_each_byte(const ByteInput& in, int64_t pixel, F f) {
  int32_t channel = 0;
  for (const ByteRange *r = in.ranges, *end = r + in.count; r != end; ++r) {
    const int8_t* x = r->base + pixel * r->pixel_stride;
    const ChannelScale* s = r->scales;
    for (int32_t c = 0; c < r->channels; ++c, ++channel) {
      f(channel, s ? scaled_byte(x[c], s[c].multiplier, s[c].addend, s[c].shift) : x[c]);
    }
  }
}

// The part of a window that is within the image, from y0, x0 to before y1, x1.
struct Taps {
  int32_t y0, y1, x0, x1;
};

int32_t smaller(int32_t a, int32_t b) {
  return a < b ? a : b;
}
int32_t larger(int32_t a, int32_t b) {
  return a > b ? a : b;
}

// --- depthwise convolutions

bool depthwise_supports(const Step& s) {
  return s.op == StepOp::kConv && s.quant && !s.quant->channels && s.conv.groups == s.in.c && s.out.c == s.in.c &&
         s.in.c > 1 && s.in2.segment_count == 0 && is_one_piece(s.in) && is_one_piece(s.out) &&
         int64_t{s.window.kernel_h} * s.window.kernel_w <= 1 << 10;
}

// The sums of `count` channels, at most 4, over the taps that are within the image.
void sum_channels(const State& s, const int8_t* weight, const int8_t* first, int32_t y, int32_t x, int32_t count,
                  int32_t* sums) {
  const Window& w = s.window;
  const int32_t taps = w.kernel_h * w.kernel_w, zero = s.quant->in_zero;
  const ptrdiff_t stride = s.in.ranges[0].pixel_stride;
  for (int32_t ky = 0, row = y; ky < w.kernel_h; ++ky, row += w.dilation_h) {
    if (row < 0 || row >= s.in_h) continue;
    for (int32_t kx = 0, column = x; kx < w.kernel_w; ++kx, column += w.dilation_w) {
      if (column < 0 || column >= s.in_w) continue;
      const int8_t* from = first + (ptrdiff_t{row} * s.in_w + column) * stride;
      const int8_t* factor = weight + ky * w.kernel_w + kx;
#if defined(SPARSENET_ARM_DSP)
      if (count == 4) {
        uint32_t word;
        memcpy(&word, from, sizeof word);
        const uint32_t minus = (static_cast<uint32_t>(-zero) & 0xffff) * 0x10001u;
        uint32_t even, odd;
        asm("sxtab16 %0, %1, %2" : "=r"(even) : "r"(minus), "r"(word));
        asm("sxtab16 %0, %1, %2, ror #8" : "=r"(odd) : "r"(minus), "r"(word));
        asm("smlabb %0, %1, %2, %0" : "+r"(sums[0]) : "r"(even), "r"(int32_t{factor[0]}));
        asm("smlabb %0, %1, %2, %0" : "+r"(sums[1]) : "r"(odd), "r"(int32_t{factor[taps]}));
        asm("smlatb %0, %1, %2, %0" : "+r"(sums[2]) : "r"(even), "r"(int32_t{factor[2 * taps]}));
        asm("smlatb %0, %1, %2, %0" : "+r"(sums[3]) : "r"(odd), "r"(int32_t{factor[3 * taps]}));
        continue;
      }
#endif
      for (int32_t c = 0; c < count; ++c) sums[c] = wrapped_sum(sums[c], (from[c] - zero) * factor[c * taps]);
    }
  }
}

template <Rounding kRounding>
void depthwise_row(const State& s, int32_t chunk) {
  const QuantParams& q = *s.quant;
  const Window& w = s.window;
  const int32_t taps = w.kernel_h * w.kernel_w;
  const int64_t image = chunk / s.out_h;
  const int32_t y = chunk % s.out_h * w.stride_h - w.pad_top;
  const int8_t* in = s.in.ranges[0].base + image * s.in_h * s.in_w * s.in.ranges[0].pixel_stride;
  int8_t* out = output_row(s, chunk);
  for (int32_t ox = 0; ox < s.out_w; ++ox, out += s.out.pixel_stride) {
    for (int32_t c = 0; c < s.channels; c += 4) {
      const int32_t count = smaller(4, s.channels - c);
      int32_t sums[4] = {0, 0, 0, 0};
      sum_channels(s, s.weight + c * taps, in + c, y, ox * w.stride_w - w.pad_left, count, sums);
      for (int32_t i = 0; i < count; ++i) {
        const int32_t sum = wrapped_sum(sums[i], s.bias ? s.bias[c + i] : 0);
        // Its own magnitude is enough to know.
        const Multiplier& m = q.multipliers[c + i];
        const Factor f = make_factor<kRounding>(m, sum == INT32_MIN ? INT32_MAX : sum < 0 ? -sum : sum);
        const int32_t v = wrapped_sum(product<kRounding>(sum, f, m), q.out_zero);
        out[c + i] = static_cast<int8_t>(bounded_byte(v, q.low, q.high));
      }
    }
  }
}

void depthwise_run(const void* state, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(state);
  (s.quant->rounding == Rounding::kDouble ? depthwise_row<Rounding::kDouble> : depthwise_row<Rounding::kSingle>)(s,
                                                                                                                 chunk);
}

// --- pooling

template <bool kMax>
bool pool_supports(const Step& s) {
  return s.op == StepOp::kPool && s.quant && s.pool.max == kMax && is_one_piece(s.out);
}

void pool_query(const Step& s, KernelNeeds* needs) {
  query(s, needs);
  needs->scratch_bytes = static_cast<uint64_t>(s.out.c) * sizeof(int32_t);
}

template <bool kMax>
void pool_run(const void* state, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(state);
  const QuantParams& q = *s.quant;
  const Window& w = s.window;
  auto* numbers = static_cast<int32_t*>(scratch);
  const int64_t image = chunk / s.out_h;
  const int32_t top = chunk % s.out_h * w.stride_h - w.pad_top, bottom = top + w.kernel_h;
  int8_t* out = output_row(s, chunk);
  for (int32_t ox = 0; ox < s.out_w; ++ox, out += s.out.pixel_stride) {
    const int32_t left = ox * w.stride_w - w.pad_left, right = left + w.kernel_w;
    const Taps taps{larger(top, 0), smaller(bottom, s.in_h), larger(left, 0), smaller(right, s.in_w)};
    for (int32_t c = 0; c < s.channels; ++c) numbers[c] = kMax ? -128 : 0;
    for (int32_t y = taps.y0; y < taps.y1; ++y) {
      for (int32_t x = taps.x0; x < taps.x1; ++x) {
        const int64_t pixel = (image * s.in_h + y) * s.in_w + x;
        for_each_byte(s.in, pixel,
                      [&](int32_t c, int32_t v) { numbers[c] = kMax ? larger(numbers[c], v) : numbers[c] + v; });
      }
    }
    const int32_t inside = larger(taps.y1 - taps.y0, 0) * larger(taps.x1 - taps.x0, 0);
    int32_t count = inside, padding = 0;
    if (!kMax && s.count_include_pad) {
      count = (smaller(bottom, s.in_h + w.pad_bottom) - top) * (smaller(right, s.in_w + w.pad_right) - left);
      padding = (count - inside) * q.in_zero;
    }
    count = larger(count, 1);
    for (int32_t c = 0; c < s.channels; ++c) {
      int32_t v = numbers[c];
      if (!kMax) v = rounded_average(v + padding, count, q.rounding);
      out[c] = static_cast<int8_t>(bounded_byte(v, q.low, q.high));
    }
  }
}

bool global_pool_supports(const Step& s) {
  return s.op == StepOp::kGlobalPool && s.quant && is_one_piece(s.out);
}

void global_pool_query(const Step& s, KernelNeeds* needs) {
  pool_query(s, needs);
  needs->chunks = s.in.n;
}

void global_pool_run(const void* state, int32_t image, void* scratch) {
  const auto& s = *static_cast<const State*>(state);
  const QuantParams& q = *s.quant;
  auto* sums = static_cast<int32_t*>(scratch);
  const int32_t pixels = s.in_h * s.in_w, zeros = pixels * q.in_zero;
  for (int32_t c = 0; c < s.channels; ++c) sums[c] = -zeros;
  for (int32_t p = 0; p < pixels; ++p) {
    for_each_byte(s.in, int64_t{image} * pixels + p, [&](int32_t c, int32_t v) { sums[c] = wrapped_sum(sums[c], v); });
  }
  int8_t* out = s.out.base + int64_t{image} * s.out.pixel_stride;
  for (int32_t c = 0; c < s.channels; ++c) {
    const int32_t v = wrapped_sum(slow_product(sums[c], q.multipliers[0], q.rounding), q.out_zero);
    out[c] = static_cast<int8_t>(bounded_byte(v, q.low, q.high));
  }
}

// --- sums and products of operands of one shape

template <BinaryOp kOp>
bool is_binary(const Step& s) {
  return s.op == StepOp::kBinary && s.quant && !s.strided && s.binary.op == kOp && is_one_piece(s.in) &&
         is_one_piece(s.in2) && is_one_piece(s.out);
}

// Calls f(first operand, second, output) for every pixel of a row.
template <class F>
void for_each_pixel(const State& s, int32_t row, F f) {
  const ByteRange& in = s.in.ranges[0];
  const int64_t first = int64_t{row} * s.out_w;
  const int8_t *a = in.base + first * in.pixel_stride, *b = s.in2.base + first * s.in2.pixel_stride;
  int8_t* out = output_row(s, row);
  for (int32_t x = 0; x < s.out_w; ++x, a += in.pixel_stride, b += s.in2.pixel_stride, out += s.out.pixel_stride) {
    f(a, b, out);
  }
}

template <Rounding kRounding>
void add_row(const State& s, int32_t row) {
  const QuantParams& q = *s.quant;
  const int32_t left = q.left_shift;
  const Multiplier* const m = q.multipliers;
  const Factor first = make_factor<kRounding>(m[0], largest_of_operand(q)),
               second = make_factor<kRounding>(m[1], largest_of_operand(q)),
               last = make_factor<kRounding>(m[2], largest_of_sum(q));
  for_each_pixel(s, row, [&](const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t c = 0; c < s.channels; ++c) {
      const int32_t x = product<kRounding>(shifted_left(a[c] - q.in_zero, left), first, m[0]);
      const int32_t y = product<kRounding>(shifted_left(b[c] - q.in2_zero, left), second, m[1]);
      const int32_t v = product<kRounding>(wrapped_sum(x, y), last, m[2]);
      out[c] = static_cast<int8_t>(bounded_byte(wrapped_sum(v, q.out_zero), q.low, q.high));
    }
  });
}

void add_run(const void* state, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(state);
  (s.quant->rounding == Rounding::kDouble ? add_row<Rounding::kDouble> : add_row<Rounding::kSingle>)(s, chunk);
}

void multiply_run(const void* state, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(state);
  const QuantParams& q = *s.quant;
  for_each_pixel(s, chunk, [&](const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t c = 0; c < s.channels; ++c) {
      const int32_t v = slow_product((a[c] - q.in_zero) * (b[c] - q.in2_zero), q.multipliers[0], q.rounding);
      out[c] = static_cast<int8_t>(bounded_byte(wrapped_sum(v, q.out_zero), q.low, q.high));
    }
  });
}

// --- channel ranges brought side by side, with the scales of their channels

bool affine_supports(const Step& s) {
  return s.op == StepOp::kAffine && s.quant && !s.affine.scale && is_one_piece(s.out);
}

void affine_run(const void* state, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(state);
  int8_t* out = output_row(s, chunk);
  for (int32_t x = 0; x < s.out_w; ++x, out += s.out.pixel_stride) {
    for_each_byte(s.in, int64_t{chunk} * s.out_w + x, [&](int32_t c, int32_t v) { out[c] = static_cast<int8_t>(v); });
  }
}

constexpr Kernel kernel(const char* name, bool (*supports)(const Step&), void (*needs)(const Step&, KernelNeeds*),
                        void (*run)(const void*, int32_t, void*)) {
  return {
      .name = name,
      .backend = "portable",
      .supports = supports,
      .query = needs,
      .prepare = prepare,
      .run = run,
      .types = kInt8,
  };
}

}  // namespace

const Kernel kIntegerDepthwise = kernel("conv2d_depthwise_s8_compact", depthwise_supports, query, depthwise_run);
const Kernel kIntegerMaxPool = kernel("max_pool_s8_compact", pool_supports<true>, pool_query, pool_run<true>);
const Kernel kIntegerAveragePool = kernel("average_pool_s8_compact", pool_supports<false>, pool_query, pool_run<false>);
const Kernel kIntegerGlobalPool =
    kernel("global_pool_s8_compact", global_pool_supports, global_pool_query, global_pool_run);
const Kernel kIntegerAdd = kernel("add_s8_compact", is_binary<BinaryOp::kAdd>, query, add_run);
const Kernel kIntegerMul = kernel("mul_s8_compact", is_binary<BinaryOp::kMul>, query, multiply_run);
const Kernel kIntegerAffine = kernel("copy_s8_compact", affine_supports, query, affine_run);

}  // namespace sparsenet::rt::compact
