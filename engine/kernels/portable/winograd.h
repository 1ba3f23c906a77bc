// The two forms of Winograd's minimal filtering that conv_winograd.cpp has, how their work is cut, and which
// convolutions they are for.
#pragma once

#include "kernels/portable/blocking.h"
#include "kernels/portable/tile.h"

namespace sparsenet::rt::SPARSENET_ISA {

// F(4x4, 3x3).
struct Form4 {
  static constexpr int kTile = 4, kWindow = 6, kPlanes = 36;
  // Cycles per vector of channels that the transforms of a tile take, measured on AVX-512.
  static constexpr int kInputCycles = 200, kOutputCycles = 180;
  static constexpr int64_t kMostWeights = 4 << 20;  // bytes
  // The interpolation points are 0, +-kA, +-kB and infinity.
  static constexpr double kA = 5. / 8, kB = 3. / 2;
  static constexpr double kA2 = kA * kA, kB2 = kB * kB;

  // U = G g G^T. The row of G for a point p is (1, p, p^2), divided by the product of the differences between p and the
  // other points.
  static constexpr double kNearA = 1 / (2 * kA2 * (kA2 - kB2)), kNearB = 1 / (2 * kB2 * (kB2 - kA2));
  static constexpr double kG[6][3] = {
      {1 / (kA2 * kB2), 0, 0},           {kNearA, kA* kNearA, kA2* kNearA},  {kNearA, -kA* kNearA, kA2* kNearA},
      {kNearB, kB* kNearB, kB2* kNearB}, {kNearB, -kB* kNearB, kB2* kNearB}, {0, 0, 1}};

  // One dimension of the input transform, B^T d.
  static SPARSENET_INLINE void input(const V d[6], V t[6]) {
    constexpr float a = kA, b = kB, a2 = kA2, b2 = kB2, product = kA2 * kB2, sum = kA2 + kB2;
    const V even_a = d[4] - b2 * d[2], odd_a = d[3] - b2 * d[1];
    const V even_b = d[4] - a2 * d[2], odd_b = d[3] - a2 * d[1];
    t[0] = product * d[0] - sum * d[2] + d[4];
    t[1] = even_a + a * odd_a;
    t[2] = even_a - a * odd_a;
    t[3] = even_b + b * odd_b;
    t[4] = even_b - b * odd_b;
    t[5] = product * d[1] - sum * d[3] + d[5];
  }

  // One dimension of the output transform, A^T m.
  static SPARSENET_INLINE void output(const V m[6], V y[4]) {
    constexpr float a = kA, b = kB, a2 = kA2, b2 = kB2, a3 = kA * kA2, b3 = kB * kB2;
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = a * odd_a + b * odd_b;
    y[2] = a2 * even_a + b2 * even_b;
    y[3] = a3 * odd_a + b3 * odd_b + m[5];
  }
};

// F(2x2, 3x3), whose weights are less than twice as large as the filters, instead of four times.
struct Form2 {
  static constexpr int kTile = 2, kWindow = 4, kPlanes = 16;
  static constexpr int kInputCycles = 70, kOutputCycles = 60;
  static constexpr int64_t kMostWeights = 8 << 20;
  static constexpr double kG[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

  static SPARSENET_INLINE void input(const V d[4], V t[4]) {
    t[0] = d[0] - d[2];
    t[1] = d[1] + d[2];
    t[2] = d[2] - d[1];
    t[3] = d[1] - d[3];
  }
  static SPARSENET_INLINE void output(const V m[4], V y[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
};

SPARSENET_INLINE int round_to_lanes(int c) {
  return ceil_div(c, kLanes) * kLanes;
}

// Rounds up to an odd number of cache lines of 16 floats.
SPARSENET_INLINE int64_t plane(int64_t elements) {
  const int64_t lines = (elements + 15) / 16;
  return (lines | 1) * 16;
}

template <class Form>
int tile_count(const Step& s) {
  return s.out.n * ceil_div(s.out.h, Form::kTile) * ceil_div(s.out.w, Form::kTile);
}

struct Blocking {
  int32_t tiles, blocks, ranges;  // per chunk: tiles, vectors of outputs; ranges of outputs
};

template <class Form>
Blocking blocking_of(const Step& s) {
  const int tiles = tile_count<Form>(s), blocks = ceil_div(s.out.c, kLanes);
  Blocking b;
  // V stays in the second-level cache; full register tiles come first.
  const int64_t fit = caches.second_level / 2 / (int64_t{Form::kPlanes} * 4 * s.in.c);
  int most = fit < kTilePixels2 ? kTilePixels2 : fit > 56 ? 56 : static_cast<int>(fit);
  most = most / kTilePixels2 * kTilePixels2;
  // There should be four chunks. Where there are few tiles and many outputs, ranges of outputs are cut: every range
  // transforms the input again, but each of its weights is read once only.
  const int wanted = tiles >= 4 * kTilePixels2 ? 4 : 2;
  b.tiles = imin(most, ceil_div(tiles, blocks * kLanes >= 128 && wanted == 2 ? 1 : wanted));
  const int chunks = ceil_div(tiles, b.tiles);
  b.tiles = ceil_div(tiles, chunks);
  const int ranges = chunks >= 4 ? 1 : imax(1, imin(ceil_div(4, chunks), blocks * kLanes / 64));
  b.blocks = imin(ceil_div(ceil_div(blocks, ranges), 2) * 2, blocks);
  b.ranges = ceil_div(blocks, b.blocks);
  return b;
}

template <class Form>
int64_t chunk_count(const Step& s) {
  const Blocking b = blocking_of<Form>(s);
  return int64_t{ceil_div(tile_count<Form>(s), b.tiles)} * b.ranges;
}

template <class Form>
int64_t weight_bytes(const Step& s) {
  return Form::kPlanes * packed_elements(s.out.c, s.in.c, 1) * 4;
}

// Bytes per cycle at which weights arrive from beyond the second-level cache.
constexpr double kWeightRate = 12;

// Estimates of cycles. What counts is which one is the smallest.
inline double direct_cycles(const Step& s) {
  const double products = 9. * s.in.c * round_to_lanes(s.out.c);
  return products * (1.1 * s.out.n * s.out.h * s.out.w / (2 * kLanes) + 4 / kWeightRate);
}
template <class Form>
double cycles(const Step& s) {
  const Blocking b = blocking_of<Form>(s);
  const double tiles = tile_count<Form>(s), vectors = ceil_div(s.in.c, kLanes), blocks = ceil_div(s.out.c, kLanes);
  const double products = double{Form::kPlanes} * s.in.c * blocks * kLanes * tiles;
  const double passes = weight_bytes<Form>(s) > caches.second_level / 2 ? ceil_div(tile_count<Form>(s), b.tiles) : 1;
  return 1.2 * products / (2 * kLanes) +
         tiles * (vectors * Form::kInputCycles * b.ranges + blocks * Form::kOutputCycles) +
         passes * static_cast<double>(weight_bytes<Form>(s)) / kWeightRate;
}

// Weights may be large where they are used for many pixels; elsewhere they would take more memory than they are worth,
// unless a session asks for speed at any price (kLarge).
template <class Form, bool kLarge>
bool fits(const Step& s) {
  return tile_count<Form>(s) >= 12 && s.out.h >= Form::kTile && s.out.w >= Form::kTile &&
         chunk_count<Form>(s) < 65000 &&
         (kLarge || weight_bytes<Form>(s) <= Form::kMostWeights || int64_t{s.out.h} * s.out.w >= 784) &&
         cycles<Form>(s) < direct_cycles(s);
}

inline bool is_candidate(const Step& s) {
  // In the forward pass of training, its rounding errors (about 1e-6 of the largest value) would flip more ReLUs near
  // zero than the gradients tolerate. In the backward pass there is nothing to flip.
  return s.op == StepOp::kConv && s.window.kernel_h == 3 && s.window.kernel_w == 3 && s.window.stride_h == 1 &&
         s.window.stride_w == 1 && s.window.dilation_h == 1 && s.window.dilation_w == 1 && s.conv.groups == 1 &&
         s.out.segment_count == 1 && s.in2.segment_count <= 1 && s.in.c >= 16 && s.out.c >= 8 &&
         !(s.conv.variable && !s.conv.transposed);
}

template <bool kLarge>
bool prefers_form4(const Step& s) {
  return is_candidate(s) && fits<Form4, kLarge>(s) && !(fits<Form2, kLarge>(s) && cycles<Form2>(s) < cycles<Form4>(s));
}
template <bool kLarge>
bool prefers_form2(const Step& s) {
  return is_candidate(s) && fits<Form2, kLarge>(s) && !prefers_form4<kLarge>(s);
}

}  // namespace sparsenet::rt::SPARSENET_ISA
