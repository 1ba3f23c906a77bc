#include "converter/activation_patterns.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace sparsenet::converter {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752, kSqrt2OverPi = 0.79788456080286536, kGeluCubic = 0.044715;

// Exporters write such numbers with six digits or more.
bool about(double found, double expected) {
  return std::fabs(found - expected) <= 1e-5 * std::fabs(expected);
}

// factor * the product of the parts, whose ids are in ascending order.
struct Product {
  double factor = 1;
  std::vector<ValueId> parts;
  bool is(double expected, const std::vector<ValueId>& of) const { return about(factor, expected) && parts == of; }
};

struct Match {
  ValueId x;
  Op op;
  Attrs attrs;
};

class Recogniser {
 public:
  explicit Recogniser(Graph* graph) : graph_(*graph), makers_(graph->values.size(), -1), uses_(graph->values.size()) {
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      for (ValueId id : graph_.nodes[n].outputs) makers_[static_cast<size_t>(id)] = static_cast<int>(n);
      for (ValueId id : graph_.nodes[n].inputs) {
        if (id != kNoValue) ++uses_[static_cast<size_t>(id)];
      }
    }
    for (ValueId id : graph_.outputs) ++uses_[static_cast<size_t>(id)];
  }

  void run() {
    for (size_t n = graph_.nodes.size(); n-- > 0;) {
      Node& node = graph_.nodes[n];
      if (node.op != Op::kMul && node.op != Op::kDiv) continue;
      std::optional<Match> match = find(node);
      if (!match || graph_.shape(match->x) != graph_.shape(node.outputs[0])) continue;
      node.op = match->op;
      node.inputs = {match->x};
      node.attrs = std::move(match->attrs);
    }
  }

 private:
  // The node of this op that makes the value, if the value has exactly one use; otherwise null.
  const Node* made_by(ValueId id, Op op) const {
    const int maker = makers_[static_cast<size_t>(id)];
    if (maker < 0 || uses_[static_cast<size_t>(id)] != 1) return nullptr;
    const Node& node = graph_.nodes[static_cast<size_t>(maker)];
    return node.op == op ? &node : nullptr;
  }

  std::optional<double> number(ValueId id) const {
    const Value& value = graph_.value(id);
    if (!value.is_constant || value.type != DataType::kFloat32 || value.constant.elements() != 1) return std::nullopt;
    return static_cast<double>(*value.constant.f32());
  }

  Product product(ValueId id) const {
    Product p;
    multiply(id, 0, &p);
    std::sort(p.parts.begin(), p.parts.end());
    return p;
  }
  Product product(const Node& node) const {
    Product p;
    multiply(node, 0, &p);
    std::sort(p.parts.begin(), p.parts.end());
    return p;
  }
  void multiply(ValueId id, int depth, Product* p) const {
    constexpr int kDeepest = 4;
    if (const std::optional<double> factor = number(id)) {
      p->factor *= *factor;
    } else if (const Node* node = depth < kDeepest ? made_by(id, Op::kMul) : nullptr) {
      multiply(*node, depth + 1, p);
    } else if (const Node* quotient = depth < kDeepest ? made_by(id, Op::kDiv) : nullptr;
               quotient && number(quotient->inputs[1])) {
      multiply(*quotient, depth + 1, p);
    } else {
      p->parts.push_back(id);
    }
  }
  void multiply(const Node& node, int depth, Product* p) const {
    multiply(node.inputs[0], depth, p);
    if (node.op == Op::kDiv) {
      if (const std::optional<double> divisor = number(node.inputs[1])) {
        p->factor /= *divisor;
      } else {
        p->factor = 0;  // matches nothing
      }
    } else {
      multiply(node.inputs[1], depth, p);
    }
  }

  // u if the value is 1 + u; otherwise kNoValue.
  ValueId added_to_one(ValueId id) const {
    const Node* sum = made_by(id, Op::kAdd);
    for (size_t i = 0; sum && i < 2; ++i) {
      const std::optional<double> one = number(sum->inputs[i]);
      if (one && *one == 1) return sum->inputs[1 - i];
    }
    return kNoValue;
  }

  // Whether the value is sqrt(2 / pi) (x + 0.044715 x^3), or the same with x outside of the brackets.
  bool is_gelu_polynomial(ValueId id, ValueId x) const {
    const Product p = product(id);
    if (!about(p.factor, kSqrt2OverPi)) return false;
    if (p.parts.size() == 1) {
      const Node* sum = made_by(p.parts[0], Op::kAdd);
      if (!sum) return false;
      return (sum->inputs[0] == x && product(sum->inputs[1]).is(kGeluCubic, {x, x, x})) ||
             (sum->inputs[1] == x && product(sum->inputs[0]).is(kGeluCubic, {x, x, x}));
    }
    if (p.parts.size() != 2) return false;
    const ValueId other = p.parts[0] == x ? p.parts[1] : p.parts[0];
    if (p.parts[0] != x && p.parts[1] != x) return false;
    const ValueId square = added_to_one(other);
    return square != kNoValue && product(square).is(kGeluCubic, {x, x});
  }

  std::optional<Match> find(const Node& node) const {
    const Product p = product(node);
    if (p.parts.size() != 2) return std::nullopt;
    for (size_t i = 0; i < 2; ++i) {
      const ValueId x = p.parts[i], gate = p.parts[1 - i];
      if (about(p.factor, 1)) {
        if (const Node* sigmoid = made_by(gate, Op::kSigmoid)) {
          const Product argument = product(sigmoid->inputs[0]);
          const auto alpha = static_cast<float>(argument.factor);
          if (argument.parts == std::vector<ValueId>{x} && std::isfinite(alpha)) {
            return Match{x, Op::kSilu, AlphaBetaAttrs{alpha, 0}};
          }
        }
        if (const Node* tanh = made_by(gate, Op::kTanh)) {
          const Node* softplus = made_by(tanh->inputs[0], Op::kSoftplus);
          if (softplus && softplus->inputs[0] == x) return Match{x, Op::kMish, NoAttrs{}};
        }
      }
      const ValueId inner = about(p.factor, 0.5) ? added_to_one(gate) : kNoValue;
      if (inner == kNoValue) continue;
      const Node* erf = made_by(inner, Op::kErf);
      if (erf && product(erf->inputs[0]).is(kSqrtHalf, {x})) return Match{x, Op::kGelu, NoAttrs{}};
      const Node* tanh = made_by(inner, Op::kTanh);
      if (tanh && is_gelu_polynomial(tanh->inputs[0], x)) return Match{x, Op::kGeluTanh, NoAttrs{}};
    }
    return std::nullopt;
  }

  Graph& graph_;
  std::vector<int> makers_;  // index of the node, or -1
  std::vector<int> uses_;
};

}  // namespace

void recognise_activations(Graph* graph) {
  Recogniser(graph).run();
}

}  // namespace sparsenet::converter
