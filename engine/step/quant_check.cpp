#include "step/quant_check.h"

#include "step/view_check.h"

namespace sparsenet::rt {
namespace {

constexpr char kWrongTypes[] = "integers: types that this kind of step does not compute with";
constexpr int32_t kMostProbabilities = 4095;  // a Softmax adds them with 12 bits in front of the point
constexpr int64_t kMostPoolTaps = INT32_MAX / 512;

bool is_byte(int32_t x) {
  return x >= -128 && x <= 127;
}

// Zero points (that of uint8 is up to 255), bounds, shifts and factors.
bool numbers_fit(const QuantParams& q, int32_t multipliers) {
  const bool fit = q.rounding <= Rounding::kDouble && q.in_zero >= -128 && q.in_zero <= 255 && is_byte(q.in2_zero) &&
                   is_byte(q.out_zero) && is_byte(q.low) && is_byte(q.high) && q.low <= q.high && q.left_shift >= 0 &&
                   q.left_shift <= 20 && q.multiplier_count == multipliers;
  for (int32_t i = 0; fit && i < q.multiplier_count; ++i) {
    const Multiplier m = q.multipliers[i];
    if ((m.value != 0 && m.value < 1 << 29) || m.shift < -31 || m.shift > 30) return false;
  }
  return fit;
}

// Whether what a channel's integers become fits into 32 bits.
bool channels_fit(const QuantParams& q, int32_t count) {
  for (int32_t c = 0; q.channels && c < count; ++c) {
    const ChannelScale s = q.channels[c];
    const int64_t factor = s.multiplier < 0 ? -int64_t{s.multiplier} : s.multiplier;
    const int64_t addend = s.addend < 0 ? -int64_t{s.addend} : s.addend;
    if (s.shift < 0 || s.shift > 31 || factor * 128 + addend > INT32_MAX) return false;
  }
  return true;
}

struct Expected {
  DataType in, out;
  int32_t multipliers;
};

// What a kind of step has; `multipliers` of -1: it does not compute with integers.
Expected expected_of(const Step& s) {
  constexpr DataType kInt8 = DataType::kInt8;
  switch (s.op) {
    case StepOp::kConv:
      return {kInt8, kInt8, s.out.c};
    case StepOp::kBinary:
      if (s.binary.op == BinaryOp::kMul) return {kInt8, kInt8, 1};
      return {kInt8, kInt8, s.binary.op == BinaryOp::kAdd || s.binary.op == BinaryOp::kSub ? 3 : -1};
    case StepOp::kGlobalPool:
    case StepOp::kSoftmax:
      return {kInt8, kInt8, 1};
    case StepOp::kPool:
    case StepOp::kAffine:
    case StepOp::kUnary:
    case StepOp::kStridedCopy:
      return {kInt8, kInt8, 0};
    case StepOp::kQuantize:
      return {s.in.type, kInt8, s.in.type == DataType::kFloat32 ? 0 : 1};
    case StepOp::kDequantize:
      return {kInt8, DataType::kFloat32, 0};
    default:
      return {kInt8, kInt8, -1};
  }
}

// A Softmax whose differences become fixed-point numbers by a shift to the left, and whose sum does not overflow and is
// not zero, because the largest element, with a difference of 0, counts.
bool softmax_fits(const Step& s) {
  int32_t along = 1;  // the index space has been checked: it has at most kMostElements
  for (int32_t d = s.strided->reduced_from; d < s.strided->rank; ++d) along *= static_cast<int32_t>(s.strided->dims[d]);
  return s.quant->least <= 0 && s.quant->multipliers[0].shift >= 0 && along <= kMostProbabilities;
}

// What only some kinds of steps have.
bool kind_fits(const Step& s) {
  const QuantParams& q = *s.quant;
  const bool scales =
      s.op == StepOp::kConv || s.op == StepOp::kPool || s.op == StepOp::kGlobalPool || s.op == StepOp::kAffine;
  const bool real = s.op == StepOp::kQuantize ? s.in.type == DataType::kFloat32 : s.op == StepOp::kDequantize;
  const bool pads = s.strided && s.strided->fill_first;
  return (!q.channels || scales) && (q.table != nullptr) == (s.op == StepOp::kUnary) && (!real || is_scale(q.scale)) &&
         (s.op != StepOp::kPool || int64_t{s.window.kernel_h + 1} * (s.window.kernel_w + 1) <= kMostPoolTaps) &&
         (!pads || (s.strided->fill_value >= -128.f && s.strided->fill_value <= 127.f)) &&
         (s.op != StepOp::kSoftmax || softmax_fits(s)) && !s.affine.scale && !s.affine.shift;
}

}  // namespace

const char* check_quant(const Step& s, const PlanRoom& room) {
  const QuantParams& q = *s.quant;
  const Expected expected = expected_of(s);
  if (expected.multipliers < 0 || s.in.type != expected.in || s.out.type != expected.out) return kWrongTypes;
  if (s.op == StepOp::kQuantize && s.in.type != DataType::kFloat32 && s.in.type != DataType::kInt8 &&
      s.in.type != DataType::kUInt8) {
    return kWrongTypes;
  }
  if (s.in2.segment_count != 0 && s.in2.type != DataType::kInt8) return kWrongTypes;
  const bool sum = s.op == StepOp::kConv && s.in2.segment_count != 0;
  if (sum != (q.residual != nullptr) || (q.residual && !numbers_fit(*q.residual, 3)) ||
      !numbers_fit(q, expected.multipliers) || !channels_fit(q, s.in.c) || !kind_fits(s)) {
    return "integers: factors, bounds or tables that are missing, of another length or out of range";
  }
  if (s.op != StepOp::kConv) return nullptr;
  const int64_t weights = int64_t{s.out.c} * (s.in.c / s.conv.groups) * s.window.kernel_h * s.window.kernel_w;
  const bool readable = readable_as(DataType::kInt8, s.conv.weight, weights, room) &&
                        (!s.conv.bias || readable_as(DataType::kInt32, s.conv.bias, s.out.c, room));
  return readable ? nullptr : "integers: expected weights of int8 and biases of int32, one for each";
}

}  // namespace sparsenet::rt
