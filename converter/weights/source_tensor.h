// Named weights from a file without a graph.
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
  Elements<float> values;  // row-major; empty if `type` is an integer, because weights are floats
};

struct SourceTensors {
  std::vector<SourceTensor> tensors;  // in the file's order
  bool ordered = true;   // in the order in which the network registered them (safetensors sorts them itself)
  std::string format;    // "PyTorch (zip)", ...
  std::string producer;  // what the file says about the program that wrote it
  std::vector<std::string> notes;
};

}  // namespace sparsenet::converter
