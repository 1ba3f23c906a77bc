// Batch normalisation in training: statistics of a batch, and the gradient that flows back through them. What is
// applied in front of a convolution is kAffine's business.
//
// A chunk is a fixed range of pixels with partial sums of its own; the second round merges them in the chunks' order,
// in double precision, a vector of channels at a time.
#include "kernels/portable.h"
#include "kernels/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

int64_t pixel_count(const View& v) {
  return int64_t{v.n} * v.h * v.w;
}

// At most 64 chunks of at least 256 pixels.
int32_t chunk_pixels(int64_t pixels) {
  const int64_t share = (pixels + 63) / 64;
  return static_cast<int32_t>(share < 256 ? 256 : share);
}
int32_t chunk_count(int64_t pixels) {
  const int32_t each = chunk_pixels(pixels);
  return static_cast<int32_t>((pixels + each - 1) / each);
}

int round_lanes(int c) {
  return ceil_div(c, kLanes) * kLanes;
}

// Channel ranges of a view with resolved addresses.
struct Ranges {
  SourceSegment* segments;
  int32_t count;
};

Ranges resolve(const View& view, uint8_t* arena, SourceSegment* storage) {
  for (int32_t i = 0; i < view.segment_count; ++i) {
    const Segment& s = view.segments[i];
    storage[i] = {s.constant ? s.constant : reinterpret_cast<const float*>(arena + s.offset), s.channels,
                  s.pixel_stride};
  }
  return {storage, view.segment_count};
}

bool same_ranges(const View& a, const View& b) {
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

Span span_of(int64_t pixels, int32_t each, int32_t chunk) {
  const int64_t first = int64_t{chunk} * each;
  return {first, static_cast<int32_t>(pixels - first < each ? pixels - first : each)};
}

// --- statistics

struct StatsState {
  Ranges x;
  float* stats;  // [3][c]
  ptrdiff_t stats_stride;
  float* partial;  // [chunk][mean, sum of squared differences][padded]
  int64_t pixels;
  int32_t each, chunks, c, padded;
  float epsilon;
};

bool stats_supports(const Step& s) {
  return s.op == StepOp::kBatchStats && s.operands[1].segment_count == 1;
}

void stats_query(const Step& s, KernelNeeds* needs) {
  const View& x = s.operands[0];
  needs->state_bytes = sizeof(StatsState) + source_bytes(x);
  needs->chunks = chunk_count(pixel_count(x));
  needs->shared_bytes = static_cast<size_t>(needs->chunks) * 2 * static_cast<size_t>(round_lanes(x.c)) * sizeof(float);
}

const char* stats_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<StatsState*>(place.state);
  const View& x = step.operands[0];
  s->x = resolve(x, place.arena, reinterpret_cast<SourceSegment*>(s + 1));
  s->stats = dense_pointer(step.operands[1], place.arena);
  s->stats_stride = step.operands[1].segments[0].pixel_stride;
  s->partial = static_cast<float*>(place.shared);
  s->pixels = pixel_count(x);
  s->each = chunk_pixels(s->pixels);
  s->chunks = chunk_count(s->pixels);
  s->c = x.c;
  s->padded = round_lanes(x.c);
  s->epsilon = step.epsilon;
  return nullptr;
}

// One pass: sums of differences from the chunk's first pixel, which lies within a few deviations of the mean.
void stats_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const StatsState*>(memory);
  const Span span = span_of(s.pixels, s.each, chunk);
  const float n = static_cast<float>(span.count);
  float* partial = s.partial + ptrdiff_t{chunk} * 2 * s.padded;
  int channel = 0;
  for (int32_t i = 0; i < s.x.count; ++i) {
    const SourceSegment& segment = s.x.segments[i];
    const ptrdiff_t stride = segment.pixel_stride;
    for (int c = 0; c < segment.channels; c += kLanes) {
      const int lanes = imin(kLanes, segment.channels - c);
      const float* x = segment.base + span.first * stride + c;
      const V first = load_first(x, lanes);
      V sum[4] = {V{}, V{}, V{}, V{}}, square[4] = {V{}, V{}, V{}, V{}};
      int32_t p = 0;
      if (lanes == kLanes) {
        for (; p + 4 <= span.count; p += 4, x += 4 * stride) {
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            const V d = load(x + j * stride) - first;
            sum[j] += d;
            square[j] += d * d;
          }
        }
      }
      for (; p < span.count; ++p, x += stride) {
        const V d = load_first(x, lanes) - first;
        sum[0] += d;
        square[0] += d * d;
      }
      const V total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      const V squares = (square[0] + square[1]) + (square[2] + square[3]);
      store_first(partial + channel + c, first + total / n, lanes);
      store_first(partial + s.padded + channel + c, squares - total * total / n, lanes);
    }
    channel += segment.channels;
  }
}

// T. Chan, G. Golub, R. LeVeque (1979): means and squared differences of parts merge exactly.
void stats_finish(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const StatsState*>(memory);
  for (int32_t c = chunk; c < s.c; c += s.chunks) {
    double sum = 0;
    for (int32_t i = 0; i < s.chunks; ++i) {
      sum += static_cast<double>(s.partial[ptrdiff_t{i} * 2 * s.padded + c]) * span_of(s.pixels, s.each, i).count;
    }
    const double mean = sum / static_cast<double>(s.pixels);
    double squares = 0;
    for (int32_t i = 0; i < s.chunks; ++i) {
      const float* partial = s.partial + ptrdiff_t{i} * 2 * s.padded + c;
      const double d = static_cast<double>(partial[0]) - mean;
      squares += static_cast<double>(partial[s.padded]) + d * d * span_of(s.pixels, s.each, i).count;
    }
    const double variance = (squares > 0 || squares != squares ? squares : 0) / static_cast<double>(s.pixels);
    s.stats[c] = static_cast<float>(mean);
    s.stats[s.stats_stride + c] = static_cast<float>(1 / sqrt(variance + static_cast<double>(s.epsilon)));
    s.stats[2 * s.stats_stride + c] = static_cast<float>(variance);
  }
}

// --- gradient of the affine and the bounds behind it

struct GradState {
  Ranges x, dx;
  const float* dy;
  ptrdiff_t dy_stride;
  const float *scale, *shift;
  Ranges stats;  // none: means of zero
  float* sums;   // [2][c]
  ptrdiff_t sums_stride;
  float* partial;  // [chunk][2][padded]
  int64_t pixels;
  int32_t each, chunks, c, padded;
  float low, high;
  bool accumulate;
};

const View& dx_view(const Step& s) {
  return s.operands[s.accumulate ? 4 : 6];
}

bool grad_supports(const Step& s) {
  return s.op == StepOp::kNormalizeGrad && s.act.kind == Act::kBounds && same_ranges(s.operands[1], dx_view(s)) &&
         s.operands[5].segment_count == 1;
}

void grad_query(const Step& s, KernelNeeds* needs) {
  const View& x = s.operands[1];
  needs->state_bytes = sizeof(GradState) + source_bytes(x) * 2 + source_bytes(s.operands[3]);
  needs->chunks = chunk_count(pixel_count(x));
  needs->shared_bytes = static_cast<size_t>(needs->chunks) * 2 * static_cast<size_t>(round_lanes(x.c)) * sizeof(float);
  needs->scratch_bytes = static_cast<size_t>(round_lanes(x.c)) * sizeof(float);
}

const char* grad_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<GradState*>(place.state);
  auto* storage = reinterpret_cast<SourceSegment*>(s + 1);
  const View& x = step.operands[1];
  s->x = resolve(x, place.arena, storage);
  s->dx = resolve(dx_view(step), place.arena, storage + x.segment_count);
  s->stats = resolve(step.operands[3], place.arena, storage + 2 * x.segment_count);
  s->dy = dense_pointer(step.operands[0], place.arena);
  s->dy_stride = step.operands[0].segments[0].pixel_stride;
  const Segment& fold = step.operands[2].segments[0];
  s->scale = fold.constant ? fold.constant : reinterpret_cast<const float*>(place.arena + fold.offset);
  s->shift = s->scale + fold.pixel_stride;
  s->sums = dense_pointer(step.operands[5], place.arena);
  s->sums_stride = step.operands[5].segments[0].pixel_stride;
  s->partial = static_cast<float*>(place.shared);
  s->pixels = pixel_count(x);
  s->each = chunk_pixels(s->pixels);
  s->chunks = chunk_count(s->pixels);
  s->c = x.c;
  s->padded = round_lanes(x.c);
  s->low = step.act.low;
  s->high = step.act.high;
  s->accumulate = step.accumulate;
  return nullptr;
}

template <bool kAccumulate, bool kHigh, bool kWhole>
SPARSENET_INLINE void grad_vector(const GradState& s, const SourceSegment& from, float* dx, ptrdiff_t dx_stride,
                                  const float* x, const float* dy, V scale, V shift, V mean, int32_t count, int lanes,
                                  V* sum, V* product) {
  const V low = splat(s.low), high = splat(s.high);
  V total{}, products{};
#pragma GCC unroll 4
  for (int32_t p = 0; p < count; ++p) {
    const V v = kWhole ? load(x) : load_first(x, lanes);
    V g = kWhole ? load(dy) : load_first(dy, lanes);
    const V y = v * scale + shift;
    g = y > low ? g : V{};
    if (kHigh) g = y < high ? g : V{};
    total += g;
    products += g * (v - mean);
    V out = g * scale;
    if (kAccumulate) out += kWhole ? load(dx) : load_first(dx, lanes);
    if (kWhole) {
      store(dx, out);
    } else {
      store_first(dx, out, lanes);
    }
    x += from.pixel_stride;
    dy += s.dy_stride;
    dx += dx_stride;
  }
  *sum = total;
  *product = products;
}

template <bool kAccumulate, bool kHigh>
void grad_chunk(const GradState& s, int32_t chunk, const float* means) {
  const Span span = span_of(s.pixels, s.each, chunk);
  float* partial = s.partial + ptrdiff_t{chunk} * 2 * s.padded;
  int channel = 0;
  for (int32_t i = 0; i < s.x.count; ++i) {
    const SourceSegment& from = s.x.segments[i];
    const SourceSegment& to = s.dx.segments[i];
    for (int c = 0; c < from.channels; c += kLanes) {
      const int lanes = imin(kLanes, from.channels - c);
      const float* x = from.base + span.first * from.pixel_stride + c;
      float* dx = const_cast<float*>(to.base) + span.first * to.pixel_stride + c;
      const float* dy = s.dy + span.first * s.dy_stride + channel;
      const V scale = load_first(s.scale + channel, lanes), shift = load_first(s.shift + channel, lanes);
      const V mean = load_first(means + channel, lanes);
      V sum, product;
      if (lanes == kLanes) {
        grad_vector<kAccumulate, kHigh, true>(s, from, dx, to.pixel_stride, x, dy, scale, shift, mean, span.count,
                                              lanes, &sum, &product);
      } else {
        grad_vector<kAccumulate, kHigh, false>(s, from, dx, to.pixel_stride, x, dy, scale, shift, mean, span.count,
                                               lanes, &sum, &product);
      }
      store_first(partial + channel, sum, lanes);
      store_first(partial + s.padded + channel, product, lanes);
      channel += lanes;
    }
  }
}

void grad_run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const GradState*>(memory);
  auto* means = static_cast<float*>(scratch);
  memset(means, 0, static_cast<size_t>(s.padded) * sizeof(float));
  int channel = 0;
  for (int32_t i = 0; i < s.stats.count; ++i) {
    memcpy(means + channel, s.stats.segments[i].base,
           static_cast<size_t>(s.stats.segments[i].channels) * sizeof(float));
    channel += s.stats.segments[i].channels;
  }
  const bool high = s.high < INFINITY;
  if (s.accumulate) {
    high ? grad_chunk<true, true>(s, chunk, means) : grad_chunk<true, false>(s, chunk, means);
  } else {
    high ? grad_chunk<false, true>(s, chunk, means) : grad_chunk<false, false>(s, chunk, means);
  }
}

void grad_finish(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const GradState*>(memory);
  for (int32_t c = chunk; c < s.c; c += s.chunks) {
    double sum = 0, product = 0;
    for (int32_t i = 0; i < s.chunks; ++i) {
      const float* partial = s.partial + ptrdiff_t{i} * 2 * s.padded + c;
      sum += partial[0];
      product += partial[s.padded];
    }
    s.sums[c] = static_cast<float>(sum);
    s.sums[s.sums_stride + c] = static_cast<float>(product);
  }
}

// --- gradient through the statistics

struct BackState {
  const float *x, *stats, *dstats;
  float* dx;
  ptrdiff_t x_stride, stats_stride, dstats_stride, dx_stride;
  int64_t pixels;
  int32_t each, c;
};

bool back_supports(const Step& s) {
  if (s.op != StepOp::kBatchStatsGrad) return false;
  for (int i = 0; i < 4; ++i) {
    if (s.operands[i].segment_count != 1) return false;
  }
  return true;
}

void back_query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(BackState);
  needs->chunks = chunk_count(pixel_count(s.operands[0]));
}

const char* back_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<BackState*>(place.state);
  s->x = dense_pointer(step.operands[0], place.arena);
  s->stats = dense_pointer(step.operands[1], place.arena);
  s->dstats = dense_pointer(step.operands[2], place.arena);
  s->dx = dense_pointer(step.operands[3], place.arena);
  s->x_stride = step.operands[0].segments[0].pixel_stride;
  s->stats_stride = step.operands[1].segments[0].pixel_stride;
  s->dstats_stride = step.operands[2].segments[0].pixel_stride;
  s->dx_stride = step.operands[3].segments[0].pixel_stride;
  s->pixels = pixel_count(step.operands[0]);
  s->each = chunk_pixels(s->pixels);
  s->c = step.operands[0].c;
  return nullptr;
}

void back_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const BackState*>(memory);
  const Span span = span_of(s.pixels, s.each, chunk);
  const float inverse = 1.f / static_cast<float>(s.pixels);
  for (int c = 0; c < s.c; c += kLanes) {
    const int lanes = imin(kLanes, s.c - c);
    const V mean = load_first(s.stats + c, lanes), factor = load_first(s.stats + s.stats_stride + c, lanes);
    const V slope = -load_first(s.dstats + s.dstats_stride + c, lanes) * factor * factor * factor * inverse;
    const V constant = load_first(s.dstats + c, lanes) * inverse - slope * mean;
    const float* x = s.x + span.first * s.x_stride + c;
    float* dx = s.dx + span.first * s.dx_stride + c;
    if (lanes == kLanes) {
      for (int32_t p = 0; p < span.count; ++p, x += s.x_stride, dx += s.dx_stride) {
        store(dx, load(dx) + (load(x) * slope + constant));
      }
    } else {
      for (int32_t p = 0; p < span.count; ++p, x += s.x_stride, dx += s.dx_stride) {
        store_first(dx, load_first(dx, lanes) + (load_first(x, lanes) * slope + constant), lanes);
      }
    }
  }
}

}  // namespace

const Kernel kBatchStats = {"batch_stats_f32_" SPARSENET_ISA_NAME,
                            "portable",
                            stats_supports,
                            stats_query,
                            stats_prepare,
                            stats_run,
                            nullptr,
                            false,
                            stats_finish};
const Kernel kNormalizeGrad = {"normalize_grad_f32_" SPARSENET_ISA_NAME,
                               "portable",
                               grad_supports,
                               grad_query,
                               grad_prepare,
                               grad_run,
                               nullptr,
                               false,
                               grad_finish};
const Kernel kBatchStatsGrad = {"batch_stats_grad_f32_" SPARSENET_ISA_NAME,
                                "portable",
                                back_supports,
                                back_query,
                                back_prepare,
                                back_run,
                                nullptr,
                                false};

}  // namespace sparsenet::rt::SPARSENET_ISA
