// The gradient of an affine with bounds, and what the kernels of batch normalisation share: ranges of pixels with
// partial sums of their own, which are merged in order.
#pragma once

#include "kernels/portable/source.h"
#include "runtime/kernel.h"

namespace sparsenet::rt::SPARSENET_ISA {

SPARSENET_INLINE int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// At most 64 chunks of at least 256 pixels.
SPARSENET_INLINE int32_t chunk_pixels(int64_t pixels) {
  const int64_t share = (pixels + 63) / 64;
  return static_cast<int32_t>(share < 256 ? 256 : share);
}
SPARSENET_INLINE int32_t chunk_count(int64_t pixels) {
  const int32_t each = chunk_pixels(pixels);
  return static_cast<int32_t>((pixels + each - 1) / each);
}

SPARSENET_INLINE int round_lanes(int c) {
  return ceil_div(c, kLanes) * kLanes;
}

// Channel ranges of a view with resolved addresses.
struct Ranges {
  GatherRange* segments;
  int32_t count;
};

inline Ranges resolve(const View& view, uint8_t* arena, GatherRange* storage) {
  for (int32_t i = 0; i < view.segment_count; ++i) {
    const Segment& s = view.segments[i];
    storage[i] = {f32(s, arena), s.channels, s.pixel_stride};
  }
  return {storage, view.segment_count};
}

inline bool same_ranges(const View& a, const View& b) {
  if (a.segment_count != b.segment_count) return false;
  for (int32_t i = 0; i < a.segment_count; ++i) {
    if (a.segments[i].channels != b.segments[i].channels) return false;
  }
  return true;
}

struct Span {
  int64_t first;
  int32_t count;
};

SPARSENET_INLINE Span span_of(int64_t pixels, int32_t each, int32_t chunk) {
  const int64_t first = int64_t{chunk} * each;
  return {first, static_cast<int32_t>(pixels - first < each ? pixels - first : each)};
}

struct NormalizeGradState {
  Ranges x, dx;
  const float* dy;  // null: the kernel computes it
  ptrdiff_t dy_stride;
  const float *scale, *shift;
  Ranges stats;  // empty: the means are zero
  float* sums;   // [2][c]
  ptrdiff_t sums_stride;
  float* partial;  // [chunk][2][padded]
  int64_t pixels;
  int32_t each, chunks, c, padded;
  float low, high;
  bool accumulate;
};

inline const View& dx_view(const Step& s) {
  return s.train.operands[s.train.accumulate ? 4 : 6];
}

inline bool normalize_grad_supports(const Step& s) {
  return s.op == StepOp::kNormalizeGrad && s.act.kind == Act::kClamp && same_ranges(s.train.operands[1], dx_view(s)) &&
         s.train.operands[5].segment_count == 1;
}

inline uint64_t means_bytes(const Step& s) {
  return static_cast<uint64_t>(round_lanes(s.train.operands[1].c)) * sizeof(float);
}

inline size_t normalize_grad_sources(const Step& s) {
  return source_bytes(s.train.operands[1]) * 2 + source_bytes(s.train.operands[3]);
}

inline void normalize_grad_query(const Step& s, KernelNeeds* needs) {
  const View& x = s.train.operands[1];
  needs->state_bytes = sizeof(NormalizeGradState) + normalize_grad_sources(s);
  needs->chunks = chunk_count(pixel_count(x));
  needs->shared_bytes = static_cast<uint64_t>(needs->chunks) * 2 * means_bytes(s);
}

// `s` is the beginning of the kernel's state; the ranges are stored at `sizeof(NormalizeGradState) + before` bytes in
// it.
inline void prepare_normalize_grad(const Step& step, const Place& place, NormalizeGradState* s, size_t before = 0) {
  auto* storage = reinterpret_cast<GatherRange*>(static_cast<uint8_t*>(place.state) + sizeof(*s) + before);
  const View& x = step.train.operands[1];
  s->x = resolve(x, place.arena, storage);
  s->dx = resolve(dx_view(step), place.arena, storage + x.segment_count);
  s->stats = resolve(step.train.operands[3], place.arena, storage + 2 * x.segment_count);
  s->dy = dense_pointer(step.train.operands[0], place.arena);
  s->dy_stride = s->dy ? step.train.operands[0].segments[0].pixel_stride : 0;
  const Segment& fold = step.train.operands[2].segments[0];
  s->scale = f32(fold, place.arena);
  s->shift = s->scale + fold.pixel_stride;
  s->sums = dense_pointer(step.train.operands[5], place.arena);
  s->sums_stride = step.train.operands[5].segments[0].pixel_stride;
  s->partial = static_cast<float*>(place.shared);
  s->pixels = pixel_count(x);
  s->each = chunk_pixels(s->pixels);
  s->chunks = chunk_count(s->pixels);
  s->c = x.c;
  s->padded = round_lanes(x.c);
  s->low = step.act.low;
  s->high = step.act.high;
  s->accumulate = step.train.accumulate;
}

inline void gather_means(const NormalizeGradState& s, float* means) {
  memset(means, 0, static_cast<size_t>(s.padded) * sizeof(float));
  int channel = 0;
  for (int32_t i = 0; i < s.stats.count; ++i) {
    memcpy(means + channel, s.stats.segments[i].base,
           static_cast<size_t>(s.stats.segments[i].channels) * sizeof(float));
    channel += s.stats.segments[i].channels;
  }
}

inline float* begin_partial(const NormalizeGradState& s, int32_t chunk) {
  float* partial = s.partial + ptrdiff_t{chunk} * 2 * s.padded;
  memset(partial, 0, static_cast<size_t>(2 * s.padded) * sizeof(float));
  return partial;
}

struct NormalizeVector {
  V scale, shift, mean, low, high;
};

template <bool kAccumulate, bool kHigh, bool kWhole>
SPARSENET_INLINE void normalize_grad_vector(const NormalizeVector& k, const float* x, ptrdiff_t x_stride,
                                            const float* dy, ptrdiff_t dy_stride, float* dx, ptrdiff_t dx_stride,
                                            int32_t count, int lanes, V* sum, V* product) {
  V total{}, products{};
#pragma GCC unroll 4
  for (int32_t p = 0; p < count; ++p) {
    const V v = kWhole ? load(x) : load_first(x, lanes);
    V g = kWhole ? load(dy) : load_first(dy, lanes);
    const V y = v * k.scale + k.shift;
    g = y > k.low ? g : V{};
    if (kHigh) g = y < k.high ? g : V{};
    total += g;
    products += g * (v - k.mean);
    V out = g * k.scale;
    if (kAccumulate) out += kWhole ? load(dx) : load_first(dx, lanes);
    if (kWhole) {
      store(dx, out);
    } else {
      store_first(dx, out, lanes);
    }
    x += x_stride;
    dy += dy_stride;
    dx += dx_stride;
  }
  *sum = total;
  *product = products;
}

template <bool kAccumulate, bool kHigh>
void normalize_grad_impl(const NormalizeGradState& s, int64_t first, int32_t count, const float* dy,
                         ptrdiff_t dy_stride, const float* means, float* partial) {
  int channel = 0;
  NormalizeVector k{V{}, V{}, V{}, splat(s.low), splat(s.high)};
  for (int32_t i = 0; i < s.x.count; ++i) {
    const GatherRange& from = s.x.segments[i];
    const GatherRange& to = s.dx.segments[i];
    for (int c = 0; c < from.channels; c += kLanes) {
      const int lanes = imin(kLanes, from.channels - c);
      const float* x = from.base + first * from.pixel_stride + c;
      float* dx = const_cast<float*>(to.base) + first * to.pixel_stride + c;
      k.scale = load_first(s.scale + channel, lanes);
      k.shift = load_first(s.shift + channel, lanes);
      k.mean = load_first(means + channel, lanes);
      V sum, product;
      if (lanes == kLanes) {
        normalize_grad_vector<kAccumulate, kHigh, true>(k, x, from.pixel_stride, dy + channel, dy_stride, dx,
                                                        to.pixel_stride, count, lanes, &sum, &product);
      } else {
        normalize_grad_vector<kAccumulate, kHigh, false>(k, x, from.pixel_stride, dy + channel, dy_stride, dx,
                                                         to.pixel_stride, count, lanes, &sum, &product);
      }
      float* a = partial + channel;
      float* b = partial + s.padded + channel;
      store_first(a, load_first(a, lanes) + sum, lanes);
      store_first(b, load_first(b, lanes) + product, lanes);
      channel += lanes;
    }
  }
}

// Computes dx of the pixels [first, first + count), whose dy begins at `dy`, and adds to the partial sums.
inline void normalize_grad_pixels(const NormalizeGradState& s, int64_t first, int32_t count, const float* dy,
                                  ptrdiff_t dy_stride, const float* means, float* partial) {
  const bool high = s.high < INFINITY;
  if (s.accumulate) {
    high ? normalize_grad_impl<true, true>(s, first, count, dy, dy_stride, means, partial)
         : normalize_grad_impl<true, false>(s, first, count, dy, dy_stride, means, partial);
  } else {
    high ? normalize_grad_impl<false, true>(s, first, count, dy, dy_stride, means, partial)
         : normalize_grad_impl<false, false>(s, first, count, dy, dy_stride, means, partial);
  }
}

inline void finish_normalize_grad(const NormalizeGradState& s, int32_t chunk) {
  for (int32_t c = chunk; c < s.c; c += s.chunks) {
    double sum = 0, product = 0;
    for (int32_t i = 0; i < s.chunks; ++i) {
      const float* partial = s.partial + ptrdiff_t{i} * 2 * s.padded + c;
      sum += static_cast<double>(partial[0]);
      product += static_cast<double>(partial[s.padded]);
    }
    s.sums[c] = static_cast<float>(sum);
    s.sums[s.sums_stride + c] = static_cast<float>(product);
  }
}

}  // namespace sparsenet::rt::SPARSENET_ISA
