// Batch normalisation in training: the statistics of a batch, the gradient of the affine that applies them, and the
// gradient that flows back through them. The affine itself is computed by other kernels (AffineParams in step.h).
//
// A chunk is a fixed range of pixels with partial sums of its own. The second round merges them in the chunks' order,
// in double precision; each of its chunks merges the sums of some of the channels.
#include "kernels/portable/normalize_grad.h"
#include "kernels/portable/portable.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

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
  return s.op == StepOp::kBatchStats && s.train.operands[1].segment_count == 1;
}

void stats_query(const Step& s, KernelNeeds* needs) {
  const View& x = s.train.operands[0];
  needs->state_bytes = sizeof(StatsState) + source_bytes(x);
  needs->chunks = chunk_count(pixel_count(x));
  needs->shared_bytes =
      static_cast<uint64_t>(needs->chunks) * 2 * static_cast<uint64_t>(round_lanes(x.c)) * sizeof(float);
}

const char* stats_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<StatsState*>(place.state);
  const View& x = step.train.operands[0];
  s->x = resolve(x, place.arena, reinterpret_cast<GatherRange*>(s + 1));
  s->stats = dense_pointer(step.train.operands[1], place.arena);
  s->stats_stride = step.train.operands[1].segments[0].pixel_stride;
  s->partial = static_cast<float*>(place.shared);
  s->pixels = pixel_count(x);
  s->each = chunk_pixels(s->pixels);
  s->chunks = chunk_count(s->pixels);
  s->c = x.c;
  s->padded = round_lanes(x.c);
  s->epsilon = step.train.epsilon;
  return nullptr;
}

// Sums, in one pass, differences from the chunk's first pixel, which lies within a few standard deviations of the mean.
void stats_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const StatsState*>(memory);
  const Span span = span_of(s.pixels, s.each, chunk);
  const float n = static_cast<float>(span.count);
  float* partial = s.partial + ptrdiff_t{chunk} * 2 * s.padded;
  int channel = 0;
  for (int32_t i = 0; i < s.x.count; ++i) {
    const GatherRange& segment = s.x.segments[i];
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

void grad_query(const Step& s, KernelNeeds* needs) {
  normalize_grad_query(s, needs);
  needs->scratch_bytes = means_bytes(s);
}

bool grad_supports(const Step& s) {
  return normalize_grad_supports(s) && !s.conv.weight;
}

const char* grad_prepare(const Step& step, const Place& place) {
  prepare_normalize_grad(step, place, static_cast<NormalizeGradState*>(place.state));
  return nullptr;
}

void grad_run(const void* memory, int32_t chunk, void* scratch) {
  const auto& s = *static_cast<const NormalizeGradState*>(memory);
  auto* means = static_cast<float*>(scratch);
  gather_means(s, means);
  const Span span = span_of(s.pixels, s.each, chunk);
  float* partial = begin_partial(s, chunk);
  normalize_grad_pixels(s, span.first, span.count, s.dy + span.first * s.dy_stride, s.dy_stride, means, partial);
}

void grad_finish(const void* memory, int32_t chunk, void*) {
  finish_normalize_grad(*static_cast<const NormalizeGradState*>(memory), chunk);
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
    if (s.train.operands[i].segment_count != 1) return false;
  }
  return true;
}

void back_query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(BackState);
  needs->chunks = chunk_count(pixel_count(s.train.operands[0]));
}

const char* back_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<BackState*>(place.state);
  s->x = dense_pointer(step.train.operands[0], place.arena);
  s->stats = dense_pointer(step.train.operands[1], place.arena);
  s->dstats = dense_pointer(step.train.operands[2], place.arena);
  s->dx = dense_pointer(step.train.operands[3], place.arena);
  s->x_stride = step.train.operands[0].segments[0].pixel_stride;
  s->stats_stride = step.train.operands[1].segments[0].pixel_stride;
  s->dstats_stride = step.train.operands[2].segments[0].pixel_stride;
  s->dx_stride = step.train.operands[3].segments[0].pixel_stride;
  s->pixels = pixel_count(step.train.operands[0]);
  s->each = chunk_pixels(s->pixels);
  s->c = step.train.operands[0].c;
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

const Kernel kBatchStats = {
    .name = "batch_stats_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = stats_supports,
    .query = stats_query,
    .prepare = stats_prepare,
    .run = stats_run,
    .finish = stats_finish,
};
const Kernel kNormalizeGrad = {
    .name = "normalize_grad_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = grad_supports,
    .query = grad_query,
    .prepare = grad_prepare,
    .run = grad_run,
    .finish = grad_finish,
};
const Kernel kBatchStatsGrad = {
    .name = "batch_stats_grad_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = back_supports,
    .query = back_query,
    .prepare = back_prepare,
    .run = back_run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
