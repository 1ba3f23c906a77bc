// Convolutions and fully connected layers of int8 with weights in the order in which the model stores them,
// [out][in][kh][kw].
//
// Four pixels of an output row are computed at a time (of a layer with one output pixel, this one): the windows that
// they read are gathered into scratch once, with zero point and padding, and every output's weights run through them
// once (integer_tile.h). Inputs of several channel ranges, or with scales of channels, are first copied into a ring of
// input rows, so that each number is scaled once.
#include "kernels/compact/integer_tile.h"

namespace sparsenet::rt::compact {
namespace {

constexpr int32_t kPixels = 4, kBandRows = 16;

struct State {
  ByteInput in;
  Bytes out, residual;
  const int8_t* weight;
  const int32_t* bias;
  const QuantParams* quant;
  int32_t in_h, in_w, out_h, out_w, outputs, band_rows;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t count;      // weights of an output
  int32_t ring_rows;  // 0: the input is read in place
  int32_t largest;    // no sum has a larger magnitude
};

bool is_single(const Step& s) {
  return s.out.h == 1 && s.out.w == 1;
}

int32_t count_of(const Step& s) {
  return s.in.c * s.window.kernel_h * s.window.kernel_w;
}

// Whether sizes fit into 32 bits with room to spare. No real network goes beyond; if one does, it gets the plain
// kernel.
bool is_modest(const Step& s) {
  constexpr int32_t kMost = 1 << 10;
  const Window& w = s.window;
  return w.stride_w <= kMost && w.stride_h <= kMost && w.dilation_w <= kMost && w.dilation_h <= kMost &&
         w.kernel_w <= kMost && w.kernel_h <= kMost && int64_t{s.in.c} * w.kernel_h * w.kernel_w <= 1 << 24 &&
         int64_t{s.in.c} * s.in.w * ((w.kernel_h - 1) * w.dilation_h + 1) <= 1 << 28;
}

bool supports(const Step& s) {
  return s.op == StepOp::kConv && s.quant && s.conv.groups == 1 && is_modest(s) && is_one_piece(s.out) &&
         (s.in2.segment_count == 0 || is_one_piece(s.in2));
}

int32_t ring_rows_of(const Step& s) {
  if (s.in.segment_count == 1 && !s.quant->channels) return 0;
  return (s.window.kernel_h - 1) * s.window.dilation_h + 1;
}

constexpr uint64_t aligned(uint64_t bytes) {
  return (bytes + 7) / 8 * 8;
}

uint64_t patch_bytes(const Step& s) {
  const int64_t numbers = is_single(s) ? patch_numbers<1>(count_of(s)) : patch_numbers<kPixels>(count_of(s));
  return aligned(static_cast<uint64_t>(numbers) * sizeof(PatchNumber));
}

// Scratch: the patch, the pointers to rows, a window that reaches beyond the image, the ring.
void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State) + byte_ranges_bytes(s.in);
  needs->scratch_bytes =
      patch_bytes(s) + aligned(static_cast<uint64_t>(s.window.kernel_h) * 2 * sizeof(int8_t*)) +
      aligned(static_cast<uint64_t>(count_of(s))) +
      static_cast<uint64_t>(ring_rows_of(s)) * static_cast<uint64_t>(s.in.w) * static_cast<uint64_t>(s.in.c);
  needs->chunks = s.out.n * ((s.out.h + kBandRows - 1) / kBandRows);
}

// Of any sum: every product is of at most 255 and 128 steps.
int32_t largest_sum(const Step& s) {
  int64_t largest = int64_t{count_of(s)} * 255 * 128, most_bias = 0;
  const auto* bias = static_cast<const int32_t*>(s.conv.bias.data);
  for (int32_t o = 0; bias && o < s.out.c; ++o) {
    const int64_t size = bias[o] < 0 ? -int64_t{bias[o]} : bias[o];
    most_bias = size > most_bias ? size : most_bias;
  }
  largest += most_bias;
  return largest < INT32_MAX ? static_cast<int32_t>(largest) : INT32_MAX;
}

const char* prepare(const Step& s, const Place& place) {
  auto* state = static_cast<State*>(place.state);
  auto* ranges = reinterpret_cast<ByteRange*>(state + 1);
  *state = {make_bytes(s, place.arena, ranges),
            make_piece(s.out, place.arena),
            make_piece(s.in2, place.arena),
            static_cast<const int8_t*>(s.conv.weight.data),
            static_cast<const int32_t*>(s.conv.bias.data),
            s.quant,
            s.in.h,
            s.in.w,
            s.out.h,
            s.out.w,
            s.out.c,
            kBandRows,
            s.window.kernel_h,
            s.window.kernel_w,
            s.window.stride_h,
            s.window.stride_w,
            s.window.dilation_h,
            s.window.dilation_w,
            s.window.pad_top,
            s.window.pad_left,
            count_of(s),
            ring_rows_of(s),
            largest_sum(s)};
  return nullptr;
}

// The parts of the scratch, and which input rows the ring holds.
struct Work {
  PatchNumber* patch;
  const int8_t** rows;    // of the window at an output row; null where a row is in the padding
  const int8_t** window;  // of the buffer below
  int8_t* buffer;         // [kh][kw][channels]
  int8_t* ring;
  int32_t next;  // the first input row that is not in the ring yet
};

// Copies one row of an image, with the scales of its channels.
void copy_row(const State& s, int64_t pixel, int8_t* to) {
  const int32_t channels = s.in.channels;
  for (const ByteRange *r = s.in.ranges, *end = r + s.in.count; r != end; to += r->channels, ++r) {
    const int8_t* x = r->base + pixel * r->pixel_stride;
    int8_t* y = to;
    if (!r->scales) {
      for (int32_t i = 0; i < s.in_w; ++i, x += r->pixel_stride, y += channels) {
        memcpy(y, x, static_cast<size_t>(r->channels));
      }
      continue;
    }
    for (int32_t c = 0; c < r->channels; ++c) {
      const int32_t multiplier = r->scales[c].multiplier, addend = r->scales[c].addend, shift = r->scales[c].shift;
      const int8_t* from = x + c;
      int8_t* at = y + c;
      for (int32_t i = s.in_w; i > 0; --i, from += r->pixel_stride, at += channels) {
        *at = static_cast<int8_t>(clamped((*from * multiplier + addend) >> shift, -128, 127));
      }
    }
  }
}

// Finds the rows of the windows of output row oy. Returns whether all are within the image.
bool find_rows(const State& s, int64_t image, int32_t oy, Work* w) {
  bool inside = true;
  int32_t y = oy * s.stride_h - s.pad_top;
  if (s.ring_rows > 0) {
    const int32_t last = y + s.ring_rows < s.in_h ? y + s.ring_rows : s.in_h;
    if (w->next < y) w->next = y;
    if (w->next < 0) w->next = 0;
    for (; w->next < last; ++w->next) {
      copy_row(s, (image * s.in_h + w->next) * s.in_w, w->ring + w->next % s.ring_rows * s.in_w * s.in.channels);
    }
  }
  for (int32_t ky = 0; ky < s.kernel_h; ++ky, y += s.dilation_h) {
    if (y < 0 || y >= s.in_h) {
      w->rows[ky] = nullptr;
      inside = false;
    } else if (s.ring_rows > 0) {
      w->rows[ky] = w->ring + y % s.ring_rows * s.in_w * s.in.channels;
    } else {
      w->rows[ky] = s.in.ranges[0].base + (image * s.in_h + y) * s.in_w * s.in.ranges[0].pixel_stride;
    }
  }
  return inside;
}

// Copies a window that reaches beyond the image, with the zero point where it does.
void copy_window(const State& s, ptrdiff_t stride, int32_t x0, const Work& w) {
  const auto channels = static_cast<size_t>(s.in.channels);
  int8_t* to = w.buffer;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int32_t kx = 0, x = x0; kx < s.kernel_w; ++kx, x += s.dilation_w, to += channels) {
      if (w.rows[ky] && x >= 0 && x < s.in_w) {
        memcpy(to, w.rows[ky] + x * stride, channels);
      } else {
        memset(to, s.quant->in_zero, channels);
      }
    }
  }
}

template <int32_t P>
void gather_pixel(const State& s, const Work& w, bool rows_inside, int32_t ox, PatchNumber* patch) {
  const ptrdiff_t stride = s.ring_rows > 0 ? s.in.channels : s.in.ranges[0].pixel_stride;
  const int32_t x0 = ox * s.stride_w - s.pad_left, zero = s.quant->in_zero;
  const bool inside = rows_inside && x0 >= 0 && x0 + (s.kernel_w - 1) * s.dilation_w < s.in_w;
  WindowRows at{w.rows, x0 * stride, s.dilation_w * stride};
  if (!inside) {
    copy_window(s, stride, x0, w);
    at = {w.window, 0, s.in.channels};
  }
  gather_window<P>(at, s.kernel_h, s.kernel_w, s.in.channels, zero, patch);
}

// What an output's sums become.
struct Finish {
  int32_t zero, low, high;
  const Combine* add;  // null: there is no residual
};

template <int32_t P>
[[gnu::always_inline]] inline void store(const int32_t* sums, const Factor& f, const Finish& how, int32_t pixels,
                                         const int8_t* residual, int32_t residual_stride, int8_t* out,
                                         int32_t out_stride) {
  for (int32_t p = 0; p < pixels; ++p, out += out_stride) {
    int32_t v = bounded_byte(wrapped_sum(product(sums[p], f), how.zero), how.low, how.high);
    if (how.add) {
      v = combined_bytes<BinaryOp::kAdd>(v, *residual, *how.add);
      residual += residual_stride;
    }
    *out = static_cast<int8_t>(v);
  }
}

// All outputs of `pixels` pixels, whose patch is gathered.
template <int32_t P>
void run_outputs(const State& s, const PatchNumber* patch, int64_t pixel, int32_t pixels, const Finish& how) {
  const QuantParams& q = *s.quant;
  int8_t* out = s.out.base + pixel * s.out.pixel_stride;
  const int8_t* residual = how.add ? s.residual.base + pixel * s.residual.pixel_stride : nullptr;
  const int8_t* weight = s.weight;
  for (int32_t o = 0; o < s.outputs; ++o, weight += s.count, ++out) {
    int32_t sums[P];
    for (int32_t p = 0; p < P; ++p) sums[p] = s.bias ? s.bias[o] : 0;
    multiply_patch<P>(weight, patch, s.count, sums);
    const Factor f = make_factor(q.multipliers[o], q.rounding, s.largest);
    store<P>(sums, f, how, pixels, residual, s.residual.pixel_stride, out, s.out.pixel_stride);
    if (residual) ++residual;
  }
}

Work make_work(const State& s, void* scratch) {
  Work w{};
  auto* at = static_cast<uint8_t*>(scratch);
  w.patch = reinterpret_cast<PatchNumber*>(at);
  const bool single = s.out_h == 1 && s.out_w == 1;
  const int64_t numbers = single ? patch_numbers<1>(s.count) : patch_numbers<kPixels>(s.count);
  at += aligned(static_cast<uint64_t>(numbers) * sizeof(PatchNumber));
  w.rows = reinterpret_cast<const int8_t**>(at);
  w.window = w.rows + s.kernel_h;
  at += aligned(static_cast<uint64_t>(s.kernel_h) * 2 * sizeof(int8_t*));
  w.buffer = reinterpret_cast<int8_t*>(at);
  w.ring = w.buffer + aligned(static_cast<uint64_t>(s.count));
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) w.window[ky] = w.buffer + ky * s.kernel_w * s.in.channels;
  w.next = INT32_MIN;
  return w;
}

template <int32_t P>
void run_band(const State& s, int64_t image, int32_t begin, int32_t end, const Finish& how, void* scratch) {
  Work w = make_work(s, scratch);
  for (int32_t oy = begin; oy < end; ++oy) {
    const bool inside = find_rows(s, image, oy, &w);
    for (int32_t ox = 0; ox < s.out_w; ox += P) {
      const int32_t pixels = s.out_w - ox < P ? s.out_w - ox : P;
      for (int32_t p = 0; p < pixels; ++p) gather_pixel<P>(s, w, inside, ox + p, w.patch + 2 * p);
      run_outputs<P>(s, w.patch, (image * s.out_h + oy) * s.out_w + ox, pixels, how);
    }
  }
}

void run(const void* state, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(state);
  const int32_t bands = (s.out_h + s.band_rows - 1) / s.band_rows;
  const int64_t image = chunk / bands;
  const int32_t begin = chunk % bands * s.band_rows,
                end = begin + s.band_rows < s.out_h ? begin + s.band_rows : s.out_h;
  const QuantParams& q = *s.quant;
  Combine add;
  if (q.residual) add = make_combine(BinaryOp::kAdd, *q.residual);
  const Finish how{q.out_zero, q.low, q.high, q.residual ? &add : nullptr};
  if (s.out_h == 1 && s.out_w == 1) {
    run_band<1>(s, image, begin, end, how, scratch);
  } else {
    run_band<kPixels>(s, image, begin, end, how, scratch);
  }
}

}  // namespace

const Kernel kIntegerConv = {
    .name = "conv2d_s8_compact",
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .types = kInt8,
};

}  // namespace sparsenet::rt::compact
