// What lowering of steps that are no convolutions shares: index spaces in the form that kernels walk, and widths of
// loads.
#pragma once

#include <vector>

#include "backends/gpu/builder.h"

namespace sparsenet::gpu {

// Dimensions of an index space. Those of one element are left out, and neighbours that are walked as one are merged.
class IndexSpace {
 public:
  struct Dim {
    uint32_t size;
    uint32_t out, in, in2;  // elements from one index to the next
  };

  // Dimensions [first, last) of a step; those of its second input only if it has one.
  IndexSpace(const snp_step& step, int first, int last);

  // Sorts dimensions by their distances in the output, or in the first input, so that the nearest elements are those of
  // neighbouring threads. Only where the order in which elements are visited does not matter.
  void sort_by_out();
  void sort_by_in();

  const std::vector<Dim>& dims() const { return dims_; }
  std::vector<Dim>& dims() { return dims_; }
  uint32_t elements() const;
  Space arg() const;  // merges neighbours

 private:
  std::vector<Dim> dims_;  // the fastest one first
};

// Why a step over an index space is not supported, or null.
const char* check_strided(const snp_step& step);

// The operands of a step over an index space, and the element of the arena where its output begins.
Operand in_of(const snp_step& step, Builder& builder);
Operand in2_of(const snp_step& step, Builder& builder);
uint32_t out_of(const snp_step& step);

inline uint64_t pixels_of(const snp_view& view) {
  return static_cast<uint64_t>(view.n) * static_cast<uint64_t>(view.h) * static_cast<uint64_t>(view.w);
}
inline uint64_t elements_of(const snp_view& view) {
  return pixels_of(view) * static_cast<uint64_t>(view.c);
}
inline uint64_t bytes_of(const snp_view& view, const Builder& builder) {
  return elements_of(view) * builder.element_bytes();
}

// Whether channels 4i to 4i + 3 of every pixel are neighbours in memory, at a multiple of four elements.
bool in_fours(const snp_view& view);

inline uint32_t divide_up(uint64_t count, uint64_t by) {
  return static_cast<uint32_t>((count + by - 1) / by);
}

// Whether two views have the same pixels and channels.
inline bool same_size(const snp_view& a, const snp_view& b) {
  return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

// The affine in front of a step, with its numbers in the block of weights.
AffineArg affine_of(const snp_step& step, Builder& builder);

// How many threads share a row that is reduced: a power of two, at most 256, so that each has a few elements to add and
// the device has threads enough.
int lanes_for(uint64_t rows, uint64_t terms, const Traits& device);

}  // namespace sparsenet::gpu
