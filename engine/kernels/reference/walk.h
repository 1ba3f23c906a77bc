// Walks over an index space with a stride per dimension, for the plain kernels of general shapes.
#pragma once

#include "step/step.h"

namespace sparsenet::rt {

// An odometer over the dimensions [begin, end) that keeps the offsets in the output and in both inputs.
struct Walk {
  const Strided& s;
  int begin, end;
  int64_t index[kMaxDims] = {};
  int64_t out, in[2];

  Walk(const Strided& strided, int first, int last) : s(strided), begin(first), end(last), out(0), in{0, 0} {}

  bool next() {
    for (int d = end - 1; d >= begin; --d) {
      ++index[d];
      out += s.out_strides[d];
      in[0] += s.in_strides[0][d];
      in[1] += s.in_strides[1][d];
      if (index[d] < s.dims[d]) return true;
      out -= s.out_strides[d] * s.dims[d];
      in[0] -= s.in_strides[0][d] * s.dims[d];
      in[1] -= s.in_strides[1][d] * s.dims[d];
      index[d] = 0;
    }
    return false;
  }
};

// Calls visit(walk) at every index of dims [first, last).
template <class Visit>
void for_each(const Strided& s, int first, int last, Visit visit) {
  Walk walk(s, first, last);
  do visit(walk);
  while (walk.next());
}

}  // namespace sparsenet::rt
