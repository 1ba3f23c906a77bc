// What the command line says about a file that holds a graph.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <utility>
#include <vector>

namespace sparsenet::converter {

struct GraphOptions {
  std::vector<std::string> outputs;  // the values that the network computes; empty: the file's own outputs
  std::vector<std::pair<std::string, Shape>> input_shapes;  // for inputs whose sizes the file leaves open
  bool any() const { return !outputs.empty() || !input_shapes.empty(); }
};

// "NAME=1,3,48,192"
Result<std::pair<std::string, Shape>> parse_input_shape(const std::string& text);

}  // namespace sparsenet::converter
