// What opset 6 says differently: broadcasting along a stated axis, and operators that say whether they train.
#include "converter/onnx/node_context.h"

namespace sparsenet::converter {
namespace {

// The second operand as broadcasting counts it since opset 7, from the last axis: with ones behind its own sizes.
Status align_operand(NodeContext& c, onnx_ns::NodeProto* node) {
  const OnnxValue* a = c.input(0);
  const OnnxValue* b = c.input(1);
  if (!a || !b || a->unknown() || b->unknown()) return {};
  const Shape& whole = a->constant ? a->constant->shape : c.writer().shape(a->id);
  const Shape& part = b->constant ? b->constant->shape : c.writer().shape(b->id);
  if (c.int_attribute("broadcast", 0) == 0) {
    if (whole == part) return {};
    return invalid_model("operands: without broadcast expected equal shapes, found " + to_string(whole) + " and " +
                         to_string(part));
  }
  if (!c.has_attribute("axis")) return {};
  SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(c.int_attribute("axis", 0), whole.size()));
  const size_t end = static_cast<size_t>(axis) + part.size();
  if (end > whole.size()) {
    return invalid_model("axis " + std::to_string(axis) + ": the operand " + to_string(part) + " does not fit into " +
                         to_string(whole));
  }
  if (end == whole.size()) return {};
  if (!b->constant)
    return unsupported("an operand that the network computes is broadcast along axis " + std::to_string(axis));
  HostTensor aligned = *b->constant;
  aligned.shape.insert(aligned.shape.end(), whole.size() - end, 1);
  OnnxValue value;
  value.constant = std::make_shared<const HostTensor>(std::move(aligned));
  const std::string name = node->input(1) + "@axis " + std::to_string(axis) + " of " + std::to_string(whole.size());
  c.state().values[name] = value;
  node->set_input(1, name);
  return {};
}

}  // namespace

Status apply_old_opset(NodeContext& c, onnx_ns::NodeProto* node) {
  if (c.opset() > 6) return {};
  const std::string& op = c.op();
  if (op == "BatchNormalization" || op == "Dropout") {
    if (c.int_attribute("is_test", 0) != 0) return {};
    return unsupported("is_test 0 means training mode: export the network in evaluation mode");
  }
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div" || op == "Pow") return align_operand(c, node);
  return {};
}

}  // namespace sparsenet::converter
