#include "kernels/portable/activation.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

// The kind is known at compile time, so the loop holds the one formula.
template <Act::Kind kKind>
void rows_of(const Act& act, float* y, ptrdiff_t row_stride, ptrdiff_t pixel_stride, int rows, int count, int outputs) {
  Act known = act;
  known.kind = kKind;
  const auto formula = [&](V x) { return kKind <= Act::kTanh ? activate(x, known) : smooth_activation(x, known); };
  for (int r = 0; r < rows; ++r) {
    for (int p = 0; p < count; ++p) {
      float* v = y + r * row_stride + p * pixel_stride;
      int o = 0;
      for (; o + kLanes <= outputs; o += kLanes) store(v + o, formula(load(v + o)));
      if (o < outputs) store_first(v + o, formula(load_first(v + o, outputs - o)), outputs - o);
    }
  }
}

using Rows = void (*)(const Act& act, float* y, ptrdiff_t row_stride, ptrdiff_t pixel_stride, int rows, int count,
                      int outputs);

Rows function_of(Act::Kind kind) {
  switch (kind) {
    case Act::kClamp:
      return nullptr;
    case Act::kLeakyRelu:
      return rows_of<Act::kLeakyRelu>;
    case Act::kSigmoid:
      return rows_of<Act::kSigmoid>;
    case Act::kHardSigmoid:
      return rows_of<Act::kHardSigmoid>;
    case Act::kHardSwish:
      return rows_of<Act::kHardSwish>;
    case Act::kTanh:
      return rows_of<Act::kTanh>;
    case Act::kElu:
      return rows_of<Act::kElu>;
    case Act::kSoftplus:
      return rows_of<Act::kSoftplus>;
    case Act::kSilu:
      return rows_of<Act::kSilu>;
    case Act::kMish:
      return rows_of<Act::kMish>;
    case Act::kGelu:
      return rows_of<Act::kGelu>;
    case Act::kGeluTanh:
      return rows_of<Act::kGeluTanh>;
    case Act::kErf:
      return rows_of<Act::kErf>;
    case Act::kExp:
      return rows_of<Act::kExp>;
    case Act::kLog:
      return rows_of<Act::kLog>;
    case Act::kPow:
      return rows_of<Act::kPow>;
  }
  return nullptr;
}

}  // namespace

V activate_smooth(V x, const Act& act) {
  return smooth_activation(x, act);
}

void activate_rows(const Act& act, float* y, ptrdiff_t row_stride, ptrdiff_t pixel_stride, int rows, int count,
                   int outputs) {
  const Rows function = function_of(act.kind);
  if (function) function(act, y, row_stride, pixel_stride, rows, count, outputs);
}

}  // namespace sparsenet::rt::SPARSENET_ISA
