// 3x3 convolution of stride 1 by Winograd's minimal filtering F(4x4, 3x3): 36 products per input channel for 16 outputs
// instead of 144. The construction is that of A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks"
// (arXiv 1509.09308), which takes the interpolation points 0, +-1, +-2. Rounding errors depend on the points (B.
// Barabasz, A. Anderson, K. Soodhalter, D. Gregg, arXiv 1803.10986): with 0, +-5/8, +-3/2 they are half as large, and
// the transforms' coefficients are still exact in float32.
//
// A chunk is a run of 4x4 output tiles, which may belong to several images. Each chunk has in its scratch:
//   V[f][tile][c]  the 36 transformed input values. The affine in front and the padding are applied, and channel ranges
//                  gathered, on the way in.
//   M[f][tile][o]  36 small matrix products V[f] U[f]
// The inverse transform adds the bias and applies the bounds on the way out. Planes V[f] lie an odd number of cache
// lines apart: a power of two would send the 36 stores of a transform to the same cache set.
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kTile = 4, kWindow = 6, kPlanes = 36;

// The interpolation points are 0, +-kA, +-kB and infinity.
constexpr double kA = 5. / 8, kB = 3. / 2;
constexpr double kA2 = kA * kA, kB2 = kB * kB;

struct State {
  Source source;
  GemmShape shape;
  Act act;
  float low, high;
  Parameters parameters;
  float* weights;  // [36][block][c][kLanes]
  float* bias;
  float* out;
  ptrdiff_t out_stride;
  const float* residual;
  ptrdiff_t residual_stride;
  int32_t h, w, oh, ow, c, o, pad_top, pad_left;
  int32_t tiles_y, tiles_x, tiles, chunk_tiles;
  ptrdiff_t v_plane, m_plane, u_plane, m_stride;
};

int tile_count(const Step& s) {
  return s.out.n * ceil_div(s.out.h, kTile) * ceil_div(s.out.w, kTile);
}

// Tiles per chunk: enough for full register tiles, few enough for V to stay in the second-level cache.
int chunk_tiles(const Step& s) {
  const int tiles = tile_count(s);
  const int64_t fit = 160 * 1024 / (int64_t{kPlanes} * 4 * imax(s.in.c, 1));
  const int n = fit >= 24 ? 24 : fit >= 16 ? 16 : 8;
  const int even = ceil_div(tiles, 2);  // at least two chunks; more would read the weights more often
  return imax(imin(n, even), imin(tiles, 4));
}

int round_lanes(int c) {
  return ceil_div(c, kLanes) * kLanes;
}

// Rounds up to an odd number of cache lines of 16 floats.
int64_t plane(int64_t elements) {
  const int64_t lines = (elements + 15) / 16;
  return (lines | 1) * 16;
}

bool supports(const Step& s) {
  if (!(s.op == StepOp::kConv && s.window.kernel_h == 3 && s.window.kernel_w == 3 && s.window.stride_h == 1 &&
        s.window.stride_w == 1 && s.window.dilation_h == 1 && s.window.dilation_w == 1 && s.conv.groups == 1 &&
        s.out.segment_count == 1 && s.in2.segment_count <= 1 && s.in.c >= 16 && s.out.c >= 8)) {
    return false;
  }
  // In the forward pass of training, its rounding errors (about 1e-6 of the largest value) would flip more ReLUs near
  // zero than the gradients tolerate. In the backward pass there is nothing to flip.
  if (s.conv.variable && !s.conv.transposed) return false;
  // With few tiles it does not pay to read weights that are four times larger.
  return tile_count(s) >= 12 && tile_count(s) / chunk_tiles(s) < 65000 && s.out.h >= 4 && s.out.w >= 4;
}

void query(const Step& s, KernelNeeds* needs) {
  const int t = chunk_tiles(s);
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes = static_cast<uint64_t>(kPlanes * packed_elements(s.out.c, s.in.c, 1) + round_lanes(s.out.c)) * 4;
  needs->scratch_bytes =
      static_cast<uint64_t>(kPlanes * (plane(int64_t{t} * s.in.c) + plane(int64_t{t} * round_lanes(s.out.c)))) * 4;
  needs->chunks = ceil_div(tile_count(s), t);
}

// U = G g G^T for one 3x3 filter. The row of G for a point p is (1, p, p^2), divided by the product of the differences
// between p and the other points.
void transform_filter(const float g[9], float u[kPlanes]) {
  constexpr double kNearA = 1 / (2 * kA2 * (kA2 - kB2)), kNearB = 1 / (2 * kB2 * (kB2 - kA2));
  static const double kG[6][3] = {{1 / (kA2 * kB2), 0, 0},
                                  {kNearA, kA * kNearA, kA2 * kNearA},
                                  {kNearA, -kA * kNearA, kA2 * kNearA},
                                  {kNearB, kB * kNearB, kB2 * kNearB},
                                  {kNearB, -kB * kNearB, kB2 * kNearB},
                                  {0, 0, 1}};
  double t[6][3];
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 3; ++j) {
      t[i][j] = kG[i][0] * double{g[j]} + kG[i][1] * double{g[3 + j]} + kG[i][2] * double{g[6 + j]};
    }
  }
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      u[i * 6 + j] = static_cast<float>(t[i][0] * kG[j][0] + t[i][1] * kG[j][1] + t[i][2] * kG[j][2]);
    }
  }
}

void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  const Parameters& p = s.parameters;
  const int begin = static_cast<int>(int64_t{p.inputs} * part / parts);
  const int end = static_cast<int>(int64_t{p.inputs} * (part + 1) / parts);
  for (int o = 0; o < p.outputs; ++o) {
    for (int c = begin; c < end; ++c) {
      float g[9], u[kPlanes];
      const float* w = p.weight + p.first + o * p.out + c * p.in;
      for (int t = 0; t < 9; ++t) g[t] = w[t * p.tap];
      transform_filter(g, u);
      float* at = s.weights + (ptrdiff_t{o} / kLanes * s.c + c) * kLanes + o % kLanes;
      for (int f = 0; f < kPlanes; ++f) at[f * s.u_plane] = u[f];
    }
  }
  if (part == 0) pack_bias(p, 0, s.bias);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->act = step.act;
  const Epilogue e = epilogue_of(nullptr, step.act);
  s->low = e.low;
  s->high = e.high;
  s->c = step.in.c;
  s->o = step.out.c;
  s->h = step.in.h;
  s->w = step.in.w;
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->pad_top = step.window.pad_top;
  s->pad_left = step.window.pad_left;
  s->tiles_y = ceil_div(s->oh, kTile);
  s->tiles_x = ceil_div(s->ow, kTile);
  s->tiles = tile_count(step);
  s->chunk_tiles = chunk_tiles(step);
  s->m_stride = round_lanes(s->o);
  s->v_plane = static_cast<ptrdiff_t>(plane(int64_t{s->chunk_tiles} * s->c));
  s->m_plane = static_cast<ptrdiff_t>(plane(int64_t{s->chunk_tiles} * s->m_stride));
  s->u_plane = static_cast<ptrdiff_t>(packed_elements(s->o, s->c, 1));
  s->out = dense_pointer(step.out, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual = dense_pointer(step.in2, place.arena);
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  s->bias = place.weights + kPlanes * s->u_plane;
  refresh(s, 0, 1);
  GemmShape& g = s->shape;
  g.pixel_stride = s->c;
  g.runs = 1;
  g.run_length = s->c;
  g.out_pixel_stride = s->m_stride;
  g.outputs = static_cast<int32_t>(s->m_stride);
  g.partial = kPartialSum;
  return nullptr;
}

// One dimension of the input transform, B^T d.
SPARSENET_INLINE void transform_input(const V d[6], V t[6]) {
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
SPARSENET_INLINE void transform_output(const V m[6], V y[4]) {
  constexpr float a = kA, b = kB, a2 = kA2, b2 = kB2, a3 = kA * kA2, b3 = kB * kB2;
  const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + even_a + even_b;
  y[1] = a * odd_a + b * odd_b;
  y[2] = a2 * even_a + b2 * even_b;
  y[3] = a3 * odd_a + b3 * odd_b + m[5];
}

struct TilePlace {
  int32_t image, y, x;  // of the first output pixel
};

SPARSENET_INLINE TilePlace place(const State& s, int32_t tile) {
  const int32_t per_image = s.tiles_y * s.tiles_x;
  const int32_t rest = tile % per_image;
  return {tile / per_image, rest / s.tiles_x * kTile, rest % s.tiles_x * kTile};
}

// Transforms one vector of channels of one tile. `base` points to these channels in the first pixel of the image.
template <Pre kPre, bool kPartial>
SPARSENET_INLINE void input_tile(const State& s, const TilePlace& at, const float* base, ptrdiff_t stride, V scale,
                                 V shift, V low, V high, int lanes, float* v) {
  const int y0 = at.y - s.pad_top, x0 = at.x - s.pad_left;
  V t[6][6];
  if (!kPartial && y0 >= 0 && x0 >= 0 && y0 + kWindow <= s.h && x0 + kWindow <= s.w) {
    const float* p = base + (ptrdiff_t{y0} * s.w + x0) * stride;
    const ptrdiff_t row = s.w * stride;
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      V d[6];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) d[i] = apply_pre<kPre>(load(p + i * row + j * stride), scale, shift, low, high);
      V column[6];
      transform_input(d, column);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) t[i][j] = column[i];
    }
  } else {
    for (int j = 0; j < 6; ++j) {
      V d[6];
      const int x = x0 + j;
      for (int i = 0; i < 6; ++i) {
        const int y = y0 + i;
        if (y < 0 || y >= s.h || x < 0 || x >= s.w) {
          d[i] = V{};
        } else {
          const float* p = base + (ptrdiff_t{y} * s.w + x) * stride;
          d[i] = apply_pre<kPre>(kPartial ? load_first(p, lanes) : load(p), scale, shift, low, high);
        }
      }
      V column[6];
      transform_input(d, column);
      for (int i = 0; i < 6; ++i) t[i][j] = column[i];
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    V row[6];
    transform_input(t[i], row);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      float* to = v + (i * 6 + j) * s.v_plane;
      if (kPartial) {
        store_first(to, row[j], lanes);
      } else {
        store(to, row[j]);
      }
    }
  }
}

template <Pre kPre>
__attribute__((noinline)) void input_transform(const State& s, int32_t first, int32_t count, float* v) {
  const V low = splat(s.source.low), high = splat(s.source.high);
  const ptrdiff_t image = ptrdiff_t{s.h} * s.w;
  for_each_vector<kPre>(s.source, [&](const ChannelVector& from) {
    for (int32_t t = 0; t < count; ++t) {
      const TilePlace at = place(s, first + t);
      const float* base = from.base + at.image * image * from.stride;
      float* to = v + ptrdiff_t{t} * s.c + from.channel;
      if (from.lanes == kLanes) {
        input_tile<kPre, false>(s, at, base, from.stride, from.scale, from.shift, low, high, from.lanes, to);
      } else {
        input_tile<kPre, true>(s, at, base, from.stride, from.scale, from.shift, low, high, from.lanes, to);
      }
    }
  });
}

__attribute__((noinline)) void output_transform(const State& s, int32_t first, int32_t count, const float* m) {
  const V low = splat(s.low), high = splat(s.high);
  for (int o = 0; o < s.o; o += kLanes) {
    const int lanes = imin(kLanes, s.o - o);
    const V bias = load(s.bias + o);
    for (int32_t t = 0; t < count; ++t) {
      const TilePlace at = place(s, first + t);
      const float* from = m + t * s.m_stride + o;
      V rows[4][6];
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) {
        V column[6], y[4];
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) column[i] = load(from + (i * 6 + j) * s.m_plane);
        transform_output(column, y);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) rows[i][j] = y[i];
      }
      const ptrdiff_t pixel = (ptrdiff_t{at.image} * s.oh + at.y) * s.ow + at.x;
      const int ny = imin(kTile, s.oh - at.y), nx = imin(kTile, s.ow - at.x);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        V y[4];
        transform_output(rows[i], y);
        if (i >= ny) continue;
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          if (j >= nx) continue;
          const ptrdiff_t p = pixel + ptrdiff_t{i} * s.ow + j;
          V value = y[j] + bias;
          if (s.residual) value += load_first(s.residual + p * s.residual_stride + o, lanes);
          value = bounded(value, low, high);
          float* to = s.out + p * s.out_stride + o;
          if (lanes == kLanes) {
            store(to, value);
          } else {
            store_first(to, value, lanes);
          }
        }
      }
      if (s.act.kind != Act::kClamp && o + kLanes >= s.o) {
        activate_rows(s.act, s.out + pixel * s.out_stride, s.ow * s.out_stride, s.out_stride, ny, nx, s.o);
      }
    }
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const int32_t first = chunk * s.chunk_tiles;
  const int32_t count = imin(s.chunk_tiles, s.tiles - first);
  auto* v = static_cast<float*>(scratch);
  float* m = v + kPlanes * s.v_plane;
  by_pre(s.source, [&](auto pre) { input_transform<decltype(pre)::value>(s, first, count, v); });
  const Epilogue none{nullptr, 0, 0};
  for (int f = 0; f < kPlanes; ++f) {
    gemm_all(s.shape, v + f * s.v_plane, s.weights + f * s.u_plane, none, m + f * s.m_plane, nullptr, 1, count);
  }
  output_transform(s, first, count, m);
}

}  // namespace

const Kernel kConvWinograd4 = {
    .name = "conv2d_winograd4_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
    .refresh = refresh,
    .copies_parameters = true,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
