#include "backends/onednn/common.h"

#include <omp.h>

#include <cmath>
#include <cstring>

#include "backends/onednn/onednn_backend.h"
#include "kernels/isa.h"

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
    case rt::Act::kClamp:
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
    case rt::Act::kHardSigmoid:  // version 2.6 does not have it as one operation
      append_activation(ops, algorithm::eltwise_linear, act.alpha, act.beta);
      append_activation(ops, algorithm::eltwise_clip, 0.f, 1.f);
      return true;
    case rt::Act::kElu:
      append_activation(ops, algorithm::eltwise_elu, act.alpha, 0.f);
      return true;
    case rt::Act::kSoftplus:
      append_activation(ops, algorithm::eltwise_soft_relu, 1.f, 0.f);
      return true;
    case rt::Act::kSilu:
      append_activation(ops, algorithm::eltwise_swish, act.alpha, 0.f);
      return true;
    case rt::Act::kMish:
      append_activation(ops, algorithm::eltwise_mish, 0.f, 0.f);
      return true;
    case rt::Act::kGelu:
      append_activation(ops, algorithm::eltwise_gelu_erf, 0.f, 0.f);
      return true;
    case rt::Act::kGeluTanh:
      append_activation(ops, algorithm::eltwise_gelu_tanh, 0.f, 0.f);
      return true;
    case rt::Act::kErf:
    case rt::Act::kExp:
    case rt::Act::kLog:
    case rt::Act::kPow:
      break;
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

void gather(const rt::Gather& g, int64_t pixels, float* to) {
  constexpr int64_t kPixels = 32;  // per chunk
  struct Work {
    const rt::Gather& from;
    int64_t pixels;
    float* to;
  } work{g, pixels, to};
  const auto run = [](void* context, int32_t chunk, int32_t) {
    const Work& w = *static_cast<const Work*>(context);
    const int64_t first = chunk * kPixels, left = w.pixels - first;
    const auto count = static_cast<int>(left < kPixels ? left : kPixels);
    active_isa().gather_pixels(w.from, first, count, w.to + first * w.from.channels);
  };
  const auto chunks = static_cast<int32_t>((pixels + kPixels - 1) / kPixels);
  // OpenMP allocates memory at the beginning of a parallel region, even for one thread, and ends the process if it
  // cannot.
  if (omp_get_max_threads() > 1) return onednn_parallel(nullptr, chunks, run, &work);
  for (int32_t chunk = 0; chunk < chunks; ++chunk) run(&work, chunk, 0);
}

}  // namespace sparsenet::onednn
