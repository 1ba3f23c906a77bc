// Which values of rank 4 are no images.
#include "plan/lower.h"

namespace sparsenet {

namespace {

// Whether a node's lowering asks for the order of its operands and its result, so that any order will do.
bool takes_any_order(Op op) {
  switch (op) {
    case Op::kMatMul:
    case Op::kSoftmax:
    case Op::kTranspose:
    case Op::kReshape:
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kDiv:
    case Op::kMax:
    case Op::kMin:
      return true;
    default:
      return false;
  }
}

}  // namespace

// Matrices of several heads, [N, heads, rows, columns], are no images: with the heads side by side no row would be
// contiguous. So values of rank 4 stay in row-major order if a matrix product makes or reads them and all nodes that do
// so take any order. Others that only such values meet in arithmetic follow.
void Lowering::find_rows() {
  rows_.assign(graph_.values.size(), false);
  std::vector<bool> can(graph_.values.size(), false), wants(graph_.values.size(), false);
  for (size_t i = 0; i < can.size(); ++i) {
    const Value& v = graph_.values[i];
    can[i] = !v.is_constant && v.shape.size() == 4 && !placements_[i];
  }
  for (const std::vector<ValueId>* ports : {&graph_.inputs, &graph_.outputs}) {
    for (ValueId id : *ports) can[static_cast<size_t>(id)] = false;
  }
  for (const Node& node : graph_.nodes) {
    for (const std::vector<ValueId>* ids : {&node.inputs, &node.outputs}) {
      for (ValueId id : *ids) {
        if (id == kNoValue) continue;
        if (!takes_any_order(node.op)) can[static_cast<size_t>(id)] = false;
        if (node.op == Op::kMatMul) wants[static_cast<size_t>(id)] = true;
      }
    }
  }
  // Once forwards and once backwards: arithmetic and Softmax between products pass it on.
  const auto pass_on = [&](const Node& node) {
    if (!takes_any_order(node.op) || node.op == Op::kTranspose || node.op == Op::kReshape) return;
    bool any = false;
    for (ValueId id : node.inputs) any = any || (id != kNoValue && wants[static_cast<size_t>(id)]);
    any = any || wants[static_cast<size_t>(node.outputs[0])];
    if (!any) return;
    for (ValueId id : node.inputs) {
      if (id != kNoValue) wants[static_cast<size_t>(id)] = true;
    }
    wants[static_cast<size_t>(node.outputs[0])] = true;
  };
  for (const Node& node : graph_.nodes) pass_on(node);
  for (size_t n = graph_.nodes.size(); n-- > 0;) pass_on(graph_.nodes[n]);
  for (size_t i = 0; i < can.size(); ++i) rows_[i] = can[i] && wants[i];
}

}  // namespace sparsenet
