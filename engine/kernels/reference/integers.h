// Plain kernels of the steps that compute with integers.
#pragma once

#include "runtime/kernel.h"

namespace sparsenet::rt {

extern const Kernel kIntegerReferenceConv;
extern const Kernel kIntegerReferencePool;
extern const Kernel kIntegerReferenceGlobalPool;
extern const Kernel kIntegerReferenceBinary;
extern const Kernel kIntegerReferenceAffine;
extern const Kernel kIntegerReferenceTable;
extern const Kernel kIntegerReferenceStridedCopy;
extern const Kernel kIntegerReferenceQuantize;
extern const Kernel kIntegerReferenceDequantize;
extern const Kernel kIntegerReferenceSoftmax;           // integer_softmax.cpp
extern const Kernel* const kIntegerReferenceKernels[];  // terminated by null

// Channel c of a pixel of a view whose elements are bytes.
inline int8_t* integer(const View& view, uint8_t* arena, int64_t pixel, int32_t c) {
  const Segment* segment = view.segments;
  while (c >= segment->channels) {
    c -= segment->channels;
    ++segment;
  }
  const void* base = segment->constant ? segment->constant : arena + segment->offset;
  return static_cast<int8_t*>(const_cast<void*>(base)) + pixel * segment->pixel_stride + c;  // constants are only read
}

}  // namespace sparsenet::rt
