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

template <Pre kPre>
void run_row(const State& s, int32_t row) {
  const int image = row / s.oh, oy = row % s.oh;
  const int y_begin = oy * s.stride_h - s.pad_top, y_end = y_begin + s.kernel_h;
  const int y0 = imax(y_begin, 0), y1 = imin(y_end, s.h);
  const V low = splat(s.source.low), high = splat(s.source.high);
  for_each_vector<kPre, kAnyBlock>(s.source, [&](const ChannelVector& v) {
    for (int ox = 0; ox < s.ow; ++ox) {
      const int x_begin = ox * s.stride_w - s.pad_left, x_end = x_begin + s.kernel_w;
      const int x0 = imax(x_begin, 0), x1 = imin(x_end, s.w);
      V acc = s.max_pool ? splat(-INFINITY) : V{};
      for (int y = y0; y < y1; ++y) {
        const float* p = v.base + ((ptrdiff_t{image} * s.h + y) * s.w + x0) * v.stride;
        for (int x = x0; x < x1; ++x, p += v.stride) {
          const V in = v.lanes == kLanes ? load(p) : load_first(p, v.lanes);
          const V value = apply_pre<kPre>(in, v.scale, v.shift, low, high);
          acc = s.max_pool ? vmax(acc, value) : acc + value;
        }
      }
      if (!s.max_pool) {
        int count = (y1 - y0) * (x1 - x0);
        if (s.count_include_pad) {
          // The window is clipped to the padded input: if the output's size was rounded up, it may reach beyond that.
          count = (imin(y_end, s.h + s.pad_bottom) - y_begin) * (imin(x_end, s.w + s.pad_right) - x_begin);
        }
        acc *= 1.f / static_cast<float>(imax(count, 1));
      }
      float* to = s.out + ((ptrdiff_t{image} * s.oh + oy) * s.ow + ox) * s.out_stride + v.channel;
      store_first(to, activate(acc, s.act), v.lanes);
    }
  });
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  by_pre(s.source, [&](auto pre) { run_row<decltype(pre)::value>(s, chunk); });
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
