// Softmax of integers, in fixed point alone, with the results of TensorFlow Lite's reference kernel: the differences
// from the largest element are numbers with 5 integer bits, and the sum of their exponentials has 12.
#include "kernels/reference/common.h"
#include "kernels/reference/integers.h"
#include "kernels/reference/walk.h"
#include "runtime/fixed_point.h"

namespace sparsenet::rt {
namespace {

int32_t leading_zeros(uint32_t x) {
  int32_t zeros = 0;
  while (zeros < 32 && !(x & (uint32_t{1} << (31 - zeros)))) ++zeros;
  return zeros;
}

void softmax_run(const void* state, int32_t, void*) {
  const auto& r = *static_cast<const ReferenceState*>(state);
  const Strided& s = *r.step.strided;
  const QuantParams& q = *r.step.quant;
  const Multiplier& m = q.multipliers[0];
  const int8_t* x = integer(r.step.in, r.arena, 0, 0);
  int8_t* y = integer(r.step.out, r.arena, 0, 0);
  for_each(s, 0, s.reduced_from, [&](const Walk& outer) {
    const auto along = [&](auto visit) { for_each(s, s.reduced_from, s.rank, visit); };
    int32_t top = -128;
    along([&](const Walk& at) {
      const int32_t v = x[outer.in[0] + at.in[0]];
      top = v > top ? v : top;
    });
    const auto exp_of = [&](int32_t difference) {
      return exp_of_negative(high_product(shifted_left(difference, m.shift), m.value), 5);
    };
    int32_t sum = 0;  // 12 integer bits
    along([&](const Walk& at) {
      const int32_t difference = x[outer.in[0] + at.in[0]] - top;
      if (difference >= q.least) sum = wrapped_sum(sum, rounded_quotient(exp_of(difference), 12));
    });
    const int32_t zeros = leading_zeros(static_cast<uint32_t>(sum));
    const auto fraction = static_cast<int32_t>((static_cast<uint32_t>(sum) << zeros) - (uint32_t{1} << 31));
    const int32_t factor = reciprocal(fraction);
    const int32_t shift = 12 - zeros + 31 - 8;
    along([&](const Walk& at) {
      const int32_t difference = x[outer.in[0] + at.in[0]] - top;
      int32_t v = -128;
      if (difference >= q.least) v += rounded_quotient(high_product(factor, exp_of(difference)), shift);
      y[outer.out + at.out] = static_cast<int8_t>(clamped(v, -128, 127));
    });
  });
}

// With more elements than the sum has room for, the sum of exponentials could overflow.
bool supports_softmax(const Step& step) {
  if (step.op != StepOp::kSoftmax || !step.quant || !step.strided) return false;
  int64_t elements = 1;
  for (int32_t d = step.strided->reduced_from; d < step.strided->rank; ++d) elements *= step.strided->dims[d];
  return elements < 4096;
}

}  // namespace

const Kernel kIntegerReferenceSoftmax = {
    .name = "softmax_s8_reference",
    .backend = "reference",
    .supports = supports_softmax,
    .query = reference_query,
    .prepare = reference_prepare,
    .run = softmax_run,
    .types = kInt8,
};

}  // namespace sparsenet::rt
