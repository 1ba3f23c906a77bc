// Plain kernels of training: gradients of layers, and the loss. Operands are those of the graph ops of the same names,
// in the notation of graph/training_ops.h. Sums over all pixels run in double precision, in the order of the pixels.
#include "kernels/reference/common.h"
#include "kernels/reference/reference.h"

namespace sparsenet::rt {
namespace {

// x -> mean, 1 / sqrt(variance + epsilon), variance; two passes.
void batch_stats_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const View& x = o.view(0);
  const int64_t count = pixels_of(x);
  for (int32_t c = 0; c < x.c; ++c) {
    double sum = 0, square = 0;
    for (int64_t p = 0; p < count; ++p) sum += o.at(0, p, c);
    const double mean = sum / static_cast<double>(count);
    for (int64_t p = 0; p < count; ++p) {
      const double d = o.at(0, p, c) - mean;
      square += d * d;
    }
    const double variance = square / static_cast<double>(count);
    o.at(1, 0, c) = static_cast<float>(mean);
    o.at(1, 1, c) = static_cast<float>(1 / std::sqrt(variance + static_cast<double>(r.step.train.epsilon)));
    o.at(1, 2, c) = static_cast<float>(variance);
  }
}

// stats, gamma, beta -> scale, shift
void fold_stats_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  for (int32_t c = 0; c < o.view(0).c; ++c) {
    const float scale = o.at(1, 0, c) * o.at(0, 1, c);
    o.at(3, 0, c) = scale;
    o.at(3, 1, c) = o.at(2, 0, c) - o.at(0, 0, c) * scale;
  }
}

// running = (1 - alpha) running + alpha batch, with the variance times beta = N / (N - 1)
void update_running_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const float a = r.step.train.alpha;
  for (int32_t c = 0; c < o.view(0).c; ++c) {
    o.at(1, 0, c) += a * (o.at(0, 0, c) - o.at(1, 0, c));
    o.at(2, 0, c) += a * (o.at(0, 2, c) * r.step.train.beta - o.at(2, 0, c));
  }
}

// dy, x, scale and shift, stats?, dx? -> sums, dx?. With a weight [in c][x c], dy is not given, but is the gradient of
// the input of the 1x1 convolution behind: dy[p][c] = sum over o of in[p][o] weight[o][c].
float normalize_dy(const Operands& o, int64_t p, int32_t c) {
  const Step& s = o.r.step;
  if (!s.conv.weight) return o.at(0, p, c);
  float sum = 0;
  for (int32_t i = 0; i < s.in.c; ++i)
    sum += *element(s.in, o.r.arena, p, i) * s.conv.weight.f32()[int64_t{i} * o.view(1).c + c];
  return sum;
}

void normalize_grad_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const View& x = o.view(1);
  const int dx = r.step.train.accumulate ? 4 : 6;
  for (int32_t c = 0; c < x.c; ++c) {
    const float scale = o.at(2, 0, c), shift = o.at(2, 1, c), mean = o.has(3) ? o.at(3, 0, c) : 0.f;
    double sum = 0, product = 0;
    for (int64_t p = 0; p < pixels_of(x); ++p) {
      const float v = o.at(1, p, c), y = v * scale + shift;
      const float g = y > r.step.act.low && y < r.step.act.high ? normalize_dy(o, p, c) : 0.f;
      sum += g;
      product += static_cast<double>(g) * (v - mean);
      float& to = o.at(dx, p, c);
      to = r.step.train.accumulate ? to + g * scale : g * scale;
    }
    o.at(5, 0, c) = static_cast<float>(sum);
    o.at(5, 1, c) = static_cast<float>(product);
  }
}

// sums [dy', dy' (x - mean)], stats, gamma, dstats (+) -> dgamma, dbeta. With scale = gamma s, shift = beta - mean
// scale: dgamma = s sum dy' (x - mean), dbeta = sum dy', dmean = -scale sum dy', ds = gamma sum dy' (x - mean).
void fold_stats_grad_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  for (int32_t c = 0; c < o.view(0).c; ++c) {
    const float sum = o.at(0, 0, c), product = o.at(0, 1, c), s = o.at(1, 1, c), gamma = o.at(2, 0, c);
    o.at(3, 0, c) -= gamma * s * sum;
    o.at(3, 1, c) += gamma * product;
    o.at(4, 0, c) = s * product;
    o.at(5, 0, c) = sum;
  }
}

// x, stats, dstats, dx (+): dx += dmean / N - ds s^3 (x - mean) / N
void batch_stats_grad_run(const void* state, int32_t, void*) {
  const Operands o{*static_cast<const ReferenceState*>(state)};
  const View& x = o.view(0);
  const float inverse = 1.f / static_cast<float>(pixels_of(x));
  for (int32_t c = 0; c < x.c; ++c) {
    const float mean = o.at(1, 0, c), s = o.at(1, 1, c);
    const float constant = o.at(2, 0, c) * inverse, slope = -o.at(2, 1, c) * s * s * s * inverse;
    for (int64_t p = 0; p < pixels_of(x); ++p) o.at(3, p, c) += constant + slope * (o.at(0, p, c) - mean);
  }
}

// Calls visit(output pixel, input pixel, tap) for all taps inside the image.
template <class Visit>
void for_each_tap(const Step& s, int32_t h, int32_t w, int32_t n, int32_t oh, int32_t ow, Visit visit) {
  for (int32_t i = 0; i < n; ++i) {
    for (int32_t oy = 0; oy < oh; ++oy) {
      for (int32_t ox = 0; ox < ow; ++ox) {
        for (int32_t t = 0; t < s.window.kernel_h * s.window.kernel_w; ++t) {
          const int32_t y = oy * s.window.stride_h - s.window.pad_top + t / s.window.kernel_w * s.window.dilation_h;
          const int32_t x = ox * s.window.stride_w - s.window.pad_left + t % s.window.kernel_w * s.window.dilation_w;
          if (y < 0 || y >= h || x < 0 || x >= w) continue;
          visit((int64_t{i} * oh + oy) * ow + ox, (int64_t{i} * h + y) * w + x, t);
        }
      }
    }
  }
}

void conv_grad_weight_query(const Step& step, KernelNeeds* needs) {
  reference_query(step, needs);
  needs->scratch_bytes = static_cast<uint64_t>(step.out.c) * sizeof(double);
}

void conv_grad_weight_run(const void* state, int32_t, void* scratch) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  auto* sums = static_cast<double*>(scratch);
  for (int32_t i = 0; i < s.out.c; ++i) sums[i] = 0;
  const View& dy = s.in2;
  const int32_t group_in = s.in.c / s.conv.groups, group_out = dy.c / s.conv.groups,
                taps = s.window.kernel_h * s.window.kernel_w;
  for_each_tap(s, s.in.h, s.in.w, dy.n, dy.h, dy.w, [&](int64_t to, int64_t from, int32_t t) {
    for (int32_t o = 0; o < dy.c; ++o) {
      const double g = *element(dy, r.arena, to, o);
      for (int32_t c = 0; c < group_in; ++c) {
        sums[(int64_t{o} * group_in + c) * taps + t] += g * input_at(r, from, o / group_out * group_in + c);
      }
    }
  });
  for (int32_t i = 0; i < s.out.c; ++i) *element(s.out, r.arena, 0, i) = static_cast<float>(sums[i]);
  if (s.train.operand_count == 0) return;
  for (int32_t o = 0; o < dy.c; ++o) {
    double sum = 0;
    for (int64_t p = 0; p < pixels_of(dy); ++p) sum += *element(dy, r.arena, p, o);
    *element(s.train.operands[0], r.arena, 0, o) = static_cast<float>(sum);
  }
}

void conv_grad_input_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const View &dy = s.in, &dx = s.out;
  const int32_t group_in = dx.c / s.conv.groups, group_out = dy.c / s.conv.groups,
                taps = s.window.kernel_h * s.window.kernel_w;
  for (int64_t p = 0; p < pixels_of(dx); ++p) {
    for (int32_t c = 0; c < dx.c; ++c) *element(dx, r.arena, p, c) = 0.f;
  }
  for_each_tap(s, dx.h, dx.w, dy.n, dy.h, dy.w, [&](int64_t from, int64_t to, int32_t t) {
    for (int32_t o = 0; o < dy.c; ++o) {
      const float g = *element(dy, r.arena, from, o);
      for (int32_t c = 0; c < group_in; ++c) {
        *element(dx, r.arena, to, o / group_out * group_in + c) +=
            g * s.conv.weight.f32()[(int64_t{o} * group_in + c) * taps + t];
      }
    }
  });
}

// The gradient goes to the input of a window that the maximum came from: the first of the largest.
void max_pool_grad_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const Operands o{r};
  const View &dy = o.view(0), &x = o.view(1);
  for (int64_t p = 0; p < pixels_of(x); ++p) {
    for (int32_t c = 0; c < x.c; ++c) o.at(2, p, c) = 0.f;
  }
  for (int32_t n = 0; n < dy.n; ++n) {
    for (int32_t oy = 0; oy < dy.h; ++oy) {
      for (int32_t ox = 0; ox < dy.w; ++ox) {
        for (int32_t c = 0; c < x.c; ++c) {
          int64_t best = -1;
          for (int32_t t = 0; t < s.window.kernel_h * s.window.kernel_w; ++t) {
            const int32_t iy = oy * s.window.stride_h - s.window.pad_top + t / s.window.kernel_w;
            const int32_t ix = ox * s.window.stride_w - s.window.pad_left + t % s.window.kernel_w;
            if (iy < 0 || iy >= x.h || ix < 0 || ix >= x.w) continue;
            const int64_t p = (int64_t{n} * x.h + iy) * x.w + ix;
            if (best < 0 || o.at(1, p, c) > o.at(1, best, c)) best = p;
          }
          if (best >= 0) o.at(2, best, c) += o.at(0, (int64_t{n} * dy.h + oy) * dy.w + ox, c);
        }
      }
    }
  }
}

void average_pool_grad_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Step& s = r.step;
  const Operands o{r};
  const View &dy = o.view(0), &dx = o.view(1);
  for (int64_t p = 0; p < pixels_of(dx); ++p) {
    for (int32_t c = 0; c < dx.c; ++c) o.at(1, p, c) = 0.f;
  }
  for (int32_t n = 0; n < dy.n; ++n) {
    for (int32_t oy = 0; oy < dy.h; ++oy) {
      for (int32_t ox = 0; ox < dy.w; ++ox) {
        const int32_t y0 = oy * s.window.stride_h - s.window.pad_top, x0 = ox * s.window.stride_w - s.window.pad_left;
        int32_t inside = 0, padded = 0;
        for (int32_t t = 0; t < s.window.kernel_h * s.window.kernel_w; ++t) {
          const int32_t y = y0 + t / s.window.kernel_w, x = x0 + t % s.window.kernel_w;
          padded += y < dx.h + s.window.pad_bottom && x < dx.w + s.window.pad_right;
          inside += y >= 0 && y < dx.h && x >= 0 && x < dx.w;
        }
        const int32_t count = s.pool.count_include_pad ? padded : inside;
        const float factor = 1.f / static_cast<float>(count > 0 ? count : 1);
        for (int32_t t = 0; t < s.window.kernel_h * s.window.kernel_w; ++t) {
          const int32_t y = y0 + t / s.window.kernel_w, x = x0 + t % s.window.kernel_w;
          if (y < 0 || y >= dx.h || x < 0 || x >= dx.w) continue;
          for (int32_t c = 0; c < dx.c; ++c) {
            o.at(1, (int64_t{n} * dx.h + y) * dx.w + x, c) += o.at(0, (int64_t{n} * dy.h + oy) * dy.w + ox, c) * factor;
          }
        }
      }
    }
  }
}

// The cross-entropy of softmax(logits) against the labels, summed over the images, and its gradient against smoothed
// targets.
void cross_entropy_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Operands o{r};
  const View& logits = o.view(0);
  const int32_t classes = logits.c;
  const double smooth = r.step.train.alpha, factor = r.step.train.beta;
  double total = 0;
  int32_t correct = 0;
  for (int32_t n = 0; n < logits.n; ++n) {
    // A label that is not a class makes the loss NaN and is no target.
    const float given = o.at(1, n, 0);
    const bool known = given >= 0.f && given < static_cast<float>(classes);
    const int32_t label = known ? static_cast<int32_t>(given) : -1;
    int32_t best = 0;
    for (int32_t c = 1; c < classes; ++c) {
      if (o.at(0, n, c) > o.at(0, n, best)) best = c;
    }
    correct += best == label;
    const double most = o.at(0, n, best);
    double sum = 0;
    for (int32_t c = 0; c < classes; ++c) sum += std::exp(o.at(0, n, c) - most);
    total += known ? std::log(sum) + most - o.at(0, n, label) : static_cast<double>(NAN);
    for (int32_t c = 0; c < classes; ++c) {
      const double p = std::exp(o.at(0, n, c) - most) / sum;
      const double target = (c == label ? 1 - smooth : 0) + smooth / classes;
      o.at(3, n, c) = static_cast<float>((p - target) * factor);
    }
  }
  o.at(2, 0, 0) = static_cast<float>(total);
  o.at(2, 0, 1) = static_cast<float>(correct);
}

constexpr Kernel plain(const char* name, bool (*supports)(const Step&),
                       void (*run)(const void* state, int32_t chunk, void* scratch),
                       void (*query)(const Step&, KernelNeeds*) = reference_query) {
  return {name, "reference", supports, query, reference_prepare, run, nullptr, false};
}

}  // namespace

const Kernel kReferenceBatchStats = plain("batch_stats_f32_reference", supports<StepOp::kBatchStats>, batch_stats_run);
const Kernel kReferenceFoldStats = plain("fold_stats_f32_reference", supports<StepOp::kFoldStats>, fold_stats_run);
const Kernel kReferenceUpdateRunning =
    plain("update_running_f32_reference", supports<StepOp::kUpdateRunning>, update_running_run);
const Kernel kReferenceNormalizeGrad =
    plain("normalize_grad_f32_reference", supports<StepOp::kNormalizeGrad>, normalize_grad_run);
const Kernel kReferenceFoldStatsGrad =
    plain("fold_stats_grad_f32_reference", supports<StepOp::kFoldStatsGrad>, fold_stats_grad_run);
const Kernel kReferenceBatchStatsGrad =
    plain("batch_stats_grad_f32_reference", supports<StepOp::kBatchStatsGrad>, batch_stats_grad_run);
const Kernel kReferenceConvGradWeight = plain("conv2d_grad_weight_f32_reference", supports<StepOp::kConvGradWeight>,
                                              conv_grad_weight_run, conv_grad_weight_query);
const Kernel kReferenceConvGradInput =
    plain("conv2d_grad_input_f32_reference", supports<StepOp::kConvGradInput>, conv_grad_input_run);
const Kernel kReferenceMaxPoolGrad =
    plain("max_pool_grad_f32_reference", supports<StepOp::kMaxPoolGrad>, max_pool_grad_run);
const Kernel kReferenceAveragePoolGrad =
    plain("average_pool_grad_f32_reference", supports<StepOp::kAveragePoolGrad>, average_pool_grad_run);
const Kernel kReferenceCrossEntropy =
    plain("cross_entropy_f32_reference", supports<StepOp::kCrossEntropy>, cross_entropy_run);

}  // namespace sparsenet::rt
