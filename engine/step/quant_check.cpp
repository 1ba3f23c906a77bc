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

const char* check_numbers(const QuantParams& q, int32_t multipliers) {
  if (q.rounding != Rounding::kSingle && q.rounding != Rounding::kDouble) return "integers: an unknown rounding";
  // (The zero point of uint8 is up to 255.)
  if (q.in_zero < -128 || q.in_zero > 255 || !is_byte(q.in2_zero) || !is_byte(q.out_zero)) {
    return "integers: expected zero points of their type";
  }
  if (!is_byte(q.low) || !is_byte(q.high) || q.low > q.high) return "integers: expected bounds within int8, in order";
  if (q.left_shift < 0 || q.left_shift > 20) return "integers: expected a shift of the operands of 0 to 20";
  if (q.multiplier_count != multipliers) return "integers: expected one factor for each output, or operand";
  for (int32_t i = 0; i < q.multiplier_count; ++i) {
    const Multiplier m = q.multipliers[i];
    const bool fits = (m.value == 0 || m.value >= 1 << 30) && m.shift >= -31 && m.shift <= 30;
    if (!fits) return "integers: expected factors of 2^30 to 2^31 - 1 with shifts of -31 to 30";
  }
  return nullptr;
}

// Whether what a channel's integers become fits into 32 bits.
const char* check_channels(const QuantParams& q, int32_t count) {
  for (int32_t c = 0; q.channels && c < count; ++c) {
    const ChannelScale s = q.channels[c];
    const int64_t factor = s.multiplier < 0 ? -int64_t{s.multiplier} : s.multiplier;
    const int64_t addend = s.addend < 0 ? -int64_t{s.addend} : s.addend;
    if (s.shift < 0 || s.shift > 31 || factor * 128 + addend > INT32_MAX) {
      return "integers: expected scales of channels that 32 bits hold";
    }
  }
  return nullptr;
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
      return {kInt8, kInt8, s.binary.op == BinaryOp::kAdd ? 3 : s.binary.op == BinaryOp::kMul ? 1 : -1};
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

const char* check_softmax(const Step& s) {
  if (s.quant->multipliers[0].shift < 0) return "integers: expected a Softmax whose input has a scale of 2^-27 or more";
  int64_t along = 1;
  for (int32_t d = s.strided->reduced_from; d < s.strided->rank; ++d) along *= s.strided->dims[d];
  return along <= kMostProbabilities ? nullptr : "integers: expected a Softmax over at most 4095 elements";
}

const char* check_kind(const Step& s) {
  const QuantParams& q = *s.quant;
  const bool scales =
      s.op == StepOp::kConv || s.op == StepOp::kPool || s.op == StepOp::kGlobalPool || s.op == StepOp::kAffine;
  if (q.channels && !scales) return "integers: this kind of step takes no scales of channels";
  if ((q.table != nullptr) != (s.op == StepOp::kUnary))
    return "integers: expected a table for a function, and only there";
  const bool real = s.op == StepOp::kQuantize ? s.in.type == DataType::kFloat32 : s.op == StepOp::kDequantize;
  if (real && !is_scale(q.scale)) return "integers: expected a scale above 0";
  if (s.op == StepOp::kPool && int64_t{s.window.kernel_h + 1} * (s.window.kernel_w + 1) > kMostPoolTaps) {
    return "integers: expected a smaller window";
  }
  if (s.strided && s.strided->fill_first && !(s.strided->fill_value >= -128.f && s.strided->fill_value <= 127.f)) {
    return "integers: expected a padding within int8";
  }
  return s.op == StepOp::kSoftmax ? check_softmax(s) : nullptr;
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
  if (s.affine.scale || s.affine.shift) return "integers: this step takes no scale and shift of real numbers";
  if (const char* message = check_numbers(q, expected.multipliers)) return message;
  if (const char* message = check_channels(q, s.in.c)) return message;
  const bool sum = s.op == StepOp::kConv && s.in2.segment_count != 0;
  if (sum != (q.residual != nullptr)) return "integers: expected a residual and its factors, or neither";
  if (q.residual && check_numbers(*q.residual, 3)) return "integers: the residual's factors are out of range";
  if (s.op == StepOp::kConv) {
    const int64_t weights = int64_t{s.out.c} * (s.in.c / s.conv.groups) * s.window.kernel_h * s.window.kernel_w;
    if (!readable_as(DataType::kInt8, s.conv.weight, weights, room) ||
        (s.conv.bias && !readable_as(DataType::kInt32, s.conv.bias, s.out.c, room))) {
      return "integers: expected a weight of int8 for each output, input and tap, and biases of int32";
    }
  }
  return check_kind(s);
}

}  // namespace sparsenet::rt
