#include "support/describe.h"

#include <sstream>

#include "graph/training_ops.h"

namespace sparsenet::test {
namespace {

template <class List>
std::string join(const List& list) {
  std::ostringstream out;
  const char* separator = "";
  for (const auto& item : list) {
    out << separator << item;
    separator = ",";
  }
  return out.str();
}

std::string text(const Activation& a) {
  static const char* const kNames[] = {"none",    "relu",         "clip",       "leaky-relu",
                                       "sigmoid", "hard-sigmoid", "hard-swish", "tanh"};
  if (a.kind == Activation::Kind::kNone) return "";
  const auto kind = static_cast<size_t>(a.kind);
  std::ostringstream out;
  out << " then " << (kind < 8 ? kNames[kind] : "unknown") << "(" << a.a << "," << a.b << ")";
  return out.str();
}

struct Printer {
  std::ostringstream out;

  void operator()(const NoAttrs&) {}
  void operator()(const ConvAttrs& a) {
    out << " kernel=" << join(a.kernel) << " stride=" << join(a.stride) << " dilation=" << join(a.dilation)
        << " pads=" << join(a.pads) << " groups=" << a.groups << text(a.activation);
  }
  void operator()(const FullyConnectedAttrs& a) { out << text(a.activation); }
  void operator()(const BatchNormAttrs& a) { out << " epsilon=" << a.epsilon; }
  void operator()(const ClipAttrs& a) { out << " low=" << a.low << " high=" << a.high; }
  void operator()(const AlphaBetaAttrs& a) { out << " alpha=" << a.alpha << " beta=" << a.beta; }
  void operator()(const AxisAttrs& a) { out << " axis=" << a.axis; }
  void operator()(const SplitAttrs& a) { out << " axis=" << a.axis << " sizes=" << join(a.sizes); }
  void operator()(const SliceAttrs& a) {
    out << " axes=" << join(a.axes) << " starts=" << join(a.starts) << " ends=" << join(a.ends)
        << " steps=" << join(a.steps);
  }
  void operator()(const PadAttrs& a) {
    out << " before=" << join(a.before) << " after=" << join(a.after) << " value=" << a.value;
  }
  void operator()(const PoolAttrs& a) {
    out << " kernel=" << join(a.kernel) << " stride=" << join(a.stride) << " pads=" << join(a.pads)
        << (a.ceil_mode ? " ceil" : "") << (a.count_include_pad ? " count-pad" : "");
  }
  void operator()(const ReduceAttrs& a) { out << " axes=" << join(a.axes) << " keep=" << a.keep_dims; }
  void operator()(const ReshapeAttrs& a) { out << " dims=" << join(a.dims); }
  void operator()(const TransposeAttrs& a) { out << " perm=" << join(a.perm); }
  void operator()(const AffineAttrs& a) { out << text(a.activation); }
  void operator()(const TrainAttrsPointer& a) { out << " alpha=" << a->alpha << " beta=" << a->beta; }
  void operator()(const AttentionAttrs& a) {
    out << (a.kind == AttentionAttrs::Kind::kPaper ? " paper" : " se") << text(a.activation) << " gate" << text(a.gate);
  }
};

}  // namespace

std::string describe_node(const Graph& graph, const Node& node) {
  std::ostringstream out;
  out << name(node.op) << " '" << node.name << "' (";
  const char* separator = "";
  for (ValueId id : node.inputs) {
    out << separator;
    separator = ", ";
    if (id == kNoValue) {
      out << "-";
      continue;
    }
    const Value& value = graph.value(id);
    out << (value.is_constant ? "const " : value.name + " ") << to_string(value.shape);
  }
  out << ")";
  Printer printer;
  std::visit(printer, node.attrs);
  out << printer.out.str() << " ->";
  for (ValueId id : node.outputs) {
    const Value& value = graph.value(id);
    out << " " << value.name << " " << to_string(value.shape);
  }
  return out.str();
}

std::string describe_graph(const Graph& graph) {
  std::ostringstream out;
  for (ValueId id : graph.inputs) {
    out << "  input " << graph.value(id).name << " " << to_string(graph.shape(id)) << "\n";
  }
  for (const Node& node : graph.nodes) out << "  " << describe_node(graph, node) << "\n";
  for (ValueId id : graph.outputs) out << "  output " << graph.value(id).name << "\n";
  return out.str();
}

}  // namespace sparsenet::test
