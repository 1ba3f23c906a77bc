// Named weights as a file without a graph holds them.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <vector>

#include "converter/io/numeric.h"

namespace sparsenet::converter {

struct SourceTensor {
  std::string name;
  ElementType type = ElementType::kFloat32;  // in the file
  Shape shape;
  Elements<float> values;  // row-major; empty where `type` is an integer: weights are floats
};

struct SourceTensors {
  std::vector<SourceTensor> tensors;  // in the file's order
  bool ordered = true;   // the order is the one in which the network registered them (safetensors sorts by itself)
  std::string format;    // "PyTorch (zip)", ...
  std::string producer;  // what the file says of its writer
  std::vector<std::string> notes;
};

}  // namespace sparsenet::converter
