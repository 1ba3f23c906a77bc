// Builds a Graph node by node for the importers of graph formats: makes names unique, and reports a node whose shapes
// do not fit at the moment it is added.
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

  // `base` itself if it is not used yet, else with a number appended.
  std::string unique(const std::string& base);

  ValueId input(const std::string& name, Shape shape, DataType type = DataType::kFloat32) {
    return *ports_.insert(graph.add_input(unique(name), std::move(shape), type)).first;
  }
  ValueId constant(const std::string& name, Tensor tensor) {
    return graph.add_constant(unique(name), std::move(tensor));
  }

  // Adds the node. If it does not fit its inputs, the message of its shape rule is returned; the graph can then only be
  // used to look for further problems.
  Result<ValueId> node(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{},
                       const std::string& output_name = "");
  Result<std::vector<ValueId>> node_multi(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs,
                                          const std::vector<std::string>& output_names);

  // Reshapes to `target`, an exact shape with as many elements, or returns `x` if it has that shape already. The
  // dimension of the batch stays free where it can be told which one that is.
  Result<ValueId> reshape(const std::string& name, ValueId x, const Shape& target, const std::string& output_name = "");
  // Transposes, or returns `x` if the permutation changes nothing. A transposed value is not transposed twice.
  Result<ValueId> transpose(const std::string& name, ValueId x, const std::vector<int32_t>& perm,
                            const std::string& output_name = "");

  // The value with its batch as a fixed number of images: a Reshape to the shape that it has, which no other batch
  // passes. What follows may compute across the images.
  Result<ValueId> pinned(const std::string& name, ValueId x);

  // Makes `id` a graph output called `name`. If the value is already an input or an output, an Identity is added.
  Status output(ValueId id, const std::string& name);

  const Shape& shape(ValueId id) const { return graph.shape(id); }
  // Which dimension is the batch: 0, unless a Transpose has moved it. -1: none, as in constants, or it cannot be told.
  int32_t batch_axis(ValueId id) const;
  // The node that makes the value; null for inputs and constants. It holds until a node is added.
  const Node* maker(ValueId id) const;

 private:
  void note(const Node& node, size_t index);

  std::unordered_set<std::string> names_;
  std::unordered_map<std::string, int> next_;        // the next number for a name that is already used
  std::unordered_set<ValueId> ports_;                // inputs and outputs of the graph
  std::unordered_map<ValueId, int32_t> batch_axes_;  // where it is not 0, or none
  std::unordered_map<ValueId, size_t> makers_;
};

// The readers of every value: node indices; a graph output counts as a reader that is not a node (SIZE_MAX).
std::vector<std::vector<size_t>> find_readers(const Graph& graph);

// Drops nodes that do not contribute to an output, then values that nothing refers to, and renumbers the rest.
void remove_unused(Graph* graph);

// To be called after the import: recognises activations that were written as several nodes, merges constants that are
// added after a convolution or FC layer without a bias into a bias, and removes nodes and constants that nothing reads.
// Then checks the whole graph.
Status finish_graph(Graph* graph);

// Sets float32 constants below the smallest normal number, 1.2e-38, to zero: they are remainders of weights that
// training has driven towards zero. Every step would treat them as zero anyway, and CPUs that do not treat them so take
// 100 times as long. Returns how many there were, and the name of the first tensor that contained one.
int64_t flush_denormals(Graph* graph, std::string* first);

}  // namespace sparsenet::converter
