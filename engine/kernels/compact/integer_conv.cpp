// Convolutions and fully connected layers of int8 with weights in the order in which the model stores them,
// [out][in][kh][kw].
//
// A few neighbouring output pixels, three or four, are computed at a time (of a layer with one output pixel, this one):
// the windows that they read are gathered into scratch once, with zero point and padding, and every output's weights
// run through them once (integer_tile.h). Inputs of several channel ranges, or with scales of channels, are first
// copied into a ring of input rows, so that each number is scaled once.
#include "kernels/compact/integer_tile.h"

namespace sparsenet::rt::compact {
namespace {

constexpr int32_t kPixels = kTilePixels, kBandRows = 16;

struct State {
  ByteInput in;
  Bytes out, residual;
  const int8_t* weight;
  const int32_t* bias;
  const QuantParams* quant;
  int32_t in_h, in_w, out_h, out_w, outputs;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int32_t count;      // weights of an output
  int32_t ring_rows;  // 0: the input is read in place
  int32_t largest;    // no sum has a larger magnitude
  bool straight;      // biases, no bounds, and factors that fast_product() serves for
};

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

// A layer of one output pixel for which it is worthwhile to have loops for one pixel.
bool is_flat(const Step& s) {
  constexpr int64_t kManyWeights = 1 << 12;
  return s.out.h == 1 && s.out.w == 1 && int64_t{count_of(s)} * s.out.c >= kManyWeights;
}

template <int32_t P, Rounding kRounding>
bool supports(const Step& s) {
  return s.op == StepOp::kConv && s.quant && s.quant->rounding == kRounding && (P > 1 || is_flat(s)) &&
         s.conv.groups == 1 && is_modest(s) && is_one_piece(s.out) && (s.in2.segment_count == 0 || is_one_piece(s.in2));
}

int32_t ring_rows_of(const Step& s) {
  if (s.in.segment_count == 1 && !s.quant->channels) return 0;
  return (s.window.kernel_h - 1) * s.window.dilation_h + 1;
}

constexpr uint64_t aligned(uint64_t bytes) {
  return (bytes + 7) / 8 * 8;
}

template <int32_t P>
uint64_t patch_bytes(int32_t count) {
  return aligned(static_cast<uint64_t>(patch_numbers<P>(count)) * sizeof(PatchNumber));
}

// A residual is added by tables of what the operands' integers contribute, because there are many more of them than
// 256: 14 instructions in place of 38.
struct Tables {
  int32_t first[256], second[256];
};

void make_tables(const QuantParams& q, Tables* tables) {
  for (int32_t i = 0; i < 256; ++i) {
    const int32_t x = static_cast<int8_t>(i);
    tables->first[i] = slow_product(shifted_left(x - q.in_zero, q.left_shift), q.multipliers[0], q.rounding);
    tables->second[i] = slow_product(shifted_left(x - q.in2_zero, q.left_shift), q.multipliers[1], q.rounding);
  }
}

// What the plain kernels compute for kBinary, kAdd.
template <Rounding kRounding>
__attribute__((noinline)) void add_by_tables(const int8_t* a, const int8_t* b, int32_t count, const QuantParams& q,
                                             const Tables* tables, int8_t* out) {
  const int32_t *first = tables->first, *second = tables->second;
  const Multiplier& m = q.multipliers[2];
  const Factor f = make_factor<kRounding>(m, largest_of_sum(q));
  const int32_t zero = q.out_zero;
  const auto *x = reinterpret_cast<const uint8_t*>(a), *y = reinterpret_cast<const uint8_t*>(b);
  if (f.fast && is_all_bytes(q)) {
    return add_entries<kRounding>(first, second, x, y, count, f, zero, out);
  }
  for (; count > 0; --count, ++out) {
    const int32_t v = slow_product(wrapped_sum(first[*x++], second[*y++]), m, kRounding);
    *out = static_cast<int8_t>(bounded_byte(wrapped_sum(v, zero), q.low, q.high));
  }
}

uint64_t bias_bytes(int32_t outputs) {
  return kAdjustsBiases ? aligned(static_cast<uint64_t>(outputs) * sizeof(int32_t)) : 0;
}

// Of what a residual takes: tables and a tile of outputs.
uint64_t tile_bytes(const Step& s) {
  if (s.in2.segment_count == 0) return 0;
  return sizeof(Tables) + aligned(static_cast<uint64_t>(kPixels) * static_cast<uint64_t>(s.out.c));
}

// Scratch: the patch, biases, the pointers to rows, a window that reaches beyond the image, what a residual takes, the
// ring.
template <int32_t P>
void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State) + byte_ranges_bytes(s.in);
  needs->scratch_bytes =
      patch_bytes<P>(count_of(s)) + bias_bytes(s.out.c) +
      aligned(static_cast<uint64_t>(s.window.kernel_h) * 2 * sizeof(int8_t*)) +
      aligned(static_cast<uint64_t>(count_of(s))) + tile_bytes(s) +
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

template <Rounding kRounding>
bool is_straight(const Step& s, int32_t largest) {
  const QuantParams& q = *s.quant;
  bool fast = (kAdjustsBiases || s.conv.bias) && is_all_bytes(q);
  for (int32_t o = 0; fast && o < s.out.c; ++o) fast = make_factor<kRounding>(q.multipliers[o], largest).fast;
  return fast;
}

template <Rounding kRounding>
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
            largest_sum(s),
            is_straight<kRounding>(s, largest_sum(s))};
  return nullptr;
}

// The parts of the scratch, and which input rows the ring holds.
struct Work {
  PatchNumber* patch;
  const int32_t* biases;  // of the outputs; null: none
  const int8_t** rows;    // of the window at an output row; null where a row is in the padding
  const int8_t** window;  // of the buffer below
  int8_t* buffer;         // [kh][kw][channels]
  // Where there is a residual:
  Tables* tables;
  int8_t* tile;  // [pixel][output]
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
        *at = static_cast<int8_t>(scaled_byte(*from, multiplier, addend, shift));
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
  const int32_t channels = s.in.channels;
  int8_t* to = w.buffer;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int32_t kx = 0, x = x0; kx < s.kernel_w; ++kx, x += s.dilation_w, to += channels) {
      if (w.rows[ky] && x >= 0 && x < s.in_w) {
        copy_numbers(w.rows[ky] + x * stride, channels, to);
      } else {
        fill_numbers(s.quant->in_zero, channels, to);
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

// What the sums of a tile become, one after the other; for tiles and numbers that store_four() is not for.
template <Rounding kRounding>
__attribute__((noinline)) void store_any(const int32_t* sums, int32_t pixels, const Multiplier& m, int32_t largest,
                                         const QuantParams& q, int8_t* out, ptrdiff_t stride) {
  const Factor f = make_factor<kRounding>(m, largest);
  for (int32_t p = 0; p < pixels; ++p, out += stride) {
    *out = static_cast<int8_t>(bounded_byte(wrapped_sum(product<kRounding>(sums[p], f, m), q.out_zero), q.low, q.high));
  }
}

// The outputs from `first` on of `pixels` pixels, whose patch is gathered, to out[pixel * stride + output].
template <int32_t P, Rounding kRounding>
__attribute__((noinline)) void run_any(const State& s, const Work& w, int32_t first, int32_t pixels, int8_t* out,
                                       ptrdiff_t stride) {
  const QuantParams& q = *s.quant;
  const int32_t count = s.count, rest = count % kGroup;
  for (int32_t o = first; o < s.outputs; ++o) {
    const int8_t* weight = s.weight + o * count;
    const int32_t begin = w.biases ? w.biases[o] : 0;
    int32_t sums[4] = {begin, begin, begin, begin};
    // In the last group, the weights of the next output meet zeros; behind the last output there are none to be read.
    const bool last = o == s.outputs - 1;
    const int32_t groups = count / kGroup + (rest > 0 && !last ? 1 : 0);
    multiply<P>(weight, w.patch, groups, sums);
    if constexpr (kGroup > 1) {
      if (rest > 0 && last) multiply_rest<P>(s.weight + o * count, w.patch, count - rest, count, sums);
    }
    store_any<kRounding>(sums, pixels, q.multipliers[o], s.largest, q, out + o, stride);
  }
}

// The outputs of a tile. With a residual, they go to a buffer first, because it may lie where they belong.
template <int32_t P, Rounding kRounding>
void run_tile(const State& s, const Work& w, int64_t pixel, int32_t pixels) {
  int8_t* out = s.out.base + pixel * s.out.pixel_stride;
  const bool adds = s.residual.base != nullptr;
  int8_t* const to = adds ? w.tile : out;
  const ptrdiff_t stride = adds ? s.outputs : s.out.pixel_stride;
  int32_t done = 0;
  if (P > 1 && s.straight && (pixels == P || kStoresFewer)) {
    const Tile tile{s.weight, w.biases, s.quant->multipliers, s.outputs, s.count, s.quant->out_zero, pixels,
                    to,       stride};
    done = run_straight<kRounding>(tile, w.patch);
  }
  if (done < s.outputs) run_any<P, kRounding>(s, w, done, pixels, to, stride);
  if (!adds) return;
  const int8_t *residual = s.residual.base + pixel * s.residual.pixel_stride, *from = w.tile;
  if (s.residual.pixel_stride == s.outputs && s.out.pixel_stride == s.outputs) {
    return add_by_tables<kRounding>(from, residual, pixels * s.outputs, *s.quant->residual, w.tables, out);
  }
  for (; pixels > 0; --pixels, from += s.outputs, residual += s.residual.pixel_stride, out += s.out.pixel_stride) {
    add_by_tables<kRounding>(from, residual, s.outputs, *s.quant->residual, w.tables, out);
  }
}

template <int32_t P>
Work make_work(const State& s, void* scratch) {
  Work w{};
  auto* at = static_cast<uint8_t*>(scratch);
  w.patch = reinterpret_cast<PatchNumber*>(at);
  at += patch_bytes<P>(s.count);
  w.biases = s.bias;
  if constexpr (kAdjustsBiases) {
    w.biases = adjusted_biases(s.weight, s.bias, s.outputs, s.count, s.quant->in_zero, reinterpret_cast<int32_t*>(at));
  }
  at += bias_bytes(s.outputs);
  w.rows = reinterpret_cast<const int8_t**>(at);
  w.window = w.rows + s.kernel_h;
  at += aligned(static_cast<uint64_t>(s.kernel_h) * 2 * sizeof(int8_t*));
  w.buffer = reinterpret_cast<int8_t*>(at);
  w.tables = reinterpret_cast<Tables*>(w.buffer + aligned(static_cast<uint64_t>(s.count)));
  w.tile = reinterpret_cast<int8_t*>(w.tables) + (s.residual.base ? sizeof(Tables) : 0);
  w.ring = w.tile + (s.residual.base ? aligned(static_cast<uint64_t>(kPixels) * static_cast<uint64_t>(s.outputs)) : 0);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) w.window[ky] = w.buffer + ky * s.kernel_w * s.in.channels;
  w.next = INT32_MIN;
  clear_rest<P>(w.patch, s.count);
  if (s.residual.base) make_tables(*s.quant->residual, w.tables);
  return w;
}

// Output rows [begin, end) of an image. A tile may begin in one row and end in the next.
template <int32_t P, Rounding kRounding>
void run_band(const State& s, int64_t image, int32_t begin, int32_t end, void* scratch) {
  Work w = make_work<P>(s, scratch);
  const int64_t first = (image * s.out_h + begin) * s.out_w;
  const int32_t count = (end - begin) * s.out_w;
  int32_t oy = begin - 1, ox = s.out_w;
  bool inside = false;
  for (int32_t i = 0, pixels; i < count; i += pixels) {
    pixels = count - i < P ? count - i : P;
    for (int32_t p = 0; p < pixels; ++p, ++ox) {
      if (ox == s.out_w) {
        ox = 0;
        inside = find_rows(s, image, ++oy, &w);
      }
      gather_pixel<P>(s, w, inside, ox, w.patch + pixel_offset<P>(s.count, p));
    }
    run_tile<P, kRounding>(s, w, first + i, pixels);
  }
}

template <int32_t P, Rounding kRounding>
void run(const void* state, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(state);
  const int32_t bands = (s.out_h + kBandRows - 1) / kBandRows, begin = chunk % bands * kBandRows;
  const int32_t end = begin + kBandRows < s.out_h ? begin + kBandRows : s.out_h;
  run_band<P, kRounding>(s, chunk / bands, begin, end, scratch);
}

template <int32_t P, Rounding kRounding>
constexpr Kernel kKernel = {
    .name = P > 1 ? "conv2d_s8_compact" : "conv2d_pixel_s8_compact",
    .backend = "portable",
    .supports = supports<P, kRounding>,
    .query = query<P>,
    .prepare = prepare<kRounding>,
    .run = run<P, kRounding>,
    .types = kInt8,
};

}  // namespace

// Kernels of their own, because a program for one model needs but one or two of them.
const Kernel kIntegerConvSingle = kKernel<kPixels, Rounding::kSingle>;
const Kernel kIntegerConvDouble = kKernel<kPixels, Rounding::kDouble>;
const Kernel kIntegerPixelSingle = kKernel<1, Rounding::kSingle>;
const Kernel kIntegerPixelDouble = kKernel<1, Rounding::kDouble>;

}  // namespace sparsenet::rt::compact
