// Depthwise convolutions of int8 by dot products along the columns of their windows, for a line of kVectors * kLanes
// channels at a time: a register of cells. The pixels of up to kStep rows of a window become a position by interleaving
// their cells within every 128 bits, so that it has kVectors vectors of which lane 4 * j + i of vector v is channel
// 4 * (kVectors * j + v) + i. Packing sums undoes that. A row of output takes its positions from a short buffer, in
// which what is outside of the image is too.
#include "kernels/integer/finish.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {

#if defined(__AVX2__)

namespace {

constexpr int kVectors = kStep, kLine = kVectors * kLanes, kPositionCells = kStep * kLine;
constexpr int kStripPositions = 24 * 1024 / (kPositionCells * static_cast<int>(sizeof(Cell)));
// Of a tile, whose sums are in registers.
#if defined(__AVX512F__)
constexpr int kTilePixels = 4;
#else
constexpr int kTilePixels = 12 / kVectors;
#endif

struct State {
  Window window;
  const int8_t* in;
  ptrdiff_t in_stride;
  int8_t* out;
  ptrdiff_t out_stride;
  int32_t in_h, in_w, out_h, out_w, channels, zero;
  int32_t rows, bands, lines;  // output rows of a chunk, chunks of an image and line; lines of channels
  const Weight* weights;       // [line][group of kStep rows of taps][tap of a row][vector][lane][kStep]
  Requantize requantize;       // of whole lines, in the order of their vectors
};

int32_t groups_of(const Window& w) {
  return ceil_div(w.kernel_h, kStep);
}

// Where a line's channel is among its vectors' lanes.
int32_t lane_of(int32_t channel) {
  return channel / 4 % kVectors * kLanes + channel / (4 * kVectors) * 4 + channel % 4;
}

int32_t bands_of(const Step& s) {
  constexpr int kLeastRows = 4, kChunks = 8;
  const int64_t others = int64_t{s.out.n} * ceil_div(s.out.c, kLine);
  const auto wanted = others >= kChunks ? 1 : kChunks / static_cast<int>(others);
  return imax(1, imin(wanted, s.out.h / kLeastRows));
}

int64_t weight_elements(const Step& s) {
  return int64_t{ceil_div(s.out.c, kLine)} * groups_of(s.window) * s.window.kernel_w * kPositionCells;
}

// Of three numbers for every channel, in whole lines; those of make_requantize() follow.
int64_t numbers_of_lines(const Step& s) {
  return int64_t{ceil_div(s.out.c, kLine)} * kLine * 3;
}

// Positions of a strip of output columns, of which there is room for at least one tile.
int32_t strip_columns(const Window& w) {
  const int reach = (w.kernel_w - 1) * w.dilation_w;
  const int most = kStripPositions / groups_of(w) - reach - 1;
  return imax(most < 0 ? 0 : most / w.stride_w / kTilePixels * kTilePixels, kTilePixels);
}
int32_t strip_positions(const Window& w) {
  return (strip_columns(w) - 1) * w.stride_w + (w.kernel_w - 1) * w.dilation_w + 1;
}

bool supports(const Step& s) {
  constexpr int kMost = 64;  // so that no product below leaves 32 bits
  const Window& w = s.window;
  return s.op == StepOp::kConv && s.quant && !s.quant->channels && s.conv.groups == s.in.c && s.out.c == s.in.c &&
         s.in.c > kLanes && s.out.segment_count == 1 && s.in2.segment_count == 0 && reads_in_place(s) &&
         s.in.type == DataType::kInt8 && w.kernel_h <= 8 && w.kernel_w <= 8 && w.dilation_h <= kMost &&
         w.dilation_w <= kMost && w.stride_h <= kMost && w.stride_w <= kMost && w.pad_top <= kMost &&
         w.pad_left <= kMost && s.out.c <= (1 << 20) && s.in.w <= (1 << 20) && s.in.h <= (1 << 20) &&
         int64_t{s.out.n} * bands_of(s) * ceil_div(s.out.c, kLine) < 65000;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State);
  needs->weight_bytes =
      (static_cast<uint64_t>(numbers_of_lines(s)) + 3 * static_cast<uint64_t>(padded_outputs(s.out.c))) *
          sizeof(int32_t) +
      static_cast<uint64_t>(weight_elements(s)) * sizeof(Weight);
  needs->scratch_bytes = static_cast<uint64_t>(strip_positions(s.window)) * static_cast<uint64_t>(groups_of(s.window)) *
                         kPositionCells * sizeof(Cell);
  needs->chunks = s.out.n * bands_of(s) * ceil_div(s.out.c, kLine);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const Window& w = step.window;
  const int lines = ceil_div(step.out.c, kLine), padded = lines * kLine, groups = groups_of(w);
  auto* weights = reinterpret_cast<Weight*>(place.weights);
  auto* numbers = reinterpret_cast<int32_t*>(weights + weight_elements(step));
  int32_t* by_output = numbers + numbers_of_lines(step);
  const auto* from = static_cast<const int8_t*>(step.conv.weight.data);
  for (int c = 0; c < step.out.c; ++c) {
    Weight* of_line = weights + ptrdiff_t{c / kLine} * groups * w.kernel_w * kPositionCells;
    for (int ky = 0; ky < w.kernel_h; ++ky) {
      for (int kx = 0; kx < w.kernel_w; ++kx) {
        const int8_t weight = *from++;
        Weight* of_position = of_line + (ky / kStep * w.kernel_w + kx) * kPositionCells;
        of_position[lane_of(c % kLine) * kStep + ky % kStep] = weight;
        by_output[c] += weight;
      }
    }
  }
  s->requantize = make_requantize(step, by_output, kByteCells ? cell_of_zero(step.quant->in_zero) : 0);
  for (int c = 0; c < padded; ++c) {
    const int at = c / kLine * kLine + lane_of(c % kLine);
    const bool exists = c < step.out.c;
    numbers[at] = exists ? s->requantize.bias[c] : 0;
    numbers[padded + at] = exists ? s->requantize.multiplier[c] : 0;
    numbers[2 * padded + at] = exists ? s->requantize.shift[c] : -2;
  }
  s->requantize.bias = numbers;
  s->requantize.multiplier = numbers + padded;
  s->requantize.shift = numbers + 2 * padded;
  s->window = w;
  s->in = byte_pointer(step.in, place.arena);
  s->in_stride = step.in.segments[0].pixel_stride;
  s->out = byte_pointer(step.out, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->in_h = step.in.h;
  s->in_w = step.in.w;
  s->out_h = step.out.h;
  s->out_w = step.out.w;
  s->channels = step.out.c;
  s->zero = step.quant->in_zero;
  s->lines = lines;
  s->rows = ceil_div(step.out.h, bands_of(step));
  s->bands = bands_of(step);
  s->weights = weights;
  return nullptr;
}

// --- positions

// A row of pixels that a tap reads; one outside of the image is the same pixel everywhere.
struct Row {
  const int8_t* first;
  ptrdiff_t stride;
};

// The cells of a pixel's line, of which `count` are channels.
SPARSENET_INLINE Bits load_cells_of(const int8_t* from, int count, [[maybe_unused]] Bits zero) {
#if defined(__AVX512VNNI__)
  return _mm512_xor_si512(_mm512_maskz_loadu_epi8(~uint64_t{0} >> (64 - count), from), _mm512_set1_epi8(-128));
#elif defined(__AVX512F__)
  return _mm512_sub_epi16(_mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(~0u >> (32 - count), from)), zero);
#else
  alignas(32) int8_t some[kLine] = {};
  if (count < kLine) {
    memcpy(some, from, static_cast<size_t>(count));
    from = some;
  }
#if defined(__AVXVNNI__)
  return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), _mm256_set1_epi8(-128));
#else
  const __m256i words = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  return _mm256_sub_epi16(words, zero);
#endif
#endif
}

// The cells of one column's kRows pixels.
template <int kRows>
SPARSENET_INLINE void store_position(const Row* rows, int column, int count, Bits zero, Cell* to) {
  constexpr int kVector = kPositionCells / kVectors;
  Bits taps[kStep] = {};
#pragma GCC unroll 4
  for (int k = 0; k < kRows; ++k) taps[k] = load_cells_of(rows[k].first + column * rows[k].stride, count, zero);
  if constexpr (kStep == 4) {
    const Bits first_low = SPARSENET_BITS(unpacklo_epi8)(taps[0], taps[1]),
               first_high = SPARSENET_BITS(unpackhi_epi8)(taps[0], taps[1]),
               second_low = SPARSENET_BITS(unpacklo_epi8)(taps[kStep - 2], taps[kStep - 1]),
               second_high = SPARSENET_BITS(unpackhi_epi8)(taps[kStep - 2], taps[kStep - 1]);
    store_bits(to, SPARSENET_BITS(unpacklo_epi16)(first_low, second_low));
    store_bits(to + kVector, SPARSENET_BITS(unpackhi_epi16)(first_low, second_low));
    store_bits(to + 2 * kVector, SPARSENET_BITS(unpacklo_epi16)(first_high, second_high));
    store_bits(to + 3 * kVector, SPARSENET_BITS(unpackhi_epi16)(first_high, second_high));
  } else {
    store_bits(to, SPARSENET_BITS(unpacklo_epi16)(taps[0], taps[1]));
    store_bits(to + kVector, SPARSENET_BITS(unpackhi_epi16)(taps[0], taps[1]));
  }
}

// The positions of the columns [begin, end), of which those outside of the image have the cells at `outside`.
template <int kRows>
__attribute__((noinline)) void store_positions(const State& s, const Row* rows, int begin, int end, int count,
                                               const int8_t* outside, Cell* to) {
  Row nothing[kStep];
  for (Row& row : nothing) row = {outside, 0};
  const Bits zero = splat_16(s.zero);
  const int left = imin(imax(begin, 0), end), right = imax(left, imin(end, s.in_w));
  int x = begin;
  for (; x < left; ++x, to += kPositionCells) store_position<kRows>(nothing, 0, count, zero, to);
  for (; x < right; ++x, to += kPositionCells) store_position<kRows>(rows, x, count, zero, to);
  for (; x < end; ++x, to += kPositionCells) store_position<kRows>(nothing, 0, count, zero, to);
}

// --- outputs

SPARSENET_INLINE void store_line(int8_t* to, int count, Bits v) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_epi8(to, ~uint64_t{0} >> (64 - count), v);
#else
  if (count == 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v);
  } else if (count == 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(v));
  } else {
    alignas(32) int8_t bytes[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bytes), v);
    memcpy(to, bytes, static_cast<size_t>(count));
  }
#endif
}

// Stores the bytes of P pixels.
template <int P>
SPARSENET_INLINE void store_lines(const VI (&sums)[P][kVectors], Bits low, Bits high, int count, ptrdiff_t stride,
                                  int8_t* y) {
  if constexpr (kVectors == 4) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p, y += stride) {
      const Bits first = words_of(sums[p][0], sums[p][1]),
                 second = words_of(sums[p][kVectors - 2], sums[p][3 % kVectors]);
      store_line(y, count, bounded_8(SPARSENET_BITS(packs_epi16)(first, second), low, high));
    }
  } else {
#pragma GCC unroll 3
    for (int p = 0; p < P; p += 2, y += 2 * stride) {
      const int next = p + 1 < P ? p + 1 : p;
      const Bits first = words_of(sums[p][0], sums[p][1]), second = words_of(sums[next][0], sums[next][1]);
      const Bits both = bounded_8(SPARSENET_BITS(packs_epi16)(first, second), low, high);
#if defined(__AVX512F__)
      const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
      const __m512i sorted = _mm512_permutexvar_epi64(order, both);
      store_line(y, count, sorted);
      if (next > p) store_line(y + stride, count, _mm512_castsi256_si512(_mm512_extracti64x4_epi64(sorted, 1)));
#else
      const __m256i sorted = _mm256_permute4x64_epi64(both, 0xd8);
      store_line(y, count, sorted);
      if (next > p) store_line(y + stride, count, _mm256_castsi128_si256(_mm256_extracti128_si256(sorted, 1)));
#endif
    }
  }
}

// What all outputs of a line have in common.
template <Form kForm>
struct Line {
  RequantizeVector r[kVectors];
  Bits low, high;
  const Weight* weights;
  const int32_t* bias;
  int32_t count;
  ptrdiff_t step, tap, group;  // cells from an output's window, a tap or a group of rows to the next one
};

// P neighbouring outputs.
template <int P, Form kForm>
__attribute__((noinline)) void compute(const State& s, const Line<kForm>& line, const Cell* x, int8_t* y) {
  constexpr int kVector = kPositionCells / kVectors;
  VI sums[P][kVectors];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[p][v] = load_vi(line.bias + v * kLanes);
  }
  const int groups = groups_of(s.window);
  const Weight* w = line.weights;
  const ptrdiff_t step = line.step;
  for (int g = 0; g < groups; ++g, x += line.group) {
    const Cell* at = x;
    for (int kx = 0; kx < s.window.kernel_w; ++kx, at += line.tap, w += kPositionCells) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const VI weights = load_weights(w + v * kVector);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          sums[p][v] = dot_lanes(sums[p][v], load_weights(at + p * step + v * kVector), weights);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[p][v] = unbounded<kForm>(sums[p][v], line.r[v]);
  }
  store_lines<P>(sums, line.low, line.high, line.count, s.out_stride, y);
}

// `count` neighbouring outputs, at most P.
template <int P, Form kForm>
SPARSENET_INLINE void compute_some(int count, const State& s, const Line<kForm>& line, const Cell* x, int8_t* y) {
  if constexpr (P > 1) {
    if (count < P) return compute_some<P - 1, kForm>(count, s, line, x, y);
  }
  compute<P, kForm>(s, line, x, y);
}

template <Form kForm>
void run_as(const State& s, int32_t chunk, void* scratch) {
  const Window& w = s.window;
  const int at = chunk % s.lines, band = chunk / s.lines % s.bands;
  const int64_t image = chunk / s.lines / s.bands;
  const int first = at * kLine, groups = groups_of(w);
  Line<kForm> line;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) line.r[v] = load_requantize<kForm>(s.requantize, first + v * kLanes);
  line.low = splat_8(s.requantize.low);
  line.high = splat_8(s.requantize.high);
  line.weights = s.weights + ptrdiff_t{at} * groups * w.kernel_w * kPositionCells;
  line.bias = s.requantize.bias + first;
  line.count = imin(kLine, s.channels - first);
  line.step = ptrdiff_t{w.stride_w} * kPositionCells;
  line.tap = ptrdiff_t{w.dilation_w} * kPositionCells;
  auto* cells = static_cast<Cell*>(scratch);
  alignas(64) int8_t outside[kLine];
  for (int8_t& byte : outside) byte = static_cast<int8_t>(s.zero);
  const int columns = strip_columns(w);
  const int last = imin((band + 1) * s.rows, s.out_h);
  for (int oy = band * s.rows; oy < last; ++oy) {
    for (int ox = 0; ox < s.out_w; ox += columns) {
      const int some = imin(columns, s.out_w - ox), begin = ox * w.stride_w - w.pad_left;
      const int positions = (some - 1) * w.stride_w + (w.kernel_w - 1) * w.dilation_w + 1;
      line.group = ptrdiff_t{positions} * kPositionCells;
      for (int g = 0; g < groups; ++g) {
        Row rows[kStep];
        const int some_rows = imin(kStep, w.kernel_h - g * kStep);
        for (int k = 0; k < some_rows; ++k) {
          const int y = oy * w.stride_h - w.pad_top + (g * kStep + k) * w.dilation_h;
          const bool inside = y >= 0 && y < s.in_h;
          rows[k] = {inside ? s.in + (image * s.in_h + y) * s.in_w * s.in_stride + first : outside,
                     inside ? s.in_stride : 0};
        }
        Cell* to = cells + g * line.group;
        const auto store = [&](auto kernel) { kernel(s, rows, begin, begin + positions, line.count, outside, to); };
        some_rows == 1   ? store(store_positions<1>)
        : some_rows == 2 ? store(store_positions<2>)
        : some_rows == 3 ? store(store_positions < kStep == 4 ? 3 : kStep >)
                         : store(store_positions<kStep>);
      }
      const Cell* x = cells;
      int8_t* y = s.out + ((image * s.out_h + oy) * s.out_w + ox) * s.out_stride + first;
      const int tile = ceil_div(some, ceil_div(some, kTilePixels));  // tiles of about the same size
      for (int c = 0; c < some; c += tile, x += tile * line.step, y += tile * s.out_stride) {
        compute_some<kTilePixels, kForm>(imin(tile, some - c), s, line, x, y);
      }
    }
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  by_form(s.requantize, [&](auto form) { run_as<decltype(form)::value>(s, chunk, scratch); });
}

}  // namespace

const Kernel kIntegerDepthwiseLines = {
    .name = "conv2d_depthwise_lines_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .types = kInt8,
    .copies_parameters = true,
};

#endif

}  // namespace sparsenet::rt::SPARSENET_ISA
