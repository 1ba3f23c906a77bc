// Activations of integer types. In the graph they are float32 with the same whole numbers, as long as nothing computes
// with them.
#include <algorithm>
#include <iterator>

#include "converter/onnx/node_context.h"

namespace sparsenet::converter {
namespace {

bool reads_integers(const NodeContext& c) {
  for (size_t i = 0; i < c.input_count(); ++i) {
    const OnnxValue* x = c.input(i);
    if (x && x->is_integer) return true;
  }
  return false;
}

bool only_moves(const std::string& op) {
  static const char* const kOps[] = {"Transpose", "Reshape",  "Flatten", "Squeeze", "Unsqueeze", "Slice",
                                     "Gather",    "Identity", "Split",   "Concat",  "Shape",     "Size"};
  return std::any_of(std::begin(kOps), std::end(kOps), [&op](const char* known) { return op == known; });
}

}  // namespace

bool import_integers(NodeContext& c, Status* status) {
  using onnx_ns::TensorProto;
  if (!reads_integers(c) || only_moves(c.op())) return false;
  if (c.op() != "Cast") {
    *status = unsupported(
        "it computes with integers of the input, or with indices: expected a Cast to floats in front of it");
    return true;
  }
  const int64_t to = c.int_attribute("to", 0);
  c.alias_output(0, 0);
  OnnxValue& out = c.state().values[c.output_name(0)];
  out.bytes = OnnxValue::Bytes::kNone;
  if (to == TensorProto::INT32 || to == TensorProto::INT64) return true;
  out.is_integer = false;
  if (to == TensorProto::FLOAT16 && !c.state().half_network) {
    c.state().half_network = true;  // bytes lose nothing in float16; what follows is meant in float16
    c.state().report->note("Cast '" + printable(c.name()) +
                           "': the network is float16 and is computed in float32, without float16's rounding");
  } else if (to != TensorProto::FLOAT && to != TensorProto::DOUBLE && to != TensorProto::FLOAT16) {
    *status = unsupported("an input of integers is cast to " + onnx_type_name(static_cast<int32_t>(to & 0xff)) +
                          ": expected floats");
  }
  return true;
}

void keep_integers(NodeContext& c) {
  if (!reads_integers(c) || !only_moves(c.op())) return;
  const OnnxValue* first = c.input(0);
  const OnnxValue::Bytes bytes = first && first->is_integer ? first->bytes : OnnxValue::Bytes::kNone;
  for (size_t i = 0; i < c.output_count(); ++i) {
    if (!c.has_output(i)) continue;
    OnnxValue& out = c.state().values[c.output_name(i)];
    out.is_integer = out.id != kNoValue && !out.constant;
    out.bytes = bytes;
  }
}

}  // namespace sparsenet::converter
