// Steps that combine one value per image and channel with all pixels of the image (gates and global pooling, forward
// and backward), and the gradient of average pooling. A chunk is an image, or a row of one for average pooling.
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

struct State {
  const float *a, *b;
  float* out;
  ptrdiff_t a_stride, b_stride, out_stride;
  int64_t pixels;
  int32_t area, c, parts, chunks;
  float alpha;
  bool accumulate;
};

bool all_dense(const Step& s) {
  for (int i = 0; i < s.train.operand_count; ++i) {
    if (s.train.operands[i].segment_count > 1) return false;
  }
  return true;
}

ptrdiff_t stride_of(const View& v) {
  return v.segment_count == 0 ? 0 : v.segments[0].pixel_stride;
}
const float* read_pointer(const View& v, uint8_t* arena) {
  if (v.segment_count == 0) return nullptr;
  const Segment& s = v.segments[0];
  return f32(s, arena);
}

// Indices of operands: the one that has pixels, the inputs (-1: no second one), and the output.
struct Roles {
  int image, a, b, out;
};

Roles roles_of(const Step& s) {
  switch (s.op) {
    case StepOp::kDotPixels:
      return {0, 0, 1, 2};
    case StepOp::kScalePixels:
      return {0, 0, 1, 2};
    default:  // kExpandPixels
      return s.train.accumulate ? Roles{1, 0, -1, 1} : Roles{2, 0, -1, 2};
  }
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State);
  needs->chunks = s.train.operands[roles_of(s).image].n;
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const Roles r = roles_of(step);
  const View& image = step.train.operands[r.image];
  s->a = read_pointer(step.train.operands[r.a], place.arena);
  s->a_stride = stride_of(step.train.operands[r.a]);
  if (r.b >= 0) {
    s->b = read_pointer(step.train.operands[r.b], place.arena);
    s->b_stride = stride_of(step.train.operands[r.b]);
  }
  s->out = dense_pointer(step.train.operands[r.out], place.arena);
  s->out_stride = stride_of(step.train.operands[r.out]);
  s->area = image.h * image.w;
  s->c = image.c;
  s->alpha = step.train.alpha;
  s->accumulate = step.train.accumulate;
  return nullptr;
}

bool dot_supports(const Step& s) {
  return s.op == StepOp::kDotPixels && all_dense(s) && s.train.operands[0].n < 65000;
}

void dot_run(const void* memory, int32_t image, void*) {
  const auto& s = *static_cast<const State*>(memory);
  for (int c = 0; c < s.c; c += kLanes) {
    const int lanes = imin(kLanes, s.c - c);
    const float* a = s.a + ptrdiff_t{image} * s.area * s.a_stride + c;
    const float* b = s.b + ptrdiff_t{image} * s.area * s.b_stride + c;
    V sum[4] = {V{}, V{}, V{}, V{}};
    int32_t p = 0;
    if (lanes == kLanes) {
      for (; p + 4 <= s.area; p += 4, a += 4 * s.a_stride, b += 4 * s.b_stride) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) sum[j] += load(a + j * s.a_stride) * load(b + j * s.b_stride);
      }
    }
    for (; p < s.area; ++p, a += s.a_stride, b += s.b_stride) sum[p & 3] += load_first(a, lanes) * load_first(b, lanes);
    store_first(s.out + image * s.out_stride + c, (sum[0] + sum[1]) + (sum[2] + sum[3]), lanes);
  }
}

bool scale_supports(const Step& s) {
  return s.op == StepOp::kScalePixels && all_dense(s) && s.train.operands[0].n < 65000;
}

void scale_run(const void* memory, int32_t image, void*) {
  const auto& s = *static_cast<const State*>(memory);
  for (int c = 0; c < s.c; c += kLanes) {
    const int lanes = imin(kLanes, s.c - c);
    const V factor = load_first(s.b + image * s.b_stride + c, lanes);
    const float* x = s.a + ptrdiff_t{image} * s.area * s.a_stride + c;
    float* y = s.out + ptrdiff_t{image} * s.area * s.out_stride + c;
    for (int32_t p = 0; p < s.area; ++p, x += s.a_stride, y += s.out_stride) {
      store_first(y, load_first(x, lanes) * factor, lanes);
    }
  }
}

bool expand_supports(const Step& s) {
  return s.op == StepOp::kExpandPixels && all_dense(s) && s.train.operands[0].n < 65000;
}

void expand_run(const void* memory, int32_t image, void*) {
  const auto& s = *static_cast<const State*>(memory);
  for (int c = 0; c < s.c; c += kLanes) {
    const int lanes = imin(kLanes, s.c - c);
    const V value = load_first(s.a + image * s.a_stride + c, lanes) * s.alpha;
    float* y = s.out + ptrdiff_t{image} * s.area * s.out_stride + c;
    for (int32_t p = 0; p < s.area; ++p, y += s.out_stride) {
      store_first(y, s.accumulate ? load_first(y, lanes) + value : value, lanes);
    }
  }
}

// --- the gradient of average pooling whose windows do not overlap and have no padding: every input pixel belongs to
// one window, or to none if it lies behind the last one

struct PoolState {
  const float* dy;
  float* dx;
  ptrdiff_t dy_stride, dx_stride;
  int32_t h, w, oh, ow, c, kernel_h, kernel_w;
};

bool pool_supports(const Step& s) {
  return s.op == StepOp::kAveragePoolGrad && all_dense(s) && s.window.kernel_h == s.window.stride_h &&
         s.window.kernel_w == s.window.stride_w && s.window.pad_top == 0 && s.window.pad_left == 0 &&
         s.window.pad_bottom == 0 && s.window.pad_right == 0 &&
         s.train.operands[0].h * s.window.kernel_h <= s.train.operands[1].h &&
         s.train.operands[0].w * s.window.kernel_w <= s.train.operands[1].w &&
         int64_t{s.train.operands[1].n} * s.train.operands[1].h < 65000;
}

void pool_query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(PoolState);
  needs->chunks = s.train.operands[1].n * s.train.operands[1].h;
}

const char* pool_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<PoolState*>(place.state);
  const View &dy = step.train.operands[0], &dx = step.train.operands[1];
  s->dy = read_pointer(dy, place.arena);
  s->dx = dense_pointer(dx, place.arena);
  s->dy_stride = stride_of(dy);
  s->dx_stride = stride_of(dx);
  s->h = dx.h;
  s->w = dx.w;
  s->c = dx.c;
  s->oh = dy.h;
  s->ow = dy.w;
  s->kernel_h = step.window.kernel_h;
  s->kernel_w = step.window.kernel_w;
  return nullptr;
}

void pool_run(const void* memory, int32_t row, void*) {
  const auto& s = *static_cast<const PoolState*>(memory);
  const int32_t image = row / s.h, y = row % s.h, oy = y / s.kernel_h;
  const V factor = splat(1.f / static_cast<float>(s.kernel_h * s.kernel_w));
  for (int32_t x = 0; x < s.w; ++x) {
    const int32_t ox = x / s.kernel_w;
    float* to = s.dx + (ptrdiff_t{row} * s.w + x) * s.dx_stride;
    const bool inside = oy < s.oh && ox < s.ow;
    const float* from = s.dy + ((ptrdiff_t{image} * s.oh + oy) * s.ow + ox) * s.dy_stride;
    for (int c = 0; c < s.c; c += kLanes) {
      const int lanes = imin(kLanes, s.c - c);
      store_first(to + c, inside ? load_first(from + c, lanes) * factor : V{}, lanes);
    }
  }
}

}  // namespace

const Kernel kDotPixels = {
    .name = "dot_pixels_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = dot_supports,
    .query = query,
    .prepare = prepare,
    .run = dot_run,
};
const Kernel kScalePixels = {
    .name = "scale_pixels_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = scale_supports,
    .query = query,
    .prepare = prepare,
    .run = scale_run,
};
const Kernel kExpandPixels = {
    .name = "expand_pixels_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = expand_supports,
    .query = query,
    .prepare = prepare,
    .run = expand_run,
};
const Kernel kAveragePoolGrad = {
    .name = "average_pool_grad_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = pool_supports,
    .query = pool_query,
    .prepare = pool_prepare,
    .run = pool_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
