// What the steps as oneDNN primitives have in common: the engine, layouts, and where activations lie.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/onednn/compat.h"
#include "runtime/gather.h"
#include "step/step.h"

namespace sparsenet::onednn {

dnnl::engine& cpu();

// One channel range of the arena without gaps. oneDNN falls to a slow reference for anything else.
bool is_dense(const rt::View& view);

dnnl::memory::desc image(const rt::View& view);

// Appends the activation; false where this oneDNN has none.
bool append(const rt::Act& act, dnnl::post_ops* ops);

// Padding behind the input. oneDNN wants it to fit the output size exactly, so what the windows do not reach is taken
// off: it may be less than none, by less than a stride.
int32_t pad_end(int32_t in, int32_t out, int32_t kernel, int32_t dilation, int32_t stride, int32_t pad_begin);

// Whether oneDNN can be trusted with the windows along one direction: each covers at least one input pixel, and no
// further window would fit. Where the output is cut short by a whole stride, its AVX2 and SSE pools write beyond it.
bool windows_fit(int32_t in, int32_t out, int32_t kernel, int32_t dilation, int32_t stride, int32_t pad_begin);

// A plain, and thus very slow, implementation, by its name.
bool is_reference(const char* implementation);

inline size_t round_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

inline const float* resolve(const rt::Segment& segment, const uint8_t* arena) {
  return rt::f32(segment, arena);
}

// While it lives the calling thread works alone.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_;
};

// Writes all channels of so many pixels side by side, on the OpenMP threads.
void gather(const rt::Gather& gather, int64_t pixels, float* to);

}  // namespace sparsenet::onednn
