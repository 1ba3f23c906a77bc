// The inputs, outputs and initializers of an ONNX graph.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "converter/graph_options.h"
#include "converter/onnx/node_context.h"

namespace sparsenet::converter {

// Puts the initializers into state->values, moved out of the message. Those that cannot be read become problems.
void read_initializers(onnx_ns::GraphProto* graph, OnnxState* state);

// Adds the graph's inputs, apart from initializers, with the shapes that the options give where the file leaves sizes
// open, and sets state->batch. With `needed`, only inputs of these names. What does not fit becomes a problem.
void read_inputs(const onnx_ns::GraphProto& graph, const GraphOptions& options,
                 const std::unordered_set<std::string>* needed, OnnxState* state);

// The names of the values that the network shall compute. A name in the options that the file does not have becomes a
// problem.
std::vector<std::string> wanted_outputs(const onnx_ns::GraphProto& graph, const GraphOptions& options, Report* report);

}  // namespace sparsenet::converter
