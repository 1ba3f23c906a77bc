// What convolutions and pools as oneDNN primitives have in common: the engine, memory layouts, padding, activations as
// post-operations, and gathering.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/onednn/compat.h"
#include "runtime/gather.h"
#include "step/step.h"

namespace sparsenet::onednn {

dnnl::engine& cpu();

// Whether a view is one channel range of the arena without gaps. For anything else oneDNN falls back to a slow
// reference implementation.
bool is_dense(const rt::View& view);

dnnl::memory::desc image(const rt::View& view);

// Appends the activation; false if oneDNN does not have it.
bool append(const rt::Act& act, dnnl::post_ops* ops);

// The padding behind the input, along one direction. oneDNN requires it to fit the output size exactly, so input that
// the windows do not reach is subtracted: the padding may be negative, by less than a stride.
int32_t pad_end(int32_t in, int32_t out, int32_t kernel, int32_t dilation, int32_t stride, int32_t pad_begin);

// Whether oneDNN can be trusted with the windows along one direction: each covers at least one input pixel, and no
// further window would fit. If the output is cut short by a whole stride, oneDNN's AVX2 and SSE pools write beyond it.
bool windows_fit(int32_t in, int32_t out, int32_t kernel, int32_t dilation, int32_t stride, int32_t pad_begin);

// Whether the name is that of a plain, and thus very slow, implementation.
bool is_reference(const char* implementation);

inline size_t round_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

inline const float* resolve(const rt::Segment& segment, const uint8_t* arena) {
  return rt::f32(segment, arena);
}

// During its lifetime, OpenMP uses no other threads than the calling one.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_;
};

// Writes all channels of the first `pixels` pixels side by side, on the OpenMP threads.
void gather(const rt::Gather& gather, int64_t pixels, float* to);

}  // namespace sparsenet::onednn
