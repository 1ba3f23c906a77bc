// The order in which the nodes of an ONNX graph are visited.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "converter/onnx/onnx_proto.h"

namespace sparsenet::converter {

// "Conv 'layer1'"; a node without a name is called after its first output.
std::string subject_of(const onnx_ns::NodeProto& node);

// Calls `visit` for every name that the node reads, also for those that its branches and bodies read.
void for_each_read(const onnx_ns::NodeProto& node, const std::function<void(const std::string&)>& visit);

struct NodeOrder {
  // Indices of the nodes that the wanted values need, each behind those that it reads. In the file's own order where
  // that is possible.
  std::vector<int> nodes;
  // Problems of the graph as a whole: subject and reason.
  std::vector<std::pair<std::string, std::string>> problems;
};

// Nodes without outputs are always in the list: they are damaged, and importing them says so.
NodeOrder order_nodes(const onnx_ns::GraphProto& graph, const std::vector<std::string>& wanted);

}  // namespace sparsenet::converter
