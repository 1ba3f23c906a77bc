// Pooling. Vectors run along the channels; channel ranges and an affine in front (BN + ReLU of a transition or the
// head) are read on the way in.
#include "kernels/activation.h"
#include "kernels/portable.h"
#include "kernels/source.h"

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

const char* prepare(const Step& step, uint8_t* arena, void* memory, float*) {
  auto* s = static_cast<State*>(memory);
  s->source = make_source(step, arena, s + 1);
  s->act = step.act;
  s->out = dense_pointer(step.out, arena);
  s->out_stride = step.out.segments[0].pixel_stride;
  s->h = step.in.h;
  s->w = step.in.w;
  s->oh = step.out.h;
  s->ow = step.out.w;
  s->kernel_h = step.kernel_h;
  s->kernel_w = step.kernel_w;
  s->stride_h = step.stride_h;
  s->stride_w = step.stride_w;
  s->pad_top = step.pad_top;
  s->pad_left = step.pad_left;
  s->pad_bottom = step.pad_bottom;
  s->pad_right = step.pad_right;
  s->max_pool = step.max_pool;
  s->count_include_pad = step.count_include_pad;
  return nullptr;
}

template <Pre kPre>
void run_row(const State& s, int32_t row) {
  const int image = row / s.oh, oy = row % s.oh;
  const int y_begin = oy * s.stride_h - s.pad_top, y_end = y_begin + s.kernel_h;
  const V low = splat(s.source.low), high = splat(s.source.high);
  int channel = 0;
  for (int32_t i = 0; i < s.source.count; ++i) {
    const SourceSegment& segment = s.source.segments[i];
    const ptrdiff_t stride = segment.pixel_stride;
    for (int c = 0; c < segment.channels;) {
      const int lanes = imin(kLanes, segment.channels - c);
      V scale{}, shift{};
      if (kPre != Pre::kNone) {
        scale = load_first(s.source.scale + channel, lanes);
        shift = load_first(s.source.shift + channel, lanes);
      }
      for (int ox = 0; ox < s.ow; ++ox) {
        const int x_begin = ox * s.stride_w - s.pad_left, x_end = x_begin + s.kernel_w;
        const int y0 = imax(y_begin, 0), y1 = imin(y_end, s.h), x0 = imax(x_begin, 0), x1 = imin(x_end, s.w);
        V acc = s.max_pool ? splat(-INFINITY) : V{};
        for (int y = y0; y < y1; ++y) {
          const float* p = segment.base + ((ptrdiff_t{image} * s.h + y) * s.w + x0) * stride + c;
          for (int x = x0; x < x1; ++x, p += stride) {
            const V v = apply_pre<kPre>(lanes == kLanes ? load(p) : load_first(p, lanes), scale, shift, low, high);
            acc = s.max_pool ? vmax(acc, v) : acc + v;
          }
        }
        if (!s.max_pool) {
          int count = (y1 - y0) * (x1 - x0);
          if (s.count_include_pad) {
            // The window, clipped to the padded input: with rounding up it may stick out of that too.
            count = (imin(y_end, s.h + s.pad_bottom) - y_begin) * (imin(x_end, s.w + s.pad_right) - x_begin);
          }
          acc *= 1.f / static_cast<float>(imax(count, 1));
        }
        acc = activate(acc, s.act);
        store_first(s.out + ((ptrdiff_t{image} * s.oh + oy) * s.ow + ox) * s.out_stride + channel, acc, lanes);
      }
      c += lanes;
      channel += lanes;
    }
  }
}

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  switch (pre_of(s.source)) {
    case Pre::kNone:
      run_row<Pre::kNone>(s, chunk);
      break;
    case Pre::kLow:
      run_row<Pre::kLow>(s, chunk);
      break;
    case Pre::kBoth:
      run_row<Pre::kBoth>(s, chunk);
      break;
  }
}

// Mean over all pixels of an image; a chunk is one channel range of one image.
bool global_supports(const Step& s) {
  return s.op == StepOp::kGlobalPool && s.out.segment_count == 1 && int64_t{s.in.n} * s.in.segment_count < 65000;
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
  int channel = 0;
  for (int32_t i = 0; i < s.source.count; ++i) {
    const SourceSegment& segment = s.source.segments[i];
    const ptrdiff_t stride = segment.pixel_stride;
    for (int c = 0; c < segment.channels;) {
      const int lanes = imin(kLanes, segment.channels - c);
      V scale{}, shift{};
      if (kPre != Pre::kNone) {
        scale = load_first(s.source.scale + channel, lanes);
        shift = load_first(s.source.shift + channel, lanes);
      }
      // Four sums, so that additions do not wait for each other.
      V acc[4] = {V{}, V{}, V{}, V{}};
      const float* p = segment.base + ptrdiff_t{image} * pixels * stride + c;
      for (int x = 0; x < pixels; ++x, p += stride) {
        acc[x & 3] += apply_pre<kPre>(lanes == kLanes ? load(p) : load_first(p, lanes), scale, shift, low, high);
      }
      const V mean = ((acc[0] + acc[1]) + (acc[2] + acc[3])) * inverse;
      store_first(s.out + image * s.out_stride + channel, activate(mean, s.act), lanes);
      c += lanes;
      channel += lanes;
    }
  }
}

void global_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  switch (pre_of(s.source)) {
    case Pre::kNone:
      global_run_impl<Pre::kNone>(s, chunk);
      break;
    case Pre::kLow:
      global_run_impl<Pre::kLow>(s, chunk);
      break;
    case Pre::kBoth:
      global_run_impl<Pre::kBoth>(s, chunk);
      break;
  }
}

}  // namespace

const Kernel kPool = {"pool2d_f32_" SPARSENET_ISA_NAME, "portable", supports, query, prepare, run, nullptr, false};
const Kernel kGlobalPool = {"global_pool_f32_" SPARSENET_ISA_NAME,
                            "portable",
                            global_supports,
                            global_query,
                            prepare,
                            global_run,
                            nullptr,
                            false};

}  // namespace sparsenet::rt::SPARSENET_ISA
