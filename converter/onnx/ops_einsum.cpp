// ONNX Einsum: from left to right, each two operands are one matrix product. Indices of both that are kept go in front,
// those of one operand are its rows or columns, and those of both that are not kept are summed over.
#include <algorithm>
#include <iterator>
#include <map>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

using Labels = std::string;  // one character for each dimension

bool has(const Labels& labels, char label) {
  return labels.find(label) != std::string::npos;
}

// Those of `labels` for which the condition holds, in their order.
template <class Condition>
Labels chosen(const Labels& labels, Condition condition) {
  Labels out;
  std::copy_if(labels.begin(), labels.end(), std::back_inserter(out), condition);
  return out;
}

struct Equation {
  std::vector<Labels> operands;
  Labels result;
};

// The dimensions that "..." stands for get labels of their own, the same from the right in all operands.
Status expand_dots(Labels* labels, size_t rank) {
  const size_t dots = labels->find("...");
  if (dots == std::string::npos) return {};
  const size_t named = labels->size() - 3;
  if (rank < named || rank - named > 8) return invalid_model("equation: '...' stands for no dimensions of its operand");
  Labels expanded;
  for (size_t i = rank - named; i-- > 0;) expanded += static_cast<char>('0' + static_cast<int>(i));
  labels->replace(dots, 3, expanded);
  return {};
}

Status parse(const std::string& text, const std::vector<Shape>& shapes, Equation* out) {
  std::string equation;
  std::copy_if(text.begin(), text.end(), std::back_inserter(equation), [](char c) { return c != ' '; });
  const auto damaged = [&text](const std::string& why) {
    return invalid_model("equation '" + printable(text) + "': " + why);
  };
  const size_t arrow = equation.find("->");
  std::string left = equation.substr(0, arrow);
  for (size_t begin = 0; begin <= left.size();) {
    const size_t end = std::min(left.find(',', begin), left.size());
    out->operands.push_back(left.substr(begin, end - begin));
    begin = end + 1;
  }
  if (out->operands.size() != shapes.size()) {
    return damaged("expected " + std::to_string(shapes.size()) + " operands, found " +
                   std::to_string(out->operands.size()));
  }
  Labels all, dots;
  for (size_t i = 0; i < shapes.size(); ++i) {
    Labels& labels = out->operands[i];
    SPARSENET_RETURN_IF_ERROR(expand_dots(&labels, shapes[i].size()));
    if (labels.size() != shapes[i].size()) {
      return damaged("expected " + std::to_string(shapes[i].size()) + " indices of " + to_string(shapes[i]));
    }
    const Labels own = chosen(labels, [](char label) { return label >= '0' && label <= '9'; });
    if (own.size() > dots.size()) dots = own;
    all += labels;
  }
  const auto is_index = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  if (!std::all_of(all.begin(), all.end(), is_index)) return damaged("expected letters");
  if (arrow != std::string::npos) {
    out->result = equation.substr(arrow + 2);
    const size_t at = out->result.find("...");
    if (at != std::string::npos) out->result.replace(at, 3, dots);
  } else {  // the indices that occur once, in the order of the alphabet
    Labels sorted = all;
    std::sort(sorted.begin(), sorted.end());
    out->result = dots + chosen(sorted, [&all](char label) {
                    return label > '9' && std::count(all.begin(), all.end(), label) == 1;
                  });
  }
  Labels unique = out->result;
  std::sort(unique.begin(), unique.end());
  const bool known = std::all_of(unique.begin(), unique.end(), [&all](char label) { return has(all, label); });
  if (!known || std::adjacent_find(unique.begin(), unique.end()) != unique.end()) {
    return damaged("the result's indices are not those of the operands, each once");
  }
  return {};
}

struct Operand {
  ValueId value = kNoValue;
  Labels labels;
};

class Product {
 public:
  Product(Compose* g, std::map<char, int64_t> sizes) : g_(*g), sizes_(std::move(sizes)) {}

  // Sums over the indices that are not kept.
  Operand reduced(const Operand& x, const Labels& kept) {
    std::vector<int32_t> axes;
    for (size_t d = 0; d < x.labels.size(); ++d) {
      if (!has(kept, x.labels[d])) axes.push_back(static_cast<int32_t>(d));
    }
    if (axes.empty()) return x;
    const Labels left = chosen(x.labels, [&kept](char label) { return has(kept, label); });
    return {g_.reshape(g_.sum(x.value, axes), shape_of(left)), left};
  }

  Operand multiplied(Operand a, Operand b, const Labels& kept) {
    a = reduced(a, kept + b.labels);
    b = reduced(b, kept + a.labels);
    const Labels both = chosen(a.labels, [&](char label) { return has(b.labels, label) && has(kept, label); });
    const Labels summed = chosen(a.labels, [&](char label) { return has(b.labels, label) && !has(kept, label); });
    const Labels rows = chosen(a.labels, [&](char label) { return !has(b.labels, label); });
    const Labels columns = chosen(b.labels, [&](char label) { return !has(a.labels, label); });
    const ValueId left = matrix(a, both, rows, summed), right = matrix(b, both, summed, columns);
    const Labels order = both + rows + columns;
    return {g_.reshape(g_.node(Op::kMatMul, {left, right}), shape_of(order)), order};
  }

  ValueId ordered(const Operand& x, const Labels& order) {
    if (order.empty()) return x.value;  // a scalar
    std::vector<int32_t> perm;
    for (const char label : order) perm.push_back(static_cast<int32_t>(x.labels.find(label)));
    return g_.transpose(x.value, perm);
  }

 private:
  Shape shape_of(const Labels& labels) const {
    Shape shape;
    for (const char label : labels) shape.push_back(sizes_.at(label));
    if (shape.empty()) shape = {1};  // a scalar
    return shape;
  }

  // [front ..., rows, columns]
  ValueId matrix(const Operand& x, const Labels& front, const Labels& rows, const Labels& columns) {
    Shape shape = front.empty() ? Shape{} : shape_of(front);
    shape.push_back(element_count(shape_of(rows)));
    shape.push_back(element_count(shape_of(columns)));
    return g_.reshape(ordered(x, front + rows + columns), shape);
  }

  Compose& g_;
  std::map<char, int64_t> sizes_;
};

}  // namespace

Status import_einsum(NodeContext& c) {
  Compose g(c);
  std::vector<Operand> operands(c.input_count());
  std::vector<Shape> shapes;
  for (size_t i = 0; i < operands.size(); ++i) {
    operands[i].value = g.input(i);
    shapes.push_back(g.shape(operands[i].value));
  }
  if (!g.ok() || operands.empty()) return g.finish(kNoValue);
  Equation equation;
  SPARSENET_RETURN_IF_ERROR(parse(c.string_attribute("equation", ""), shapes, &equation));
  std::map<char, int64_t> sizes;
  for (size_t i = 0; i < operands.size(); ++i) {
    operands[i].labels = equation.operands[i];
    const int32_t batch = c.writer().batch_axis(operands[i].value);
    if (batch >= 0 && !has(equation.result, operands[i].labels[static_cast<size_t>(batch)])) {
      return c.mixes_batch("sums over the batch");
    }
    for (size_t d = 0; d < shapes[i].size(); ++d) {
      const char label = operands[i].labels[d];
      if (operands[i].labels.find(label) != d) return unsupported("equation: an index twice in one operand");
      const int64_t size = sizes.emplace(label, shapes[i][d]).first->second;
      if (size != shapes[i][d]) {
        return unsupported("equation: expected one size for index '" + std::string(1, label) + "', found " +
                           std::to_string(size) + " and " + std::to_string(shapes[i][d]));
      }
    }
  }
  Product product(&g, std::move(sizes));
  Operand y = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    Labels kept = equation.result;
    for (size_t later = i + 1; later < operands.size(); ++later) kept += operands[later].labels;
    y = product.multiplied(y, operands[i], kept);
  }
  y = product.reduced(y, equation.result);
  return g.finish(equation.result.empty() ? y.value : product.ordered(y, equation.result));
}

}  // namespace sparsenet::converter
