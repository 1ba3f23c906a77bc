// Depthwise convolutions of int8 by dot products along the rows of their windows. Lanes are channels. For one vector of
// channels after the other, the input rows that a band of output rows reads become a panel: at every column there are
// the cells of kStep taps from that column on, side by side for each channel, so that one dot product multiplies all of
// them. What is outside of the image is in the panel too, so no output is special.
#include "kernels/integer/finish.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kVectorCells = kStep * kLanes;
constexpr int kRangeVectors = 64 / kLanes;  // a cache line of outputs

struct Shape {
  int32_t groups;           // of kStep taps of a window's row
  int32_t apart;            // columns between the panel's positions
  int32_t positions;        // of a row of the panel
  int32_t rows, bands;      // output rows of a chunk; bands per image
  int32_t in_rows;          // of the panel
  int32_t vectors, ranges;  // of channels; chunks of a band
};

struct State {
  Shape shape;
  Window window;
  const int8_t* in;
  ptrdiff_t in_stride;
  int32_t in_h, in_w, out_h, out_w, channels, zero;
  const Weight* weights;  // [vector of channels][row of taps][group][channel][kStep]
  Finish finish;
};

int common_divisor(int a, int b) {
  while (b != 0) {
    const int rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

int64_t row_cells(const Shape& h) {
  return int64_t{h.positions} * kVectorCells;
}

Shape shape_of(const Step& s) {
  constexpr int kLeastRows = 4, kChunks = 4;
  const Window& w = s.window;
  Shape h{};
  h.groups = ceil_div(w.kernel_w, kStep);
  h.apart = common_divisor(w.stride_w, kStep * w.dilation_w);
  h.positions = ((s.out.w - 1) * w.stride_w + (h.groups - 1) * kStep * w.dilation_w) / h.apart + 1;
  h.vectors = ceil_div(s.out.c, kLanes);
  h.ranges = ceil_div(h.vectors, kRangeVectors);
  const int64_t lines = caches.first_level / 2 / (row_cells(h) * static_cast<int64_t>(sizeof(Cell)));
  const int reach = (w.kernel_h - 1) * w.dilation_h;
  const int fit = lines > s.in.h ? s.out.h : (static_cast<int>(lines) - reach) / w.stride_h;
  const int chunks = imin(kChunks, ceil_div(kChunks, imin(kChunks, s.out.n) * imin(kChunks, h.ranges)));
  h.rows = imin(imin(imax(fit, kLeastRows), s.out.h), ceil_div(s.out.h, chunks));
  h.bands = ceil_div(s.out.h, h.rows);
  h.rows = ceil_div(s.out.h, h.bands);
  h.bands = ceil_div(s.out.h, h.rows);
  h.in_rows = (h.rows - 1) * w.stride_h + reach + 1;
  return h;
}

// Of all sums of a chunk and one vector of channels. finish_tile() reads whole groups of four vectors.
int64_t sum_elements(const Shape& h, int out_w) {
  return (int64_t{h.rows} * out_w + 3) / 4 * 4 * kLanes;
}

int64_t weight_elements(const Step& s, const Shape& h) {
  return int64_t{h.vectors} * s.window.kernel_h * h.groups * kVectorCells;
}

bool supports(const Step& s) {
  if (s.op != StepOp::kConv || !s.quant || s.quant->channels || s.conv.groups != s.in.c || s.out.c != s.in.c ||
      s.in.c < 2 || s.out.segment_count != 1 || !reads_in_place(s) || s.in.type != DataType::kInt8 ||
      !residual_supported(s)) {
    return false;
  }
  const Window& w = s.window;
  constexpr int kMost = 4096;  // so that no product below leaves 32 bits
  if (w.kernel_h > 64 || w.kernel_w > 64 || w.dilation_h > 64 || w.dilation_w > 64 || w.stride_h > 64 ||
      w.stride_w > 64 || s.out.w > kMost || s.out.c > (1 << 20)) {
    return false;
  }
  const Shape h = shape_of(s);
  return int64_t{s.out.n} * h.bands * h.ranges < 65000 && h.in_rows * row_cells(h) < kMostElements;
}

size_t requantize_bytes(const Shape& h) {
  return size_t{3} * static_cast<size_t>(h.vectors) * kLanes * sizeof(int32_t);
}

void query(const Step& s, KernelNeeds* needs) {
  const Shape h = shape_of(s);
  needs->state_bytes = sizeof(State);
  needs->weight_bytes = requantize_bytes(h) + static_cast<uint64_t>(weight_elements(s, h)) * sizeof(Weight);
  needs->scratch_bytes = static_cast<uint64_t>(sum_elements(h, s.out.w)) * sizeof(int32_t) +
                         static_cast<uint64_t>(h.in_rows * row_cells(h)) * sizeof(Cell);
  needs->chunks = s.out.n * h.bands * h.ranges;
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const Shape h = shape_of(step);
  const Window& w = step.window;
  auto* numbers = reinterpret_cast<int32_t*>(place.weights);
  auto* weights = reinterpret_cast<Weight*>(numbers + requantize_bytes(h) / sizeof(int32_t));
  const auto* from = static_cast<const int8_t*>(step.conv.weight.data);
  for (int c = 0; c < step.out.c; ++c) {
    Weight* of_vector = weights + ptrdiff_t{c / kLanes} * w.kernel_h * h.groups * kVectorCells;
    for (int ky = 0; ky < w.kernel_h; ++ky) {
      for (int kx = 0; kx < w.kernel_w; ++kx) {
        const int8_t weight = *from++;
        of_vector[(ky * h.groups + kx / kStep) * kVectorCells + c % kLanes * kStep + kx % kStep] = weight;
        numbers[c] += weight;
      }
    }
  }
  s->shape = h;
  s->window = w;
  s->in = byte_pointer(step.in, place.arena);
  s->in_stride = step.in.segments[0].pixel_stride;
  s->in_h = step.in.h;
  s->in_w = step.in.w;
  s->out_h = step.out.h;
  s->out_w = step.out.w;
  s->channels = step.out.c;
  s->zero = step.quant->in_zero;
  s->weights = weights;
  const int32_t zero = kByteCells ? cell_of_zero(step.quant->in_zero) : 0;
  s->finish = make_finish(step, place.arena, make_requantize(step, numbers, zero));
  return nullptr;
}

// kLanes bytes of one pixel.
typedef int8_t Bytes __attribute__((vector_size(kLanes)));

SPARSENET_INLINE Bytes load_pixel(const int8_t* from, int lanes) {
  Bytes bytes{};
  if (lanes == kLanes) {
    memcpy(&bytes, from, sizeof bytes);
    return bytes;
  }
#if defined(__AVX512F__)
  return reinterpret_cast<Bytes>(_mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << lanes) - 1u), from));
#else
  for (int i = 0; i < lanes; ++i) bytes[i] = from[i];
  return bytes;
#endif
}

#if defined(__AVX512F__)
// The cells of kStep taps without the first one, and with `tap` behind the others.
SPARSENET_INLINE VI next_tap(VI cells, Bytes tap, int32_t zero) {
  const __m512i x = _mm512_cvtepi8_epi32(reinterpret_cast<__m128i>(tap));
  if constexpr (kByteCells) {
    constexpr int kOrXor = 0xf6;  // a | (b ^ c)
    return reinterpret_cast<VI>(_mm512_ternarylogic_epi32(_mm512_srli_epi32(reinterpret_cast<__m512i>(cells), 8),
                                                          _mm512_slli_epi32(x, 24), _mm512_set1_epi32(INT32_MIN),
                                                          kOrXor));
  } else {
    const __m512i cell = _mm512_slli_epi32(_mm512_sub_epi32(x, _mm512_set1_epi32(zero)), 16);
    return reinterpret_cast<VI>(_mm512_or_si512(_mm512_srli_epi32(reinterpret_cast<__m512i>(cells), 16), cell));
  }
}
#elif defined(__SSE2__)
SPARSENET_INLINE __m128i to_register(Bytes bytes) {
  int64_t eight = 0;
  memcpy(&eight, &bytes, sizeof bytes);
  return _mm_cvtsi64_si128(eight);
}
#elif defined(__ARM_NEON)
SPARSENET_INLINE int8x8_t to_register(Bytes bytes) {
  uint64_t eight = 0;
  memcpy(&eight, &bytes, sizeof bytes);
  return vcreate_s8(eight);
}
#endif

// The cells of the taps at one position.
SPARSENET_INLINE void store_position(const Bytes (&taps)[kStep], [[maybe_unused]] int32_t zero, Cell* to) {
#if defined(__AVX512F__)
  VI cells{};
#pragma GCC unroll 4
  for (int k = 0; k < kStep; ++k) cells = next_tap(cells, taps[k], zero);
  store_vi(to, cells);
#elif defined(__AVXVNNI__)
  const __m128i first = _mm_unpacklo_epi8(to_register(taps[0]), to_register(taps[1])),
                second = _mm_unpacklo_epi8(to_register(taps[2]), to_register(taps[3]));
  const __m128i sign = _mm_set1_epi8(-128);
  auto* y = reinterpret_cast<__m128i*>(to);
  _mm_storeu_si128(y, _mm_xor_si128(_mm_unpacklo_epi16(first, second), sign));
  _mm_storeu_si128(y + 1, _mm_xor_si128(_mm_unpackhi_epi16(first, second), sign));
#elif defined(__AVX2__)
  const __m256i both = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(to_register(taps[0]), to_register(taps[1])));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_sub_epi16(both, _mm256_set1_epi16(static_cast<int16_t>(zero))));
#elif defined(__SSE2__)
  const __m128i bytes = _mm_unpacklo_epi8(to_register(taps[0]), to_register(taps[1]));
  const __m128i both = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_sub_epi16(both, _mm_set1_epi16(static_cast<int16_t>(zero))));
#elif defined(__ARM_FEATURE_DOTPROD)
  const int8x8x2_t pairs = {{vzip_s8(to_register(taps[0]), to_register(taps[1])).val[0],
                             vzip_s8(to_register(taps[2]), to_register(taps[3])).val[0]}};
  const int16x4x2_t fours = vzip_s16(vreinterpret_s16_s8(pairs.val[0]), vreinterpret_s16_s8(pairs.val[1]));
  vst1q_s8(to, vreinterpretq_s8_s16(vcombine_s16(fours.val[0], fours.val[1])));
#elif defined(__ARM_NEON)
  vst1_s8(to, vzip_s8(to_register(taps[0]), to_register(taps[1])).val[0]);
#else
  for (int l = 0; l < kLanes; ++l) {
    for (int k = 0; k < kStep; ++k) to[l * kStep + k] = static_cast<Cell>(taps[k][l] + cell_offset(zero));
  }
#endif
}

#if defined(__AVX512F__)
// `count` positions, each kApart columns behind the one before, with which it shares all other taps; `x`: the first
// tap.
template <int kApart, bool kWhole>
SPARSENET_INLINE void slide(const State& s, const int8_t* x, int count, int lanes, Cell* y) {
  const ptrdiff_t tap = s.in_stride;
  const int bytes = kWhole ? kLanes : lanes;
  VI cells{};
  for (int k = kApart; k < kStep; ++k, x += tap) cells = next_tap(cells, load_pixel(x, bytes), s.zero);
  for (int i = 0; i < count; ++i, y += kVectorCells) {
#pragma GCC unroll 2
    for (int k = 0; k < kApart; ++k, x += tap) cells = next_tap(cells, load_pixel(x, bytes), s.zero);
    store_vi(y, cells);
  }
}
#endif

// The positions [begin, end) of a row of the panel, all of whose taps lie within the image. kWhole: all lanes are
// channels.
template <bool kWhole>
SPARSENET_INLINE void fill_inside(const State& s, const int8_t* row, int begin, int end, int lanes, Cell* to) {
  const ptrdiff_t tap = s.window.dilation_w * s.in_stride, step = s.shape.apart * s.in_stride;
  const int8_t* x = row + (ptrdiff_t{begin} * s.shape.apart - s.window.pad_left) * s.in_stride;
  Cell* y = to + ptrdiff_t{begin} * kVectorCells;
#if defined(__AVX512F__)
  if (s.window.dilation_w == 1 && s.shape.apart == 1) return slide<1, kWhole>(s, x, end - begin, lanes, y);
  if (s.window.dilation_w == 1 && s.shape.apart == 2) return slide<2, kWhole>(s, x, end - begin, lanes, y);
#endif
  for (int i = begin; i < end; ++i, x += step, y += kVectorCells) {
    Bytes taps[kStep];
#pragma GCC unroll 4
    for (int k = 0; k < kStep; ++k) taps[k] = load_pixel(x + k * tap, kWhole ? kLanes : lanes);
    store_position(taps, s.zero, y);
  }
}

// The panel of the input rows from `y0` on, for the channels from `c` on.
__attribute__((noinline)) void fill(const State& s, int64_t image, int y0, int lines, int c, Cell* to) {
  const int lanes = imin(kLanes, s.channels - c), apart = s.shape.apart, positions = s.shape.positions;
  const Bytes outside = Bytes{} + static_cast<int8_t>(s.zero);
  const int begin = imin(s.window.pad_left > 0 ? ceil_div(s.window.pad_left, apart) : 0, positions);
  const int last = s.in_w - 1 - (kStep - 1) * s.window.dilation_w + s.window.pad_left;  // column from the padding on
  const int end = imin(imax(begin, last < 0 ? 0 : last / apart + 1), positions);
  for (int r = 0; r < lines; ++r, to += row_cells(s.shape)) {
    const int y = y0 + r;
    const bool inside = y >= 0 && y < s.in_h;
    const int8_t* row = s.in + ((image * s.in_h + (inside ? y : 0)) * s.in_w) * s.in_stride + c;
    const auto fill_some = [&](int from, int until) {
      for (int i = from; i < until; ++i) {
        Bytes taps[kStep];
        const int x = i * apart - s.window.pad_left;
        for (int k = 0; k < kStep; ++k) {
          const int at = x + k * s.window.dilation_w;
          taps[k] = inside && at >= 0 && at < s.in_w ? load_pixel(row + at * s.in_stride, lanes) : outside;
        }
        store_position(taps, s.zero, to + ptrdiff_t{i} * kVectorCells);
      }
    };
    if (!inside) {
      fill_some(0, positions);
      continue;
    }
    fill_some(0, begin);
    lanes == kLanes ? fill_inside<true>(s, row, begin, end, lanes, to)
                    : fill_inside<false>(s, row, begin, end, lanes, to);
    fill_some(end, positions);
  }
}

// The sums of P neighbouring outputs, whose first one reads the panel from `x` on.
template <int P>
__attribute__((noinline)) void multiply(const State& s, const Cell* x, ptrdiff_t step, const Weight* w, VI bias,
                                        int32_t* sums) {
  const ptrdiff_t row = static_cast<ptrdiff_t>(row_cells(s.shape)) * s.window.dilation_h;
  const ptrdiff_t group = ptrdiff_t{kStep} * s.window.dilation_w / s.shape.apart * kVectorCells;
  VI acc[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) acc[p] = bias;
  for (int ky = 0; ky < s.window.kernel_h; ++ky, x += row) {
    const Cell* at = x;
    for (int g = 0; g < s.shape.groups; ++g, at += group, w += kVectorCells) {
      const WeightVector wv = load_weights(w);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) {
        acc[p] = dot_lanes(acc[p], load_weights(at + p * step), wv);
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) store_vi(sums + p * kLanes, acc[p]);
}

// The same for `count` outputs, at most P.
template <int P>
SPARSENET_INLINE void multiply_some(int count, const State& s, const Cell* x, ptrdiff_t step, const Weight* w, VI bias,
                                    int32_t* sums) {
  if constexpr (P > 1) {
    if (count < P) return multiply_some<P - 1>(count, s, x, step, w, bias, sums);
  }
  multiply<P>(s, x, step, w, bias, sums);
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const Shape& h = s.shape;
  const Window& w = s.window;
  const int range = chunk % h.ranges, band = chunk / h.ranges % h.bands;
  const int64_t image = chunk / h.ranges / h.bands;
  const int y0 = band * h.rows, rows = imin(h.rows, s.out_h - y0);
  const int lines = h.in_rows - (h.rows - rows) * w.stride_h;
  auto* sums = static_cast<int32_t*>(scratch);
  auto* panel = reinterpret_cast<Cell*>(sums + sum_elements(h, s.out_w));
  const ptrdiff_t step = ptrdiff_t{w.stride_w} / h.apart * kVectorCells;
  const int end = imin((range + 1) * kRangeVectors, h.vectors);
  for (int v = range * kRangeVectors; v < end; ++v) {
    const int c = v * kLanes;
    const Weight* weights = s.weights + ptrdiff_t{v} * w.kernel_h * h.groups * kVectorCells;
    const VI bias = load_vi(s.finish.requantize.bias + c);
    fill(s, image, y0 * w.stride_h - w.pad_top, lines, c, panel);
    int32_t* to = sums;
    for (int r = 0; r < rows; ++r) {
      const Cell* x = panel + r * w.stride_h * row_cells(h);
      for (int ox = 0; ox < s.out_w; ox += 8) {
        multiply_some<8>(imin(8, s.out_w - ox), s, x + ox * step, step, weights, bias, to + ptrdiff_t{ox} * kLanes);
      }
      to += ptrdiff_t{s.out_w} * kLanes;
    }
    finish_tile(s.finish, sums, rows * s.out_w, 1, c, (image * s.out_h + y0) * s.out_w);
  }
}

}  // namespace

const Kernel kIntegerDepthwisePanel = {
    .name = "conv2d_depthwise_panel_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .types = kInt8,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
