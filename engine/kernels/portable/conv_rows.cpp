// Fully connected layers with large weights and few images. Every weight is used only once or a few times, so the speed
// of the memory decides, and packing the weights would gain nothing: they are read where they lie, in a model's mapped
// file or in flash. A chunk is a range of outputs.
#include "kernels/portable/gemm.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kMostPixels = 4;
constexpr int64_t kLeastWeights =
    128 * 1024;              // elements: 512 KB, what second-level caches do not keep until the next run
constexpr int kRows = 4;     // rows of weights, one per output, that are read side by side
constexpr int kAhead = 256;  // floats of a row that are fetched before they are used

struct State {
  Source source;
  const float* weight;  // [outputs][inputs]
  const float* bias;
  const float* residual;
  float* out;
  ptrdiff_t out_stride, residual_stride;
  int32_t inputs, outputs, pixels, rows;  // rows: outputs of a chunk
  Act act;
};

int32_t pixel_count(const View& v) {
  const int64_t pixels = int64_t{v.n} * v.h * v.w;
  return static_cast<int32_t>(pixels < kMostElements ? pixels : kMostElements);
}

int32_t rows_of(const Step& s) {
  const int share = ceil_div(s.out.c, 32);  // enough chunks for every thread
  return imax(ceil_div(share, kLanes) * kLanes, ceil_div(s.out.c, 60000));
}

bool supports(const Step& s) {
  const Window& w = s.window;
  return s.op == StepOp::kConv && w.kernel_h == 1 && w.kernel_w == 1 && w.stride_h == 1 && w.stride_w == 1 &&
         w.pad_top == 0 && w.pad_left == 0 && w.pad_bottom == 0 && w.pad_right == 0 && s.conv.groups == 1 &&
         !s.conv.variable && !s.conv.transposed && pixel_count(s.in) <= kMostPixels && s.out.segment_count == 1 &&
         s.in2.segment_count <= 1 && int64_t{s.in.c} * s.out.c >= kLeastWeights;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes = 0;
  // The pixels and the sums of a chunk.
  needs->scratch_bytes =
      static_cast<uint64_t>(s.in.c + rows_of(s)) * static_cast<uint64_t>(pixel_count(s.in)) * sizeof(float);
  needs->chunks = ceil_div(s.out.c, rows_of(s));
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->weight = step.conv.weight.f32();
  s->bias = step.conv.bias.f32();
  s->out = dense_pointer(step.out, place.arena);
  s->residual = dense_pointer(step.in2, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->residual_stride = s->residual ? step.in2.segments[0].pixel_stride : 0;
  s->inputs = step.in.c;
  s->outputs = step.out.c;
  s->pixels = pixel_count(step.in);
  s->rows = rows_of(step);
  s->act = step.act;
  return nullptr;
}

SPARSENET_INLINE float sum_of(V v) {
  float lane[kLanes];
  store(lane, v);
  for (int n = kLanes / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) lane[i] += lane[i + n];
  }
  return lane[0];
}

// The products of R rows of weights with P pixels. There are at least eight independent sums.
template <int R, int P>
SPARSENET_INLINE void dot(const float* x, const float* w, int inputs, float* sums, ptrdiff_t stride) {
  constexpr int kSplit = split_of<R * P>();
  V acc[kSplit][P][R] = {};
  int i = 0;
  for (; i + kSplit * kLanes <= inputs; i += kSplit * kLanes) {
#pragma GCC unroll 8
    for (int u = 0; u < kSplit; ++u) {
      V xv[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) xv[p] = load(x + p * ptrdiff_t{inputs} + i + u * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const float* row = w + r * ptrdiff_t{inputs} + i + u * kLanes;
        __builtin_prefetch(row + kAhead);
        const V wv = load(row);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) acc[u][p][r] += xv[p] * wv;
      }
    }
  }
  for (; i < inputs; i += kLanes) {
    const int lanes = imin(kLanes, inputs - i);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const V wv = load_first(w + r * ptrdiff_t{inputs} + i, lanes);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) acc[0][p][r] += load_first(x + p * ptrdiff_t{inputs} + i, lanes) * wv;
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      V total = acc[0][p][r];
#pragma GCC unroll 8
      for (int u = 1; u < kSplit; ++u) total += acc[u][p][r];
      sums[p * stride + r] = sum_of(total);
    }
  }
}

template <int P>
void dot_rows(const State& s, const float* x, int begin, int end, float* sums) {
  const float* w = s.weight + ptrdiff_t{begin} * s.inputs;
  const int rows = end - begin;
  int r = 0;
  for (; r + kRows <= rows; r += kRows) dot<kRows, P>(x, w + ptrdiff_t{r} * s.inputs, s.inputs, sums + r, s.rows);
  for (; r < rows; ++r) dot<1, P>(x, w + ptrdiff_t{r} * s.inputs, s.inputs, sums + r, s.rows);
}

// Adds bias and residual to the sums, and applies the activation. The residual may lie where the output goes.
void finish(const State& s, const float* sums, int begin, int end) {
  const Epilogue bounds = epilogue_of(s.bias, s.act);
  const V low = splat(bounds.low), high = splat(bounds.high);
  for (int p = 0; p < s.pixels; ++p) {
    float* y = s.out + p * s.out_stride;
    for (int o = begin; o < end; o += kLanes) {
      const int lanes = imin(kLanes, end - o);
      V v = load_first(sums + p * s.rows + (o - begin), lanes);
      if (s.bias) v += load_first(s.bias + o, lanes);
      if (s.residual) v += load_first(s.residual + p * s.residual_stride + o, lanes);
      store_first(y + o, bounded(v, low, high), lanes);
    }
  }
  activate_rows(s.act, s.out + begin, 0, s.out_stride, 1, s.pixels, end - begin);
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const State*>(memory);
  auto* x = static_cast<float*>(scratch);
  float* sums = x + ptrdiff_t{s.inputs} * s.pixels;
  gather(s.source, 0, s.pixels, x, s.inputs);
  const int begin = chunk * s.rows, end = imin(begin + s.rows, s.outputs);
  switch (s.pixels) {
    case 1:
      dot_rows<1>(s, x, begin, end, sums);
      break;
    case 2:
      dot_rows<2>(s, x, begin, end, sums);
      break;
    case 3:
      dot_rows<3>(s, x, begin, end, sums);
      break;
    default:
      dot_rows<4>(s, x, begin, end, sums);
      break;
  }
  finish(s, sums, begin, end);
}

}  // namespace

const Kernel kConvRows = {
    .name = "conv2d_rows_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
