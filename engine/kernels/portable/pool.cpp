// Pooling. Vectors run along the channels; the input may have several channel ranges and an affine in front (BN + ReLU
// of a transition or the head), which is applied as it is read.
#include "kernels/portable/activation.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  Source source;
  Act act;
  float* out;
  ptrdiff_t out_stride;
  int32_t h, w, oh, ow, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  int32_t rows;  // n * oh
  bool max_pool, count_include_pad;
};

bool supports(const Step& s) {
  return s.op == StepOp::kPool && s.out.segment_count == 1 && int64_t{s.out.n} * s.out.h < 65000;
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State) + source_bytes(s.in);
  needs->weight_bytes = 0;
  needs->scratch_bytes = 0;
  needs->chunks = s.out.n * s.out.h;
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->source = make_source(step, place.arena, s + 1);
  s->act = step.act;
  s->out = dense_pointer(step.out, place.arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->h = step.in.h;
  s->w = step.in.w;
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->kernel_h = step.window.kernel_h;
  s->kernel_w = step.window.kernel_w;
  s->stride_h = step.window.stride_h;
  s->stride_w = step.window.stride_w;
  s->pad_top = step.window.pad_top;
  s->pad_left = step.window.pad_left;
  s->pad_bottom = step.window.pad_bottom;
  s->pad_right = step.window.pad_right;
  s->max_pool = step.pool.max;
  s->count_include_pad = step.pool.count_include_pad;
  return nullptr;
}

// The part of a window that lies inside of the image: its first pixel, and how many rows and columns it has.
struct Inside {
  const float* first;
  ptrdiff_t row;  // floats from one row of the image to the next
  int rows, columns;
};

// The maximum or the sum of a window's pixels, row by row. kColumns is their number if it is known, else 0.
template <Pre kPre, bool kMax, bool kWhole, int kColumns>
SPARSENET_INLINE V reduce(const Inside& in, const ChannelVector& v, V low, V high) {
  V acc = kMax ? splat(-INFINITY) : V{};
  const float* row = in.first;
  for (int y = 0; y < in.rows; ++y, row += in.row) {
    const float* p = row;
    const int columns = kColumns > 0 ? kColumns : in.columns;
#pragma GCC unroll 4
    for (int x = 0; x < columns; ++x, p += v.stride) {
      const V value = apply_pre<kPre>(kWhole ? load(p) : load_first(p, v.lanes), v.scale, v.shift, low, high);
      acc = kMax ? vmax(acc, value) : acc + value;
    }
  }
  return acc;
}

template <Pre kPre, bool kMax, bool kWhole>
SPARSENET_INLINE V reduce_window(const Inside& in, const ChannelVector& v, V low, V high) {
  switch (in.columns) {
    case 2:
      return reduce<kPre, kMax, kWhole, 2>(in, v, low, high);
    case 3:
      return reduce<kPre, kMax, kWhole, 3>(in, v, low, high);
    default:
      return reduce<kPre, kMax, kWhole, 0>(in, v, low, high);
  }
}

// By how much the sum of a window is divided.
int divisor(const State& s, const Inside& in, int y_begin, int x_begin) {
  if (!s.count_include_pad) return imax(in.rows * in.columns, 1);
  // The window is clipped to the padded input: if the output's size was rounded up, it may reach beyond that.
  const int y_end = imin(y_begin + s.kernel_h, s.h + s.pad_bottom);
  const int x_end = imin(x_begin + s.kernel_w, s.w + s.pad_right);
  return imax((y_end - y_begin) * (x_end - x_begin), 1);
}

template <Pre kPre, bool kMax, bool kWhole>
void run_vector(const State& s, const ChannelVector& v, int image, int oy, int begin, int end) {
  const V low = splat(s.source.low), high = splat(s.source.high);
  const int y_begin = oy * s.stride_h - s.pad_top, y0 = imax(y_begin, 0);
  const float* const line = v.base + (ptrdiff_t{image} * s.h + y0) * s.w * v.stride;
  Inside in{nullptr, s.w * v.stride, imin(y_begin + s.kernel_h, s.h) - y0, 0};
  float* to = s.out + ((ptrdiff_t{image} * s.oh + oy) * s.ow + begin) * s.out_stride + v.channel;
  for (int ox = begin; ox < end; ++ox, to += s.out_stride) {
    const int x_begin = ox * s.stride_w - s.pad_left, x0 = imax(x_begin, 0);
    in.first = line + x0 * v.stride;
    in.columns = imin(x_begin + s.kernel_w, s.w) - x0;
    V result = reduce_window<kPre, kMax, kWhole>(in, v, low, high);
    if constexpr (!kMax) result *= 1.f / static_cast<float>(divisor(s, in, y_begin, x_begin));
    store_first(to, activate(result, s.act), v.lanes);
  }
}

// Output pixels that are finished for all channels before the next ones, so that their input stays in the first-level
// cache while one vector of channels after the other is taken from it.
constexpr int kPixels = 16;

template <Pre kPre, bool kMax>
void run_row(const State& s, int32_t row) {
  for (int begin = 0; begin < s.ow; begin += kPixels) {
    const int end = imin(begin + kPixels, s.ow);
    for_each_vector<kPre, kAnyBlock>(s.source, [&](const ChannelVector& v) {
      if (v.lanes == kLanes) {
        run_vector<kPre, kMax, true>(s, v, row / s.oh, row % s.oh, begin, end);
      } else {
        run_vector<kPre, kMax, false>(s, v, row / s.oh, row % s.oh, begin, end);
      }
    });
  }
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  by_pre(s.source, [&](auto pre) {
    if (s.max_pool) {
      run_row<decltype(pre)::value, true>(s, chunk);
    } else {
      run_row<decltype(pre)::value, false>(s, chunk);
    }
  });
}

// Global pooling: the mean over all pixels. A chunk is an image.
bool global_supports(const Step& s) {
  return s.op == StepOp::kGlobalPool && s.out.segment_count == 1 && s.in.n < 65000;
}

void global_query(const Step& s, KernelNeeds* needs) {
  query(s, needs);
  needs->chunks = s.in.n;
}

template <Pre kPre>
void global_run_impl(const State& s, int32_t image) {
  const V low = splat(s.source.low), high = splat(s.source.high);
  const int pixels = s.h * s.w;
  const float inverse = 1.f / static_cast<float>(pixels);
  for_each_vector<kPre, kAnyBlock>(s.source, [&](const ChannelVector& v) {
    // Four sums, so that additions do not wait for each other.
    V acc[4] = {V{}, V{}, V{}, V{}};
    const float* p = v.base + ptrdiff_t{image} * pixels * v.stride;
    for (int x = 0; x < pixels; ++x, p += v.stride) {
      const V in = v.lanes == kLanes ? load(p) : load_first(p, v.lanes);
      acc[x & 3] += apply_pre<kPre>(in, v.scale, v.shift, low, high);
    }
    const V mean = ((acc[0] + acc[1]) + (acc[2] + acc[3])) * inverse;
    store_first(s.out + image * s.out_stride + v.channel, activate(mean, s.act), v.lanes);
  });
}

void global_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  by_pre(s.source, [&](auto pre) { global_run_impl<decltype(pre)::value>(s, chunk); });
}

}  // namespace

const Kernel kPool = {
    .name = "pool2d_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
};
const Kernel kGlobalPool = {
    .name = "global_pool_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = global_supports,
    .query = global_query,
    .prepare = prepare,
    .run = global_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
