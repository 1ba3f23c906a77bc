// 3x3 convolution of stride 1 by Winograd's minimal filtering F(m x m, 3x3): (m + 2)^2 products per input channel for
// m^2 outputs instead of 9 m^2. The construction is that of A. Lavin, S. Gray, "Fast Algorithms for Convolutional
// Neural Networks" (arXiv 1509.09308). For m = 4 it takes the interpolation points 0, +-1, +-2; rounding errors depend
// on the points (B. Barabasz, A. Anderson, K. Soodhalter, D. Gregg, arXiv 1803.10986): with 0, +-5/8, +-3/2 they are
// half as large, and the transforms' coefficients are still exact in float32. For m = 2 the points are 0, +-1.
//
// A chunk is a run of tiles of m x m output pixels, which may belong to several images, and a range of outputs. It has
// in its scratch:
//   V[f]  a panel (tile.h) of the tiles for each of the (m + 2)^2 products. The affine in front and the padding are
//         applied, and channel ranges gathered, on the way in.
//   M[f]  [tile][output]: the matrix products V[f] U[f]. Their sums are taken over kPanelChannels channels at a time.
// The inverse transform adds the bias and applies the bounds on the way out. Planes V[f] lie an odd number of cache
// lines apart: a power of two would send all stores of a transform to the same cache set.
#include "kernels/portable/portable.h"
#include "kernels/portable/tile.h"
#include "kernels/portable/winograd.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  Source source;
  TileShape shape;
  Act act;
  float low, high;
  Parameters parameters;
  float* weights;  // [plane][block][c][kLanes]
  float* bias;
  float* zeros;  // a bias for the products
  float* out;
  ptrdiff_t out_stride;
  const float* residual;
  ptrdiff_t residual_stride;
  int32_t h, w, oh, ow, c, o, pad_top, pad_left;
  int32_t tiles_y, tiles_x, tiles, chunk_tiles, chunk_blocks, blocks, ranges;
  ptrdiff_t v_block, v_plane, m_plane, m_stride, u_plane;
};

template <class Form>
void query(const Step& s, KernelNeeds* needs) {
  const Blocking b = blocking_of<Form>(s);
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes =
      static_cast<uint64_t>(weight_bytes<Form>(s)) + static_cast<uint64_t>(round_to_lanes(s.out.c)) * 8;
  needs->scratch_bytes =
      static_cast<uint64_t>(Form::kPlanes * (plane(int64_t{b.tiles} * panel_blocks(s.in.c) * kPanelChannels) +
                                             plane(int64_t{b.tiles} * b.blocks * kLanes))) *
      4;
  needs->chunks = static_cast<int32_t>(chunk_count<Form>(s));
}

// U for one 3x3 filter.
template <class Form>
void transform_filter(const float g[9], float u[]) {
  double t[Form::kWindow][3];
  for (int i = 0; i < Form::kWindow; ++i) {
    for (int j = 0; j < 3; ++j) {
      t[i][j] = Form::kG[i][0] * double{g[j]} + Form::kG[i][1] * double{g[3 + j]} + Form::kG[i][2] * double{g[6 + j]};
    }
  }
  for (int i = 0; i < Form::kWindow; ++i) {
    for (int j = 0; j < Form::kWindow; ++j) {
      const double sum = t[i][0] * Form::kG[j][0] + t[i][1] * Form::kG[j][1] + t[i][2] * Form::kG[j][2];
      u[i * Form::kWindow + j] = static_cast<float>(sum);
    }
  }
}

template <class Form>
void refresh(const void* memory, int32_t part, int32_t parts) {
  const auto& s = *static_cast<const State*>(memory);
  const Parameters& p = s.parameters;
  const int begin = static_cast<int>(int64_t{p.inputs} * part / parts);
  const int end = static_cast<int>(int64_t{p.inputs} * (part + 1) / parts);
  for (int o = 0; o < p.outputs; ++o) {
    for (int c = begin; c < end; ++c) {
      float g[9], u[Form::kPlanes];
      const float* w = p.weight + p.first + o * p.out + c * p.in;
      for (int t = 0; t < 9; ++t) g[t] = w[t * p.tap];
      transform_filter<Form>(g, u);
      float* at = s.weights + (ptrdiff_t{o} / kLanes * s.c + c) * kLanes + o % kLanes;
      for (int f = 0; f < Form::kPlanes; ++f) at[f * s.u_plane] = u[f];
    }
  }
  if (part != 0) return;
  pack_bias(p, 0, s.bias);
  memset(s.zeros, 0, static_cast<size_t>(round_to_lanes(s.o)) * sizeof(float));
}

template <class Form>
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
  s->tiles_y = ceil_div(s->oh, Form::kTile);
  s->tiles_x = ceil_div(s->ow, Form::kTile);
  s->tiles = tile_count<Form>(step);
  const Blocking b = blocking_of<Form>(step);
  s->chunk_tiles = b.tiles;
  s->chunk_blocks = b.blocks;
  s->ranges = b.ranges;
  s->blocks = ceil_div(s->o, kLanes);
  s->m_stride = ptrdiff_t{b.blocks} * kLanes;
  s->v_block = ptrdiff_t{b.tiles} * kPanelChannels;
  s->v_plane = static_cast<ptrdiff_t>(plane(panel_blocks(s->c) * s->v_block));
  s->m_plane = static_cast<ptrdiff_t>(plane(b.tiles * s->m_stride));
  s->u_plane = static_cast<ptrdiff_t>(packed_elements(s->o, s->c, 1));
  s->out = dense_pointer(step.out, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual = dense_pointer(step.in2, place.arena);
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  s->parameters = parameters_of(step);
  s->weights = place.weights;
  s->bias = place.weights + Form::kPlanes * s->u_plane;
  s->zeros = s->bias + round_to_lanes(s->o);
  refresh<Form>(s, 0, 1);
  TileShape& t = s->shape;
  t.run_count = 1;
  t.block = ptrdiff_t{s->c} * kLanes;
  t.out_stride = s->m_stride;
  t.residual_stride = s->m_stride;
  t.epilogue = epilogue_of(s->zeros, Act{Act::kClamp, -INFINITY, INFINITY, 0, 0});
  return nullptr;
}

struct TilePlace {
  int32_t image, y, x;  // of the first output pixel
};

template <class Form>
SPARSENET_INLINE TilePlace place(const State& s, int32_t tile) {
  const int32_t per_image = s.tiles_y * s.tiles_x;
  const int32_t rest = tile % per_image;
  return {tile / per_image, rest / s.tiles_x * Form::kTile, rest % s.tiles_x * Form::kTile};
}

// Transforms one vector of channels of one tile. `base` points to these channels in the first pixel of the image.
template <class Form, Pre kPre, bool kPartial>
SPARSENET_INLINE void input_tile(const State& s, const TilePlace& at, const float* base, ptrdiff_t stride, V scale,
                                 V shift, V low, V high, int lanes, float* v) {
  constexpr int n = Form::kWindow;
  const int y0 = at.y - s.pad_top, x0 = at.x - s.pad_left;
  V t[n][n];
  if (!kPartial && y0 >= 0 && x0 >= 0 && y0 + n <= s.h && x0 + n <= s.w) {
    const float* p = base + (ptrdiff_t{y0} * s.w + x0) * stride;
    const ptrdiff_t row = s.w * stride;
#pragma GCC unroll 6
    for (int j = 0; j < n; ++j) {
      V d[n];
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) d[i] = apply_pre<kPre>(load(p + i * row + j * stride), scale, shift, low, high);
      V column[n];
      Form::input(d, column);
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) t[i][j] = column[i];
    }
  } else {
    for (int j = 0; j < n; ++j) {
      V d[n];
      const int x = x0 + j;
      for (int i = 0; i < n; ++i) {
        const int y = y0 + i;
        if (y < 0 || y >= s.h || x < 0 || x >= s.w) {
          d[i] = V{};
        } else {
          const float* p = base + (ptrdiff_t{y} * s.w + x) * stride;
          d[i] = apply_pre<kPre>(kPartial ? load_first(p, lanes) : load(p), scale, shift, low, high);
        }
      }
      V column[n];
      Form::input(d, column);
      for (int i = 0; i < n; ++i) t[i][j] = column[i];
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < n; ++i) {
    V row[n];
    Form::input(t[i], row);
#pragma GCC unroll 6
    for (int j = 0; j < n; ++j) {
      float* to = v + (i * n + j) * s.v_plane;
      if (kPartial) {
        store_first(to, row[j], lanes);
      } else {
        store(to, row[j]);
      }
    }
  }
}

template <class Form, Pre kPre>
__attribute__((noinline)) void input_transform(const State& s, int32_t first, int32_t count, float* v) {
  const V low = splat(s.source.low), high = splat(s.source.high);
  const ptrdiff_t image = ptrdiff_t{s.h} * s.w;
  for_each_vector<kPre, kPanelChannels>(s.source, [&](const ChannelVector& from) {
    float* to = v + from.channel / kPanelChannels * s.v_block + from.channel % kPanelChannels;
    for (int32_t t = 0; t < count; ++t, to += kPanelChannels) {
      const TilePlace at = place<Form>(s, first + t);
      const float* base = from.base + at.image * image * from.stride;
      if (from.lanes == kLanes) {
        input_tile<Form, kPre, false>(s, at, base, from.stride, from.scale, from.shift, low, high, from.lanes, to);
      } else {
        input_tile<Form, kPre, true>(s, at, base, from.stride, from.scale, from.shift, low, high, from.lanes, to);
      }
    }
  });
}

// The products of all planes, for the vectors [begin, begin + blocks) of outputs.
template <class Form>
__attribute__((noinline)) void multiply(const State& s, int32_t count, int32_t begin, int32_t blocks, const float* v,
                                        float* m) {
  TileShape shape = s.shape;
  shape.outputs = blocks * kLanes;
  Run run{0, 0};
  shape.runs = &run;
  for (int f = 0; f < Form::kPlanes; ++f, v += s.v_plane, m += s.m_plane) {
    const float* w = s.weights + f * s.u_plane + begin * shape.block;
    for (int c = 0; c < s.c; c += kPanelChannels) {
      run.length = imin(kPanelChannels, s.c - c);
      tile_matrix(shape, v + c / kPanelChannels * s.v_block, w + ptrdiff_t{c} * kLanes, m, c == 0 ? nullptr : m, 1,
                  count, 0, blocks);
    }
  }
}

// Outputs of the vectors [begin, begin + blocks).
template <class Form>
__attribute__((noinline)) void output_transform(const State& s, int32_t first, int32_t count, int32_t begin,
                                                int32_t blocks, const float* m) {
  constexpr int n = Form::kWindow, k = Form::kTile;
  const V low = splat(s.low), high = splat(s.high);
  const int end = imin((begin + blocks) * kLanes, s.o);
  for (int o = begin * kLanes; o < end; o += kLanes) {
    const int lanes = imin(kLanes, s.o - o);
    const V bias = load(s.bias + o);
    for (int32_t t = 0; t < count; ++t) {
      const TilePlace at = place<Form>(s, first + t);
      const float* from = m + t * s.m_stride + (o - begin * kLanes);
      V rows[k][n];
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) {
        V column[n], y[k];
#pragma GCC unroll 6
        for (int i = 0; i < n; ++i) column[i] = load(from + (i * n + j) * s.m_plane);
        Form::output(column, y);
#pragma GCC unroll 4
        for (int i = 0; i < k; ++i) rows[i][j] = y[i];
      }
      const ptrdiff_t pixel = (ptrdiff_t{at.image} * s.oh + at.y) * s.ow + at.x;
      const int ny = imin(k, s.oh - at.y), nx = imin(k, s.ow - at.x);
#pragma GCC unroll 4
      for (int i = 0; i < k; ++i) {
        V y[k];
        Form::output(rows[i], y);
        if (i >= ny) continue;
#pragma GCC unroll 4
        for (int j = 0; j < k; ++j) {
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
      if (s.act.kind != Act::kClamp) {
        activate_rows(s.act, s.out + pixel * s.out_stride + o, s.ow * s.out_stride, s.out_stride, ny, nx, lanes);
      }
    }
  }
}

template <class Form>
void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  const int32_t first = chunk / s.ranges * s.chunk_tiles;
  const int32_t count = imin(s.chunk_tiles, s.tiles - first);
  const int32_t begin = chunk % s.ranges * s.chunk_blocks;
  const int32_t blocks = imin(s.chunk_blocks, s.blocks - begin);
  auto* v = static_cast<float*>(scratch);
  float* m = v + Form::kPlanes * s.v_plane;
  by_pre(s.source, [&](auto pre) { input_transform<Form, decltype(pre)::value>(s, first, count, v); });
  multiply<Form>(s, count, begin, blocks, v, m);
  output_transform<Form>(s, first, count, begin, blocks, m);
}

template <class Form>
constexpr Kernel kernel(const char* name, bool (*supports)(const Step& s)) {
  return {
      .name = name,
      .backend = "portable",
      .supports = supports,
      .query = query<Form>,
      .prepare = prepare<Form>,
      .run = run<Form>,
      .refresh = refresh<Form>,
      .copies_parameters = true,
  };
}

}  // namespace

const Kernel kConvWinograd4 = kernel<Form4>("conv2d_winograd4_f32_" SPARSENET_ISA_NAME, prefers_form4<false>);
const Kernel kConvWinograd2 = kernel<Form2>("conv2d_winograd2_f32_" SPARSENET_ISA_NAME, prefers_form2<false>);
const Kernel kConvWinograd4Large = kernel<Form4>("conv2d_winograd4_f32_" SPARSENET_ISA_NAME, prefers_form4<true>);
const Kernel kConvWinograd2Large = kernel<Form2>("conv2d_winograd2_f32_" SPARSENET_ISA_NAME, prefers_form2<true>);

}  // namespace sparsenet::rt::SPARSENET_ISA
