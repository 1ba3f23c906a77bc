// The differences between oneDNN 2.x (Debian 12) and 3.x (Debian 13) that matter here, and nothing else.
#pragma once

#include <dnnl.hpp>

namespace sparsenet::onednn {

inline dnnl::convolution_forward::primitive_desc make_convolution(
    const dnnl::engine& engine, const dnnl::memory::desc& src, const dnnl::memory::desc& weights,
    const dnnl::memory::desc& bias, const dnnl::memory::desc& dst, const dnnl::memory::dims& strides,
    const dnnl::memory::dims& dilation, const dnnl::memory::dims& pads_begin, const dnnl::memory::dims& pads_end,
    const dnnl::primitive_attr& attr) {
  using Convolution = dnnl::convolution_forward;
  constexpr auto kKind = dnnl::prop_kind::forward_inference;
  constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return Convolution::primitive_desc(engine, kKind, kAlgorithm, src, weights, bias, dst, strides, dilation, pads_begin,
                                     pads_end, attr);
#else
  const Convolution::desc desc(kKind, kAlgorithm, src, weights, bias, dst, strides, dilation, pads_begin, pads_end);
  return Convolution::primitive_desc(desc, attr, engine);
#endif
}

inline dnnl::pooling_forward::primitive_desc make_pooling(
    const dnnl::engine& engine, dnnl::algorithm algorithm, const dnnl::memory::desc& src, const dnnl::memory::desc& dst,
    const dnnl::memory::dims& strides, const dnnl::memory::dims& kernel, const dnnl::memory::dims& pads_begin,
    const dnnl::memory::dims& pads_end, const dnnl::primitive_attr& attr) {
  using Pooling = dnnl::pooling_forward;
  constexpr auto kKind = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
  return Pooling::primitive_desc(engine, kKind, algorithm, src, dst, strides, kernel, {0, 0}, pads_begin, pads_end,
                                 attr);
#else
  const Pooling::desc desc(kKind, algorithm, src, dst, strides, kernel, pads_begin, pads_end);
  return Pooling::primitive_desc(desc, attr, engine);
#endif
}

inline void append_activation(dnnl::post_ops* ops, dnnl::algorithm algorithm, float alpha, float beta) {
#if DNNL_VERSION_MAJOR >= 3
  ops->append_eltwise(algorithm, alpha, beta);
#else
  ops->append_eltwise(1.f, algorithm, alpha, beta);
#endif
}

// x min(max(x / 6 + 1/2, 0), 1). Version 2 has the constants built in; version 3 takes them as arguments.
inline void append_hard_swish(dnnl::post_ops* ops) {
  append_activation(ops, dnnl::algorithm::eltwise_hardswish, 1.f / 6, 0.5f);
}

}  // namespace sparsenet::onednn
