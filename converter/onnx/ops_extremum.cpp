// ONNX operators that tell which elements are the largest: ArgMax, ArgMin, TopK, Hardmax. There are floats only:
// indices are whole numbers. The slope of an index is 0, as that of everything that changes in steps.
#include <limits>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

constexpr float kLargestFloat = std::numeric_limits<float>::max();

// The elements of a value along one axis.
struct Line {
  Shape shape;  // of the value
  int32_t axis = 0;
  int64_t count = 0;
};

Result<Line> read_line(NodeContext& c, int64_t default_axis) {
  SPARSENET_ASSIGN_OR_RETURN(const ValueId x, c.value(0));
  Line line{c.writer().shape(x)};
  SPARSENET_ASSIGN_OR_RETURN(line.axis, normalize_axis(c.int_attribute("axis", default_axis), line.shape.size()));
  if (line.axis == c.writer().batch_axis(x)) {
    return c.mixes_batch("axis " + std::to_string(line.axis) + " is the batch");
  }
  line.count = line.shape[static_cast<size_t>(line.axis)];
  constexpr int64_t kMost = 1 << 22;  // whole numbers up to four times as many are exact in float32
  if (line.count > kMost) return unsupported("axis: expected at most " + std::to_string(kMost) + " elements along it");
  return line;
}

// 0, 1, 2, ... along the axis, times `sign` (1 or -1); broadcasts over the other dimensions.
ValueId positions(Compose* g, const Line& line, float sign) {
  Shape column(line.shape.size() - static_cast<size_t>(line.axis), 1);
  column[0] = line.count;
  Elements<float> values;
  values.resize(static_cast<size_t>(line.count));
  for (int64_t i = 0; i < line.count; ++i) values.data()[i] = sign * static_cast<float>(i);
  return g->constant(column, std::move(values));
}

// `sign` times the input, bounded so that what is computed with it stays finite.
ValueId bounded(Compose* g, ValueId x, float sign) {
  return g->clip(g->scaled(x, sign), -kLargestFloat / 4, kLargestFloat / 4);
}

// The position of the largest element of `x`, whose largest is `most`: of a position p where the element is the
// largest, the others being moved below all positions. Of equal ones the last if `positions` count up, the first if
// they count down.
ValueId index_of(Compose* g, const Line& line, ValueId positions, float sign, ValueId x, ValueId most) {
  // 0 for the largest, 1 for the others
  const ValueId gap = g->clip(g->scaled(g->node(Op::kSub, {most, x}), kLargestFloat), 0.f, 1.f);
  const ValueId moved = g->node(Op::kSub, {positions, g->scaled(gap, static_cast<float>(line.count))});
  return g->scaled(g->maximum(moved, {line.axis}), sign);
}

// 0 at this index, 1 elsewhere. The positions count down.
ValueId elsewhere(Compose* g, ValueId positions, ValueId index) {
  const ValueId distance = g->node(Op::kAdd, {index, positions});
  return g->clip(g->node(Op::kMul, {distance, distance}), 0.f, 1.f);
}

Status import_index(NodeContext& c) {
  const bool last = c.int_attribute("select_last_index", 0) != 0, keep = c.int_attribute("keepdims", 1) != 0;
  SPARSENET_ASSIGN_OR_RETURN(const Line line, read_line(c, 0));
  Compose g(c);
  const ValueId x = bounded(&g, g.input(0), c.op() == "ArgMin" ? -1.f : 1.f);
  const float sign = last ? 1.f : -1.f;
  const ValueId index = index_of(&g, line, positions(&g, line, sign), sign, x, g.maximum(x, {line.axis}));
  Shape target = line.shape;
  target[static_cast<size_t>(line.axis)] = 1;
  if (!keep && target.size() > 1) target.erase(target.begin() + line.axis);
  const Status status = g.finish(g.reshape(index, target));
  if (status.ok()) c.state().values[c.output_name(0)].is_integer = true;
  return status;
}

// One after the other, each taken out for the next round. In opset 9 k is an attribute.
Status import_top_k(NodeContext& c) {
  int64_t k = c.int_attribute("k", 0);
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(const std::vector<int64_t> number, c.ints(1, "k"));
    if (number.size() != 1) return invalid_model("k: expected one number, found " + to_string(number));
    k = number[0];
  }
  SPARSENET_ASSIGN_OR_RETURN(const Line line, read_line(c, -1));
  if (k < 1 || k > line.count) {
    return invalid_model("k: expected 1 to " + std::to_string(line.count) + ", found " + std::to_string(k));
  }
  constexpr int64_t kMost = 64;
  if (k > kMost) return unsupported("k: expected at most 64, found " + std::to_string(k));
  const float sign = c.int_attribute("largest", 1) != 0 ? 1.f : -1.f;
  Compose g(c);
  ValueId x = bounded(&g, g.input(0), sign);
  const ValueId down = positions(&g, line, -1.f);
  std::vector<ValueId> values, indices;
  for (int64_t round = 0; round < k && g.ok(); ++round) {
    const ValueId most = g.maximum(x, {line.axis}), index = index_of(&g, line, down, -1.f, x, most);
    values.push_back(g.scaled(most, sign));
    indices.push_back(index);
    // Above all elements, and below all of them at the index.
    const ValueId bound =
        g.node(Op::kSub, {g.scaled(elsewhere(&g, down, index), kLargestFloat), g.scalar(kLargestFloat / 2)});
    x = g.node(Op::kMin, {x, bound});
  }
  const auto joined = [&](const std::vector<ValueId>& rounds) {
    return rounds.size() == 1 ? rounds[0] : g.node(Op::kConcat, rounds, AxisAttrs{line.axis});
  };
  const ValueId found = joined(values), where = joined(indices);
  SPARSENET_RETURN_IF_ERROR(g.finish(found));
  if (!c.has_output(1)) return {};
  c.set_output(1, where);
  c.state().values[c.output_name(1)].is_integer = true;
  return {};
}

// 1 for the largest element, 0 for the others. Before opset 13 over all dimensions from the axis on.
Status import_hardmax(NodeContext& c) {
  const bool matrix_form = c.opset() < 13;
  SPARSENET_ASSIGN_OR_RETURN(Line line, read_line(c, matrix_form ? 1 : -1));
  const Shape shape = line.shape;
  Compose g(c);
  ValueId x = g.input(0);
  if (matrix_form) {
    for (size_t d = static_cast<size_t>(line.axis) + 1; d < shape.size(); ++d) line.count *= shape[d];
    line.shape.resize(static_cast<size_t>(line.axis) + 1);
    line.shape.back() = line.count;
    x = g.reshape(x, line.shape);
  }
  x = bounded(&g, x, 1.f);
  const ValueId down = positions(&g, line, -1.f);
  const ValueId others = elsewhere(&g, down, index_of(&g, line, down, -1.f, x, g.maximum(x, {line.axis})));
  return g.finish(g.reshape(g.node(Op::kSub, {g.scalar(1.f), others}), shape));
}

}  // namespace

NodeImporter find_extremum_op(const std::string& op) {
  if (op == "ArgMax" || op == "ArgMin") return import_index;
  if (op == "TopK") return import_top_k;
  if (op == "Hardmax") return import_hardmax;
  return nullptr;
}

}  // namespace sparsenet::converter
