#include "backends/onednn/common.h"

#include <omp.h>

#include <cmath>
#include <cstring>

#include "backends/onednn/onednn_backend.h"

namespace sparsenet::onednn {

dnnl::engine& cpu() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

bool is_dense(const rt::View& view) {
  return view.segment_count == 1 && !view.segments[0].constant && view.segments[0].pixel_stride == view.c;
}

dnnl::memory::desc image(const rt::View& view) {
  return {{view.n, view.c, view.h, view.w}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nhwc};
}

bool append(const rt::Act& act, dnnl::post_ops* ops) {
  using dnnl::algorithm;
  switch (act.kind) {
    case rt::Act::kBounds:
      if (act.low == 0.f && act.high == INFINITY) {
        append_activation(ops, algorithm::eltwise_relu, 0.f, 0.f);
      } else if (act.low > -INFINITY || act.high < INFINITY) {
        append_activation(ops, algorithm::eltwise_clip, act.low, act.high);
      }
      return true;
    case rt::Act::kLeakyRelu:
      append_activation(ops, algorithm::eltwise_relu, act.alpha, 0.f);
      return true;
    case rt::Act::kSigmoid:
      append_activation(ops, algorithm::eltwise_logistic, 0.f, 0.f);
      return true;
    case rt::Act::kTanh:
      append_activation(ops, algorithm::eltwise_tanh, 0.f, 0.f);
      return true;
    case rt::Act::kHardSwish:
      append_hard_swish(ops);
      return true;
    case rt::Act::kHardSigmoid:  // version 2.6 does not have it in one piece
      append_activation(ops, algorithm::eltwise_linear, act.alpha, act.beta);
      append_activation(ops, algorithm::eltwise_clip, 0.f, 1.f);
      return true;
  }
  return false;
}

int32_t pad_end(int32_t in, int32_t out, int32_t kernel, int32_t dilation, int32_t stride, int32_t pad_begin) {
  return (out - 1) * stride + (kernel - 1) * dilation + 1 - in - pad_begin;
}

bool windows_fit(int32_t in, int32_t out, int32_t kernel, int32_t dilation, int32_t stride, int32_t pad_begin) {
  if (pad_end(in, out, kernel, dilation, stride, pad_begin) <= -stride) return false;
  for (int32_t o = 0; o < out; ++o) {
    bool touches = false;
    for (int32_t k = 0; k < kernel && !touches; ++k) {
      const int32_t i = o * stride - pad_begin + k * dilation;
      touches = i >= 0 && i < in;
    }
    if (!touches) return false;
  }
  return true;
}

bool is_reference(const char* implementation) {
  return std::strstr(implementation, "ref") != nullptr;
}

OneThread::OneThread() : threads_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}
OneThread::~OneThread() {
  omp_set_num_threads(threads_);
}

namespace {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define SPARSENET_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SPARSENET_CLONES
#endif

// kWidth channels of `count` pixels: the affine's parameters stay in registers.
template <int kWidth>
inline __attribute__((always_inline)) void affine_columns(const float* x, ptrdiff_t x_stride, int64_t count,
                                                          const float* scale, const float* shift, float low, float high,
                                                          float* y, ptrdiff_t y_stride) {
  float a[kWidth], b[kWidth];
  for (int c = 0; c < kWidth; ++c) {
    a[c] = scale[c];
    b[c] = shift[c];
  }
  for (int64_t p = 0; p < count; ++p, x += x_stride, y += y_stride) {
#pragma omp simd
    for (int c = 0; c < kWidth; ++c) {
      const float v = x[c] * a[c] + b[c];
      const float bounded = v > low ? v : low;
      y[c] = bounded < high ? bounded : high;
    }
  }
}

SPARSENET_CLONES void affine_range(const float* x, ptrdiff_t x_stride, int32_t channels, int64_t count,
                                   const float* scale, const float* shift, float low, float high, float* y,
                                   ptrdiff_t y_stride) {
  int32_t c = 0;
  for (; c + 16 <= channels; c += 16) {
    affine_columns<16>(x + c, x_stride, count, scale + c, shift + c, low, high, y + c, y_stride);
  }
  for (; c + 8 <= channels; c += 8) {
    affine_columns<8>(x + c, x_stride, count, scale + c, shift + c, low, high, y + c, y_stride);
  }
  for (; c + 4 <= channels; c += 4) {
    affine_columns<4>(x + c, x_stride, count, scale + c, shift + c, low, high, y + c, y_stride);
  }
  for (; c < channels; ++c) {
    affine_columns<1>(x + c, x_stride, count, scale + c, shift + c, low, high, y + c, y_stride);
  }
}

void gather_pixels(const Gather& g, int64_t first, int64_t count, float* to) {
  int32_t channel = 0;
  for (int32_t i = 0; i < g.range_count; ++i) {
    const Range& range = g.ranges[i];
    const float* x = range.base + first * range.pixel_stride;
    float* y = to + first * g.channels + channel;
    if (g.scale) {
      affine_range(x, range.pixel_stride, range.channels, count, g.scale + channel, g.shift + channel, g.low, g.high, y,
                   g.channels);
    } else {
      for (int64_t p = 0; p < count; ++p, x += range.pixel_stride, y += g.channels) {
        std::memcpy(y, x, static_cast<size_t>(range.channels) * sizeof(float));
      }
    }
    channel += range.channels;
  }
}

}  // namespace

void gather(const Gather& g, float* to) {
  // OpenMP allocates where it begins, even for one thread, and ends the process where it cannot.
  if (omp_get_max_threads() == 1) return gather_pixels(g, 0, g.pixels, to);
  constexpr int64_t kPixels = 32;  // of a chunk
  struct Work {
    const Gather& from;
    float* to;
  } work{g, to};
  const auto run = [](void* context, int32_t chunk, int32_t) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t first = chunk * kPixels, left = w.from.pixels - first;
    gather_pixels(w.from, first, left < kPixels ? left : kPixels, w.to);
  };
  onednn_parallel(nullptr, static_cast<int32_t>((g.pixels + kPixels - 1) / kPixels), run, &work);
}

}  // namespace sparsenet::onednn
