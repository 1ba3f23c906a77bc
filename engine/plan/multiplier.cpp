#include "plan/multiplier.h"

#include <algorithm>
#include <cmath>

namespace sparsenet {

bool make_multiplier(double factor, rt::Multiplier* multiplier) {
  int shift = 0;
  auto value = static_cast<int64_t>(std::round(std::frexp(factor, &shift) * 2147483648.0));
  if (value == int64_t{1} << 31) {
    value /= 2;
    ++shift;
  }
  if (shift < -31) {
    value = 0;
    shift = 0;
  }
  *multiplier = {static_cast<int32_t>(value), shift};
  return shift <= 30;
}

rt::Multiplier multiplier_of_mean(const rt::Multiplier& multiplier, int64_t count) {
  int shift = 0;  // the largest power of two that is not above the count; bits that the quotient has room for
  while (shift < 32 && count >> (shift + 1) > 0) ++shift;
  shift = std::min(shift, 31 + multiplier.shift);
  return {static_cast<int32_t>((int64_t{multiplier.value} << shift) / count), multiplier.shift - shift};
}

rt::ChannelScale make_channel_scale(double factor, double addend) {
  constexpr double kRoom = 2147483647. - 256;  // for what rounding adds
  const auto fits = [&](int shift) {
    return std::ldexp(128 * std::abs(factor) + std::abs(addend) + 0.5, shift) <= kRoom;
  };
  int shift = 24;
  while (shift > 1 && !fits(shift)) --shift;
  if (!fits(shift)) {  // far beyond int8 but around one number, which stays where it is
    const double ratio = kRoom / 8 / std::max(128 * std::abs(factor), std::abs(addend));
    factor *= ratio;
    addend *= ratio;
  }
  return {static_cast<int32_t>(std::round(std::ldexp(factor, shift))),
          static_cast<int32_t>(std::round(std::ldexp(addend, shift))) + (1 << (shift - 1)), shift};
}

int32_t integer_of(float real, const Value& value) {
  const Quantization& q = value.quantization;
  if (std::isnan(real)) return q.zero_points[0];
  const double integer = q.zero_points[0] + std::round(static_cast<double>(real / q.scales[0]));
  return static_cast<int32_t>(std::clamp(integer, -128., 127.));
}

}  // namespace sparsenet
