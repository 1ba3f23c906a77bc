// Puts Quantize nodes where compute_with_integers() looks for them.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "converter/graph_writer.h"
#include "converter/integer_graph.h"

namespace sparsenet::converter {
namespace {

const Quantization& quantization_of(const Graph& graph, ValueId id) {
  return graph.value(id).quantization;
}

bool is_graph_output(const Graph& graph, ValueId id) {
  return std::find(graph.outputs.begin(), graph.outputs.end(), id) != graph.outputs.end();
}

void merge_equal(Graph* graph) {
  std::unordered_map<ValueId, std::vector<ValueId>> known;  // by input
  std::unordered_map<ValueId, ValueId> merged;
  for (Node& node : graph->nodes) {
    for (ValueId& id : node.inputs) {
      if (const auto found = merged.find(id); found != merged.end()) id = found->second;
    }
    if (node.op != Op::kQuantize) continue;
    const ValueId out = node.outputs[0];
    const Quantization& q = quantization_of(*graph, out);
    std::vector<ValueId>& others = known[node.inputs[0]];
    const auto equal = std::find_if(others.begin(), others.end(), [&](ValueId id) {
      const Quantization& other = quantization_of(*graph, id);
      return other.scales == q.scales && other.zero_points == q.zero_points;
    });
    if (equal == others.end()) {
      others.push_back(out);
    } else if (!is_graph_output(*graph, out)) {
      merged[out] = *equal;
    }
  }
  remove_unused(graph);
}

// The node that moves what the Quantize reads, for this node alone; SIZE_MAX: there is none, or no op makes what it
// moves.
size_t movable_before(const Graph& graph, const Node& quantize, const std::vector<std::vector<size_t>>& readers,
                      const std::vector<size_t>& makers) {
  const ValueId x = quantize.inputs[0];
  const size_t m = makers[static_cast<size_t>(x)];
  if (graph.value(x).type != DataType::kFloat32 || m == SIZE_MAX || readers[static_cast<size_t>(x)].size() != 1) {
    return SIZE_MAX;
  }
  const Node& move = graph.nodes[m];
  if (move.op != Op::kReshape && move.op != Op::kTranspose && move.op != Op::kIdentity) return SIZE_MAX;
  const size_t source = makers[static_cast<size_t>(move.inputs[0])];
  return source == SIZE_MAX || graph.nodes[source].op == Op::kDequantize ? SIZE_MAX : m;
}

void lift_quantize(Graph* graph) {
  const std::vector<std::vector<size_t>> readers = find_readers(*graph);
  std::vector<size_t> makers(graph->values.size(), SIZE_MAX);
  for (size_t n = 0; n < graph->nodes.size(); ++n) {
    for (const ValueId id : graph->nodes[n].outputs) makers[static_cast<size_t>(id)] = n;
  }
  std::unordered_set<std::string> names;
  for (const Value& value : graph->values) names.insert(value.name);
  for (size_t n = graph->nodes.size(); n-- > 0;) {
    if (graph->nodes[n].op != Op::kQuantize) continue;
    const size_t m = movable_before(*graph, graph->nodes[n], readers, makers);
    if (m == SIZE_MAX) continue;
    // The Quantize takes the place of the move, where it is looked at again when its turn comes.
    Node &first = graph->nodes[m], &second = graph->nodes[n];
    const ValueId x = first.inputs[0], out = second.outputs[0];
    Value value;
    value.name = graph->value(x).name + ".int8";
    while (!names.insert(value.name).second) value.name += "'";
    value.type = DataType::kInt8;
    value.shape = graph->shape(x);
    value.quantization = quantization_of(*graph, out);
    const auto moved = static_cast<ValueId>(graph->values.size());
    graph->values.push_back(std::move(value));
    std::swap(first, second);
    first.inputs = {x};
    first.outputs = {moved};
    second.inputs = {moved};
    second.outputs = {out};
  }
}

}  // namespace

void order_quantize_nodes(Graph* graph) {
  merge_equal(graph);
  lift_quantize(graph);
}

}  // namespace sparsenet::converter
