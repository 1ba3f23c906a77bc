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
  Shape file_shape;        // for reports, where the file has the dimensions in another order; else empty
  // Which tensors keep the network's order among themselves if the file as a whole does not: 1: those of convolutions
  // and dense layers; 2: of batch normalisations; 0: all, in one run.
  int run = 0;
};

struct SourceTensors {
  std::vector<SourceTensor> tensors;  // in the file's order
  bool ordered = true;           // in the order in which the network registered them (safetensors sorts them itself)
  bool ordered_in_runs = false;  // only within each run
  // Names are LAYER/kernel, LAYER/gamma and so on, and batch normalisation has another epsilon unless told otherwise.
  bool keras = false;
  std::vector<double> bn_epsilons;  // all that the file tells, each once
  std::string format;               // "PyTorch (zip)", ...
  std::string producer;             // what the file says about the program that wrote it
  std::vector<std::string> notes;
};

}  // namespace sparsenet::converter
