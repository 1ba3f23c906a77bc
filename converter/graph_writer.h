// Builds a Graph node by node for the importers of graph formats: unique names, and a message for every node whose
// shapes do not fit, at the moment it is added.
#pragma once

#include <sparsenet/graph.h>

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace sparsenet::converter {

class GraphWriter {
 public:
  Graph graph;

  // `base` itself where it is free, else with a number behind.
  std::string unique(const std::string& base);

  ValueId input(const std::string& name, Shape shape) {
    return *ports_.insert(graph.add_input(unique(name), std::move(shape))).first;
  }
  ValueId constant(const std::string& name, Tensor tensor) {
    return graph.add_constant(unique(name), std::move(tensor));
  }

  // Adds the node. A node that does not fit its inputs gives its shape rule's message; the graph is then of no more use
  // than to look for further problems.
  Result<ValueId> node(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{},
                       const std::string& output_name = "");
  Result<std::vector<ValueId>> node_multi(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs,
                                          const std::vector<std::string>& output_names);

  // Reshapes to `target`, an exact shape of as many elements, or returns `x` where it has that shape already. Dimension
  // 0 must stay the batch.
  Result<ValueId> reshape(const std::string& name, ValueId x, const Shape& target, const std::string& output_name = "");
  // Transposes, or returns `x` where the permutation changes nothing.
  Result<ValueId> transpose(const std::string& name, ValueId x, const std::vector<int32_t>& perm,
                            const std::string& output_name = "");

  // Makes `id` a graph output called `name`. A value that is an input or an output already gets an Identity.
  Status output(ValueId id, const std::string& name);

  const Shape& shape(ValueId id) const { return graph.shape(id); }

 private:
  std::unordered_set<std::string> names_;
  std::unordered_map<std::string, int> next_;  // the number that the next value of an already used name gets
  std::unordered_set<ValueId> ports_;          // inputs and outputs of the graph
};

// After import: gives convolutions and FC layers without a bias the constant that is added behind them, and removes
// nodes and constants that nothing reads. Then checks the whole graph.
Status finish_graph(Graph* graph);

// Float32 constants below the smallest normal number, 1.2e-38, become zero: they are what is left of weights that
// training has driven to nothing, every step would count them as zero, and CPUs that do not take 100 times as long.
// Returns how many there were, and the name of the first tensor that had one.
int64_t flush_denormals(Graph* graph, std::string* first);

}  // namespace sparsenet::converter
