// Integers of TensorFlow Lite files that stand for real numbers.
#pragma once

#include "converter/tflite/tflite_context.h"

namespace sparsenet::converter {

// The scales and zero points of a tensor; empty if it has none, or none that make sense.
Quantization quantization_of(const tflite::Tensor& tensor);

// Makes the numbers that a constant's integers stand for of them, with a note. `index`: its tensor in the file.
Status widen(const TfliteState& state, int32_t index, HostTensor* tensor);

// Integers of int8 or int32 as a constant of the graph.
Tensor integer_tensor(const HostTensor& tensor);

// Makes the activation part of a convolution or fully connected layer. Returns what is left to do.
tflite::ActivationFunctionType fuse(tflite::ActivationFunctionType activation, Attrs* attrs);

}  // namespace sparsenet::converter
