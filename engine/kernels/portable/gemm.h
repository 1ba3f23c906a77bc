// The register tile that every convolution kernel is built on.
//
//   y[p][o] = bounded(bias[o] + residual[p][o] +
//                     sum over runs r and elements e of x[p][r * run_stride + e] * w[o][r * run_length + e])
//
// for R x Q pixels p and B vectors of output channels o. Weights are packed as [block of kLanes outputs][r, e][kLanes],
// with the last block padded with zeros, so the inner loop loads B weight vectors and R * Q broadcast inputs for
// R * Q * B multiply-adds.
#pragma once

#include "kernels/portable/activation.h"
#include "kernels/portable/simd.h"

namespace sparsenet::rt::SPARSENET_ISA {

struct GemmShape {
  ptrdiff_t pixel_stride;  // x, elements between neighbouring pixels of a row
  ptrdiff_t row_stride;    // x, between rows of pixels (R > 1)
  int32_t runs;            // the number of pieces of a pixel's operand
  ptrdiff_t run_stride;    // x, between the pieces
  int32_t run_length;      // elements of a piece
  ptrdiff_t out_pixel_stride, out_row_stride;
  ptrdiff_t residual_pixel_stride, residual_row_stride;
  int32_t outputs;  // all output channels; the last block may be partly filled
  int32_t partial;  // elements summed before the sum is added to the tile's total; 0: one sum from start to end
};

// Elements of a partial sum. The rounding error of one long sum grows with the square root of its length; sums of 64
// elements and their total have half of that error at 512 elements. The price is a load, an addition and a store per
// sum.
constexpr int kPartialSum = 64;

struct Epilogue {
  const float* bias;  // padded to whole blocks; null: plain products (Winograd)
  float low, high;    // bounds; infinities for none
};

// The bounds of an activation, or none if the activation runs in a pass of its own.
SPARSENET_INLINE Epilogue epilogue_of(const float* bias, const Act& act) {
  const bool bounds = act.kind == Act::kClamp;
  return {bias, bounds ? act.low : -INFINITY, bounds ? act.high : INFINITY};
}

// The sums of a tiny tile are fewer than 8 independent chains of additions; such tiles split every sum into several
// partial sums.
template <int kTile>
constexpr int split_of() {
  return kTile >= 8 ? 1 : kTile >= 4 ? 2 : kTile >= 2 ? 4 : 8;
}

template <int R, int Q, int B>
__attribute__((noinline)) void gemm_tile(const GemmShape& s, const float* x, const float* w, const Epilogue& e,
                                         float* y, const float* residual, int first_output) {
  constexpr int kSplit = split_of<R * Q * B>();
  V acc[kSplit][R * Q][B];
#pragma GCC unroll 32
  for (int u = 0; u < kSplit; ++u) {
#pragma GCC unroll 32
    for (int p = 0; p < R * Q; ++p) {
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) acc[u][p][b] = V{};
    }
  }
  const ptrdiff_t block = static_cast<ptrdiff_t>(s.runs) * s.run_length * kLanes;
  const ptrdiff_t ps = s.pixel_stride, rs = s.row_stride;
  const int32_t longest = s.partial ? s.partial : s.run_length;
  int32_t summed = 0;  // elements in acc[0]
  bool totalled = false;
  V total[R * Q][B];  // in memory, because acc takes the registers
  for (int32_t r = 0; r < s.runs; ++r) {
    const float* xr = x + r * s.run_stride;
    for (int32_t i = 0; i < s.run_length;) {
      if (s.partial && summed >= s.partial) {
#pragma GCC unroll 32
        for (int p = 0; p < R * Q; ++p) {
#pragma GCC unroll 8
          for (int b = 0; b < B; ++b) {
            total[p][b] = totalled ? total[p][b] + acc[0][p][b] : acc[0][p][b];
            acc[0][p][b] = V{};
          }
        }
        totalled = true;
        summed = 0;
      }
      const int32_t end = imin(i + longest, s.run_length);
      summed += end - i;
      for (; i + kSplit <= end; i += kSplit) {
#pragma GCC unroll 32
        for (int u = 0; u < kSplit; ++u) {
          V wv[B];
#pragma GCC unroll 8
          for (int b = 0; b < B; ++b) wv[b] = load(w + b * block + u * kLanes);
#pragma GCC unroll 32
          for (int p = 0; p < R * Q; ++p) {
            const float xv = xr[(p / Q) * rs + (p % Q) * ps + i + u];
#pragma GCC unroll 8
            for (int b = 0; b < B; ++b) acc[u][p][b] += xv * wv[b];
          }
        }
        w += kSplit * kLanes;
      }
      for (; i < end; ++i, w += kLanes) {
#pragma GCC unroll 32
        for (int p = 0; p < R * Q; ++p) {
          const float xv = xr[(p / Q) * rs + (p % Q) * ps + i];
#pragma GCC unroll 8
          for (int b = 0; b < B; ++b) acc[0][p][b] += xv * load(w + b * block);
        }
      }
    }
  }
  const bool partial = first_output + B * kLanes > s.outputs;
  const V low = splat(e.low), high = splat(e.high);
#pragma GCC unroll 32
  for (int p = 0; p < R * Q; ++p) {
    float* yp = y + (p / Q) * s.out_row_stride + (p % Q) * s.out_pixel_stride;
    const float* rp = residual + (residual ? (p / Q) * s.residual_row_stride + (p % Q) * s.residual_pixel_stride : 0);
#pragma GCC unroll 8
    for (int b = 0; b < B; ++b) {
      V v = totalled ? total[p][b] + acc[0][p][b] : acc[0][p][b];
#pragma GCC unroll 32
      for (int u = 1; u < kSplit; ++u) v += acc[u][p][b];
      const int lanes = partial ? imin(kLanes, s.outputs - first_output - b * kLanes) : kLanes;
      if (e.bias) {
        v += load(e.bias + first_output + b * kLanes);
        if (residual) v += load_first(rp + b * kLanes, lanes);
        v = bounded(v, low, high);
      }
      if (partial) {
        store_first(yp + b * kLanes, v, lanes);
      } else {
        store(yp + b * kLanes, v);
      }
    }
  }
}

// Computes tiles of Q pixels, from pixel p of a row of `count` on, while whole ones are left. Returns the next pixel.
template <int B, int Q>
SPARSENET_INLINE int gemm_row_tiles(const GemmShape& s, const float* x, const float* w, const Epilogue& e, float* y,
                                    const float* residual, int first_output, int p, int count) {
  for (; p + Q <= count; p += Q) {
    gemm_tile<1, Q, B>(s, x + p * s.pixel_stride, w, e, y + p * s.out_pixel_stride,
                       residual ? residual + p * s.residual_pixel_stride : nullptr, first_output);
  }
  return p;
}

// All pixels of one row (count of them) for B blocks from `first_output` on, in tiles as large as the registers allow.
template <int B>
inline void gemm_row(const GemmShape& s, const float* x, const float* w, const Epilogue& e, float* y,
                     const float* residual, int first_output, int count) {
  constexpr int kFull = kAccumulators / B;
  int p = gemm_row_tiles<B, kFull>(s, x, w, e, y, residual, first_output, 0, count);
  if constexpr (kFull > 16) p = gemm_row_tiles<B, 16>(s, x, w, e, y, residual, first_output, p, count);
  if constexpr (kFull > 8) p = gemm_row_tiles<B, 8>(s, x, w, e, y, residual, first_output, p, count);
  if constexpr (kFull > 4) p = gemm_row_tiles<B, 4>(s, x, w, e, y, residual, first_output, p, count);
  if constexpr (kFull > 2) p = gemm_row_tiles<B, 2>(s, x, w, e, y, residual, first_output, p, count);
  gemm_row_tiles<B, 1>(s, x, w, e, y, residual, first_output, p, count);
}

// Rows of `count` pixels each. With one block of outputs and rows of 8 pixels, two rows share a tile, so that there are
// enough independent sums.
template <int B>
inline void gemm_rows(const GemmShape& s, const float* x, const float* w, const Epilogue& e, float* y,
                      const float* residual, int first_output, int rows, int count) {
  int r = 0;
  if constexpr (B == 1 && kAccumulators >= 16) {
    if (count == 8) {
      for (; r + 2 <= rows; r += 2) {
        gemm_tile<2, 8, 1>(s, x + r * s.row_stride, w, e, y + r * s.out_row_stride,
                           residual ? residual + r * s.residual_row_stride : nullptr, first_output);
      }
    }
  }
  for (; r < rows; ++r) {
    gemm_row<B>(s, x + r * s.row_stride, w, e, y + r * s.out_row_stride,
                residual ? residual + r * s.residual_row_stride : nullptr, first_output, count);
  }
}

// Blocks of output channels that one register tile takes at once.
constexpr int kMaxBlocks = kAccumulators == 24 ? 4 : 2;

// How many of `left` blocks the next tile takes. The shares are even, so that five blocks become three and two.
SPARSENET_INLINE int next_blocks(int left) {
  const int tiles = ceil_div(left, kMaxBlocks);
  return ceil_div(left, tiles);
}

// All output channels of rows x count pixels; `w` is the whole packed matrix.
inline void gemm_all(const GemmShape& s, const float* x, const float* w, const Epilogue& e, float* y,
                     const float* residual, int rows, int count) {
  const ptrdiff_t block = static_cast<ptrdiff_t>(s.runs) * s.run_length * kLanes;
  const int blocks = ceil_div(s.outputs, kLanes);
  for (int b = 0; b < blocks;) {
    const int take = next_blocks(blocks - b);
    const int first = b * kLanes;
    const float* wb = w + b * block;
    const float* rb = residual ? residual + first : nullptr;
    switch (take) {
      case 1:
        gemm_rows<1>(s, x, wb, e, y + first, rb, first, rows, count);
        break;
      case 2:
        gemm_rows<2>(s, x, wb, e, y + first, rb, first, rows, count);
        break;
      case 3:
        if constexpr (kMaxBlocks > 2) gemm_rows<3>(s, x, wb, e, y + first, rb, first, rows, count);
        break;
      default:
        if constexpr (kMaxBlocks > 2) gemm_rows<4>(s, x, wb, e, y + first, rb, first, rows, count);
        break;
    }
    b += take;
  }
}

// Where a convolution's parameters come from: the weight for output o, input i and tap t of a group is at
// weight[first + o * out + i * in + t * tap].
struct Parameters {
  const float* weight;
  const float* bias;
  ptrdiff_t out, in, tap, first;
  int32_t outputs, inputs, taps;  // of one group
};

SPARSENET_INLINE Parameters parameters_of(const Step& s) {
  const int32_t outputs = s.out.c / s.conv.groups, inputs = s.in.c / s.conv.groups,
                taps = s.window.kernel_h * s.window.kernel_w;
  if (s.conv.transposed) {
    return {
        s.conv.weight.f32(), s.conv.bias.f32(), taps, ptrdiff_t{outputs} * taps, -1, taps - 1, outputs, inputs, taps};
  }
  return {s.conv.weight.f32(), s.conv.bias.f32(), ptrdiff_t{inputs} * taps, taps, 1, 0, outputs, inputs, taps};
}

// Packs the weights of one group as gemm_tile reads them, channels innermost: [block][tap][input][kLanes]. Each of
// `parts` parts packs a range of the inputs.
inline void pack_weights(const Parameters& p, int group, float* packed, int part, int parts) {
  const float* weight = p.weight + ptrdiff_t{group} * p.outputs * p.inputs * p.taps + p.first;
  const int begin = static_cast<int>(int64_t{p.inputs} * part / parts);
  const int end = static_cast<int>(int64_t{p.inputs} * (part + 1) / parts);
  for (int o = 0; o < p.outputs; ++o) {
    float* block = packed + static_cast<ptrdiff_t>(o / kLanes) * p.taps * p.inputs * kLanes + o % kLanes;
    for (int i = begin; i < end; ++i) {
      const float* w = weight + o * p.out + i * p.in;
      for (int t = 0; t < p.taps; ++t) block[(static_cast<ptrdiff_t>(t) * p.inputs + i) * kLanes] = w[t * p.tap];
    }
  }
}

inline void pack_bias(const Parameters& p, int group, float* packed) {
  if (p.bias) {
    memcpy(packed, p.bias + ptrdiff_t{group} * p.outputs, static_cast<size_t>(p.outputs) * sizeof(float));
  } else {
    memset(packed, 0, static_cast<size_t>(p.outputs) * sizeof(float));
  }
}

SPARSENET_INLINE int64_t packed_elements(int outputs, int inputs, int taps) {
  return int64_t{ceil_div(outputs, kLanes)} * kLanes * inputs * taps;
}

}  // namespace sparsenet::rt::SPARSENET_ISA
