// From real factors and bounds to the integers that steps compute with.
#pragma once

#include <sparsenet/graph.h>

#include "step/step.h"

namespace sparsenet {

// The closest multiplier to a positive factor. One below 2^-32 becomes 0. False for one of 2^30 and more.
bool make_multiplier(double factor, rt::Multiplier* multiplier);

// What the mean of `count` integers is multiplied by, from the multiplier of a single one: divided, and rounded down,
// as TensorFlow Lite does it.
rt::Multiplier multiplier_of_mean(const rt::Multiplier& multiplier, int64_t count);

// The integers for x -> factor * x + addend, as precise as 32 bits allow for x in [-128, 127].
rt::ChannelScale make_channel_scale(double factor, double addend);

// The integer that stands for a real number in an int8 value, rounded (ties away from zero) and clamped to [-128, 127];
// the zero point for NaN.
int32_t integer_of(float real, const Value& value);

}  // namespace sparsenet
