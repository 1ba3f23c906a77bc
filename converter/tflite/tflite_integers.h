// Integers of TensorFlow Lite files that stand for real numbers.
//
// What is uint8 becomes int8 here by taking 128 off its integers and its zero points, which changes no number that they
// stand for.
#pragma once

#include "converter/tflite/tflite_context.h"

namespace sparsenet::converter {

inline bool is_byte(tflite::TensorType type) {
  return type == tflite::TensorType::INT8 || type == tflite::TensorType::UINT8;
}

// The scales and zero points of a tensor, of one of uint8 as int8; empty if it has none, or none that make sense.
Quantization quantization_of(const tflite::Tensor& tensor);

// Makes the numbers that a constant's integers stand for of them, with a note. `index`: its tensor in the file.
Status widen(const TfliteState& state, int32_t index, HostTensor* tensor);

// Integers of int8 or int32 as a constant of the graph.
Tensor integer_tensor(const HostTensor& tensor);

// Integers of weights less their zero points, with the outputs first and the input's channels in dimension 1. They may
// go beyond int8: then a second weight has the rest, for the channels [begin, end) of the input alone.
struct CenteredWeights {
  HostTensor weight, rest;
  int64_t begin = 0, end = 0;  // equal: there is no rest
};
// Fails for zero points that are no integers of the weights' type.
Result<CenteredWeights> centered(HostTensor weight, const Quantization& q);

// Two tensors side by side along dimension 1; all other dimensions are equal.
HostTensor beside(const HostTensor& a, const HostTensor& b);

// Makes the activation part of a convolution or fully connected layer. Returns what is left to do.
tflite::ActivationFunctionType fuse(tflite::ActivationFunctionType activation, Attrs* attrs);

}  // namespace sparsenet::converter
