// The fast kernels of int8. To add one, write a file here and add a row to list.cpp.
#pragma once

#include "kernels/integer/multiply.h"
#include "runtime/caches.h"
#include "runtime/kernel.h"

namespace sparsenet::rt::SPARSENET_ISA {

extern const Kernel kIntegerWinograd;
extern const Kernel kIntegerConv;
extern const Kernel kIntegerDepthwiseLines;
extern const Kernel kIntegerDepthwisePanel;
extern const Kernel kIntegerDepthwise;
extern const Kernel kIntegerPool;
extern const Kernel kIntegerGlobalPool;
extern const Kernel kIntegerBinary;
extern const Kernel kIntegerGate;
extern const Kernel kIntegerTable;
extern const Kernel kIntegerQuantize;
extern const Kernel kIntegerRequantize;
extern const Kernel kIntegerRequantizeUnsigned;
extern const Kernel kIntegerDequantize;
extern const Kernel kIntegerGather;
extern const Kernel kIntegerStrided;

SPARSENET_INLINE int padded_outputs(int outputs) {
  return (outputs + kLanes - 1) / kLanes * kLanes;
}

// What the sums of a convolution become integers with. `numbers` has room for three numbers for each padded output, and
// begins with the sum of every output's weights; `zero` is what a zero of the input is in the sums.
SPARSENET_INLINE Requantize make_requantize(const Step& step, int32_t* numbers, int32_t zero) {
  const QuantParams& q = *step.quant;
  const int padded = padded_outputs(step.out.c);
  const auto* bias = static_cast<const int32_t*>(step.conv.bias.data);
  int32_t *multiplier = numbers + padded, *shift = multiplier + padded;
  bool high = kHasHigh;
  for (int o = 0; o < step.out.c; ++o) {
    numbers[o] = wrapped_sum(bias ? bias[o] : 0, -zero * numbers[o]);
    multiplier[o] = q.multipliers[o].value;
    shift[o] = q.multipliers[o].value == 0 ? -2 : q.multipliers[o].shift;
    high = high && is_high(q.multipliers[o], q.rounding);
  }
  return {numbers, multiplier, shift, form_of(q.rounding, high), q.out_zero, q.low, q.high};
}

}  // namespace sparsenet::rt::SPARSENET_ISA
