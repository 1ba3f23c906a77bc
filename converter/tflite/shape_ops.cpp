// TensorFlow Lite operators that only move data.
#include <algorithm>

#include "converter/tflite/tflite_context.h"

namespace sparsenet::converter {
namespace {

using tflite::ActivationFunctionType;
using tflite::BuiltinOperator;

// RESHAPE, SQUEEZE and EXPAND_DIMS: the output's shape is stored in the file, however it is computed.
Status import_reshape(TfliteContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.activation(0));
  Shape target = c.output_shape(0);
  const int64_t batch = c.writer().shape(x.id)[0];
  if (!target.empty() && target[0] == 1 && batch != 1) target[0] = batch;
  return c.reshape(x, target);
}

Status import_concatenation(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_ConcatenationOptions();
  if (!options) return invalid_model("its options are missing");
  size_t rank = 0;
  for (size_t i = 0; i < c.input_count(); ++i) {
    const Result<TfliteValue> x = c.activation(i);
    if (x.ok()) rank = std::max(rank, c.writer().shape(x->id).size());
    if (c.skipped()) return internal_error("unknown input");
  }
  if (rank == 0) return unsupported("no input is an activation");
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < c.input_count(); ++i) {
    SPARSENET_ASSIGN_OR_RETURN(ValueId x, c.operand(i, rank));
    inputs.push_back(x);
  }
  SPARSENET_ASSIGN_OR_RETURN(int32_t axis, c.map_axis(options->axis(), rank));
  if (axis == 0) return unsupported("concatenates along the batch");
  return c.emit(Op::kConcat, std::move(inputs), AxisAttrs{axis}, options->fused_activation_function(),
                rank == 4 ? Layout::kChannelsFirst : Layout::kPlain);
}

Status import_pad(TfliteContext& c) {
  Result<std::vector<int64_t>> padding = c.ints(1, "padding");
  if (!padding.ok()) return padding.status();
  PadAttrs attrs;
  if (c.op_name() == "PADV2") {
    SPARSENET_ASSIGN_OR_RETURN(attrs.value, c.number(2, "value"));
  }
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(0));
  const size_t rank = c.writer().shape(x.id).size();
  if (padding->size() != 2 * rank)
    return invalid_model("padding: expected " + std::to_string(2 * rank) + " values, found " +
                         std::to_string(padding->size()));
  attrs.before.assign(rank, 0);
  attrs.after.assign(rank, 0);
  for (size_t d = 0; d < rank; ++d) {
    const auto at = static_cast<size_t>(*c.map_axis(static_cast<int64_t>(d), rank));
    attrs.before[at] = (*padding)[2 * d];
    attrs.after[at] = (*padding)[2 * d + 1];
  }
  return c.emit(Op::kPad, {x.id}, std::move(attrs), x.layout);
}

// SPLIT: (axis, value), equal parts. SPLIT_V: (value, sizes, axis).
Status import_split(TfliteContext& c) {
  const bool sized = c.op_name() == "SPLIT_V";
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int64_t> axis_input, c.ints(sized ? 2 : 0, "axis"));
  if (axis_input.size() != 1) return invalid_model("axis: expected one number");
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(sized ? 0 : 1));
  const Shape shape = c.writer().shape(x.id);
  SPARSENET_ASSIGN_OR_RETURN(int32_t axis, c.map_axis(axis_input[0], shape.size()));
  if (axis == 0) return unsupported("splits the batch");
  const int64_t dim = shape[static_cast<size_t>(axis)];
  const auto parts = static_cast<int64_t>(c.output_count());
  SplitAttrs attrs;
  attrs.axis = axis;
  if (sized) {
    Result<std::vector<int64_t>> sizes = c.ints(1, "sizes");
    if (!sizes.ok()) return sizes.status();
    attrs.sizes = *sizes;
    int64_t known = 0;
    for (int64_t size : attrs.sizes) {
      if (size < -1 || size > dim)
        return invalid_model("sizes " + to_string(attrs.sizes) + " of " + std::to_string(dim));
      known += std::max<int64_t>(size, 0);
    }
    const auto rest = std::find(attrs.sizes.begin(), attrs.sizes.end(), -1);
    if (rest != attrs.sizes.end()) *rest = dim - known;
  } else {
    if (parts == 0 || dim % parts != 0)
      return invalid_model("expected a size that " + std::to_string(parts) + " outputs divide, found " +
                           std::to_string(dim));
    attrs.sizes.assign(static_cast<size_t>(parts), dim / parts);
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < c.output_count(); ++i) names.push_back(c.output_name(i));
  SPARSENET_ASSIGN_OR_RETURN(std::vector<ValueId> outputs,
                             c.writer().node_multi(Op::kSplit, c.name(), {x.id}, attrs, names));
  for (size_t i = 0; i < outputs.size(); ++i) c.set_output(i, outputs[i], x.layout);
  return {};
}

Status emit_slice(TfliteContext& c, const TfliteValue& x, const std::vector<int64_t>& starts,
                  const std::vector<int64_t>& ends, const std::vector<int64_t>& steps) {
  const Shape shape = c.writer().shape(x.id);
  SliceAttrs attrs;
  for (size_t d = 0; d < shape.size(); ++d) {
    const int32_t at = *c.map_axis(static_cast<int64_t>(d), shape.size());
    if (starts[d] == 0 && ends[d] == shape[static_cast<size_t>(at)] && steps[d] == 1) continue;
    if (at == 0) return unsupported("slices the batch");
    attrs.axes.push_back(at);
    attrs.starts.push_back(starts[d]);
    attrs.ends.push_back(ends[d]);
    attrs.steps.push_back(steps[d]);
  }
  if (attrs.axes.empty()) {
    c.set_output(0, x);
    return {};
  }
  return c.emit(Op::kSlice, {x.id}, std::move(attrs), x.layout);
}

Status import_slice(TfliteContext& c) {
  Result<std::vector<int64_t>> begin = c.ints(1, "begin");
  if (!begin.ok()) return begin.status();
  Result<std::vector<int64_t>> size = c.ints(2, "size");
  if (!size.ok()) return size.status();
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(0));
  const Shape shape = c.writer().shape(x.id);
  if (begin->size() != shape.size() || size->size() != shape.size())
    return invalid_model("begin and size: expected " + std::to_string(shape.size()) + " values");
  std::vector<int64_t> ends;
  for (size_t d = 0; d < shape.size(); ++d) {
    const int64_t dim = shape[static_cast<size_t>(*c.map_axis(static_cast<int64_t>(d), shape.size()))];
    const int64_t start = (*begin)[d], length = (*size)[d];
    if (start < 0 || start >= dim || length < -1 || length > dim - start) {
      return invalid_model("expected a range inside " + std::to_string(dim) + ", found " + std::to_string(length) +
                           " from " + std::to_string(start));
    }
    ends.push_back(length == -1 ? dim : start + length);
  }
  return emit_slice(c, x, *begin, ends, std::vector<int64_t>(shape.size(), 1));
}

Status import_strided_slice(TfliteContext& c) {
  const auto* options = c.op().builtin_options_as_StridedSliceOptions();
  if (!options) return invalid_model("its options are missing");
  if (options->ellipsis_mask() != 0 || options->new_axis_mask() != 0 || options->shrink_axis_mask() != 0 ||
      options->offset()) {
    return unsupported("ellipsis, new axes, shrunk axes or offsets: expected plain ranges");
  }
  Result<std::vector<int64_t>> begin = c.ints(1, "begin");
  if (!begin.ok()) return begin.status();
  Result<std::vector<int64_t>> end = c.ints(2, "end");
  if (!end.ok()) return end.status();
  Result<std::vector<int64_t>> strides = c.ints(3, "strides");
  if (!strides.ok()) return strides.status();
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(0));
  const Shape shape = c.writer().shape(x.id);
  const size_t given = begin->size();
  if (end->size() != given || strides->size() != given || given > shape.size()) {
    return invalid_model("begin, end and strides: expected at most " + std::to_string(shape.size()) + " values each");
  }
  std::vector<int64_t> starts, ends, steps;
  for (size_t d = 0; d < shape.size(); ++d) {
    const int64_t dim = shape[static_cast<size_t>(*c.map_axis(static_cast<int64_t>(d), shape.size()))];
    const bool from_start = d >= given || (options->begin_mask() >> d & 1),
               to_end = d >= given || (options->end_mask() >> d & 1);
    const int64_t step = d < given ? (*strides)[d] : 1;
    if (step < 1) return unsupported("strides: expected 1 or more, found " + std::to_string(step));
    auto clamp = [dim](int64_t v) { return std::clamp<int64_t>(v < 0 ? std::max<int64_t>(v, -dim) + dim : v, 0, dim); };
    starts.push_back(from_start ? 0 : clamp((*begin)[d]));
    ends.push_back(to_end ? dim : clamp((*end)[d]));
    steps.push_back(step);
  }
  return emit_slice(c, x, starts, ends, steps);
}

Status import_transpose(TfliteContext& c) {
  Result<std::vector<int64_t>> perm = c.ints(1, "perm");
  if (!perm.ok()) return perm.status();
  SPARSENET_ASSIGN_OR_RETURN(TfliteValue x, c.ordered(0));
  const size_t rank = c.writer().shape(x.id).size();
  if (perm->size() != rank)
    return invalid_model("perm: expected " + std::to_string(rank) + " axes, found " + to_string(*perm));
  std::vector<int32_t> mapped(rank, 0);
  for (size_t d = 0; d < rank; ++d) {  // axis d of the file's output comes from its axis perm[d]
    SPARSENET_ASSIGN_OR_RETURN(int32_t from, c.map_axis((*perm)[d], rank));
    mapped[static_cast<size_t>(*c.map_axis(static_cast<int64_t>(d), rank))] = from;
  }
  SPARSENET_ASSIGN_OR_RETURN(ValueId y, c.writer().transpose(c.name(), x.id, mapped, c.name()));
  c.set_output(0, y, x.layout);
  return {};
}

}  // namespace

TfliteImporter find_tflite_shape_op(BuiltinOperator op) {
  switch (op) {
    case BuiltinOperator::RESHAPE:
    case BuiltinOperator::SQUEEZE:
    case BuiltinOperator::EXPAND_DIMS:
      return import_reshape;
    case BuiltinOperator::CONCATENATION:
      return import_concatenation;
    case BuiltinOperator::PAD:
    case BuiltinOperator::PADV2:
      return import_pad;
    case BuiltinOperator::SPLIT:
    case BuiltinOperator::SPLIT_V:
      return import_split;
    case BuiltinOperator::SLICE:
      return import_slice;
    case BuiltinOperator::STRIDED_SLICE:
      return import_strided_slice;
    case BuiltinOperator::TRANSPOSE:
      return import_transpose;
    default:
      return nullptr;
  }
}

}  // namespace sparsenet::converter
