// ONNX operators that only move data.
#include <algorithm>

#include "converter/onnx/node_context.h"
#include "converter/onnx/shape_math.h"

namespace sparsenet::converter {
namespace {

Status import_reshape(NodeContext& c) {
  const bool allow_zero = c.int_attribute("allowzero", 0) != 0;
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.ints(1, "shape"));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(Shape target, reshaped(c.writer().shape(x), dims, allow_zero));
  return c.emit_reshape(target);
}

Status import_flatten(NodeContext& c) {
  const int64_t axis = c.int_attribute("axis", 1);
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(Shape target, flattened(c.writer().shape(x), axis));
  return c.emit_reshape(target);
}

// Axes are an attribute before opset 13 and input 1 since.
Result<std::vector<int64_t>> read_axes(NodeContext& c) {
  if (c.has_input(1)) return c.ints(1, "axes");
  return c.ints_attribute("axes");
}

Status import_squeeze(NodeContext& c) {
  Result<std::vector<int64_t>> axes = read_axes(c);
  if (!axes.ok()) return axes.status();
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape shape = c.writer().shape(x);
  if (axes->empty()) {  // all of size 1; the batch stays, whatever size it has in this file
    if (!shape.empty() && shape[0] == 1) {
      c.state().report->note(c.op() + " '" + printable(c.name()) + "' without axes: the batch dimension stays");
    }
    for (size_t d = 1; d < shape.size(); ++d) {
      if (shape[d] == 1) axes->push_back(static_cast<int64_t>(d));
    }
  }
  SPARSENET_ASSIGN_OR_RETURN(Shape target, squeezed(shape, *axes));
  return c.emit_reshape(target);
}

Status import_unsqueeze(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> axes, read_axes(c));
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(Shape target, unsqueezed(c.writer().shape(x), axes));
  return c.emit_reshape(target);
}

Status import_transpose(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> perm,
                             read_perm(c.ints_attribute("perm"), c.writer().shape(x).size()));
  SPARSENET_ASSIGN_OR_RETURN(ValueId y, c.writer().transpose(c.name(), x, perm, c.output_name(0)));
  c.set_output(0, y);
  return {};
}

Status import_concat(NodeContext& c) {
  const int64_t axis_attribute = c.int_attribute("axis", 1);
  if (c.input_count() == 1) {
    c.alias_output(0, 0);
    return {};
  }
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < c.input_count(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(i));
    inputs.push_back(x);
  }
  if (inputs.empty()) return invalid_model("no inputs");
  SPARSENET_ASSIGN_OR_RETURN(int32_t axis, normalize_axis(axis_attribute, c.writer().shape(inputs[0]).size()));
  for (const ValueId x : inputs) {
    if (axis == c.writer().batch_axis(x)) return c.mixes_batch("concatenates along the batch");
  }
  return c.emit(Op::kConcat, std::move(inputs), AxisAttrs{axis});
}

Status import_split(NodeContext& c) {
  const int64_t axis_attribute = c.int_attribute("axis", 0);
  std::vector<int64_t> sizes = c.ints_attribute("split");
  if (c.has_input(1)) {  // opset 13
    SPARSENET_ASSIGN_OR_RETURN(sizes, c.ints(1, "split"));
  }
  SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.value(0));
  const Shape& shape = c.writer().shape(x);
  SPARSENET_ASSIGN_OR_RETURN(int32_t axis, normalize_axis(axis_attribute, shape.size()));
  if (axis == c.writer().batch_axis(x)) return c.mixes_batch("splits the batch");
  const int64_t dim = shape[static_cast<size_t>(axis)];
  const auto parts = static_cast<int64_t>(c.output_count());
  if (sizes.empty() && parts > 0) {  // equal parts; since opset 18 the last one may be smaller
    const int64_t part = (dim + parts - 1) / parts;
    if (dim % parts != 0 && (c.opset() < 18 || part * (parts - 1) >= dim)) {
      return invalid_model("expected a size that " + std::to_string(parts) + " outputs divide, found " +
                           std::to_string(dim));
    }
    for (int64_t i = 0; i < parts; ++i) sizes.push_back(i + 1 < parts ? part : dim - part * (parts - 1));
  }
  if (parts == 1 && sizes == std::vector<int64_t>{dim}) {
    c.alias_output(0, 0);
    return {};
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < c.output_count(); ++i) names.push_back(c.output_name(i));
  Result<std::vector<ValueId>> outputs =
      c.writer().node_multi(Op::kSplit, c.name(), {x}, SplitAttrs{axis, sizes}, names);
  if (!outputs.ok()) return outputs.status();
  for (size_t i = 0; i < outputs->size(); ++i) c.set_output(i, (*outputs)[i]);
  return {};
}

}  // namespace

NodeImporter find_shape_op(const std::string& op) {
  struct Row {
    const char* op;
    NodeImporter importer;
  };
  static const Row kRows[] = {
      {"Reshape", import_reshape},     {"Flatten", import_flatten}, {"Squeeze", import_squeeze},
      {"Unsqueeze", import_unsqueeze}, {"Concat", import_concat},   {"Transpose", import_transpose},
      {"Split", import_split},
  };
  for (const Row& row : kRows) {
    if (op == row.op) return row.importer;
  }
  if (NodeImporter importer = find_index_op(op)) return importer;
  return find_resize_op(op);
}

}  // namespace sparsenet::converter
