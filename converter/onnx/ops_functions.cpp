// ONNX functions and arithmetic that are written as several nodes: powers and exponentials, minimum and maximum,
// choices between two values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Functions of one value.
Status import_function(NodeContext& c) {
  Compose g(c);
  const std::string& op = c.op();
  const ValueId x = g.input(0);
  if (op == "Exp") return g.finish(g.node(Op::kExp, {x}));
  if (op == "Log") return g.finish(g.node(Op::kLog, {x}));
  if (op == "Sqrt") return g.finish(g.node(Op::kPow, {x}, AlphaBetaAttrs{0.5f, 0.f}));
  if (op == "Reciprocal") return g.finish(g.node(Op::kPow, {x}, AlphaBetaAttrs{-1.f, 0.f}));
  if (op == "Abs") return g.finish(g.node(Op::kLeakyRelu, {x}, AlphaBetaAttrs{-1.f, 0.f}));
  if (op == "Neg") return g.finish(g.scaled(x, -1.f));
  if (op == "Softsign") {  // x / (1 + |x|)
    const ValueId size = g.node(Op::kLeakyRelu, {x}, AlphaBetaAttrs{-1.f, 0.f});
    return g.finish(g.node(Op::kDiv, {x, g.node(Op::kAdd, {size, g.scalar(1.f)})}));
  }
  if (op == "Selu") {
    const float alpha = c.float_attribute("alpha", 1.67326319217681884765625f);
    const float gamma = c.float_attribute("gamma", 1.05070102214813232421875f);
    return g.finish(g.scaled(g.node(Op::kElu, {x}, AlphaBetaAttrs{alpha, 0.f}), gamma));
  }
  // Celu: alpha elu(x / alpha)
  const float alpha = c.float_attribute("alpha", 1.f);
  if (!(std::fabs(alpha) > 0.f))
    return invalid_model("alpha: expected another number than 0, found " + std::to_string(alpha));
  const ValueId y = g.node(Op::kElu, {g.scaled(x, 1.f / alpha)}, AlphaBetaAttrs{1.f, 0.f});
  if (alpha > 0.f) return g.finish(g.scaled(y, alpha));
  return unsupported("alpha: expected more than 0, found " + std::to_string(alpha));
}

// x to the power of one exponent for each element. Whole exponents choose by their bits, with 0 and 1, among x, x^2,
// x^4, ...; others are a multiple of the logarithm, which like the power is NaN for negative numbers.
Status import_powers(NodeContext& c, const HostTensor& exponents) {
  constexpr float kMost = 64;
  std::vector<float> values(exponents.floats.begin(), exponents.floats.end());
  if (!exponents.is_float()) values.assign(exponents.ints.begin(), exponents.ints.end());
  const auto whole = std::count_if(values.begin(), values.end(), [](float v) { return v == std::floor(v); });
  const bool all_whole = static_cast<size_t>(whole) == values.size();
  if (!all_whole && whole > 0) return unsupported("exponents: expected whole numbers alone, or none");
  Compose g(c);
  const ValueId x = g.input(0);
  c.state().record_use(exponents, "", "read as exponents");
  if (!all_whole) {
    const ValueId constant = g.constant(exponents.shape, std::move(values));
    return g.finish(g.node(Op::kExp, {g.node(Op::kMul, {g.node(Op::kLog, {x}), constant})}));
  }
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low < 0.f || *high > kMost) {
    return unsupported("exponents: expected 0 to 64 where they are whole numbers and differ, found " +
                       std::to_string(*low) + " to " + std::to_string(*high));
  }
  const auto chosen = [&](ValueId of, const std::vector<float>& mask) {  // elsewhere 1
    std::vector<float> rest;
    for (const float m : mask) rest.push_back(1.f - m);
    const ValueId kept = g.node(Op::kMul, {of, g.constant(exponents.shape, Elements<float>(mask))});
    return g.node(Op::kAdd, {kept, g.constant(exponents.shape, Elements<float>(std::move(rest)))});
  };
  ValueId power = x, y = kNoValue;
  for (int bit = 1; bit <= static_cast<int>(*high) || bit == 1; bit *= 2) {
    std::vector<float> mask, larger;
    for (const float value : values) {
      mask.push_back((static_cast<int>(value) & bit) != 0 ? 1.f : 0.f);
      larger.push_back(static_cast<int>(value) >= 2 * bit ? 1.f : 0.f);
    }
    const ValueId factor = chosen(power, mask);
    y = y == kNoValue ? factor : g.node(Op::kMul, {y, factor});
    power = chosen(power, larger);  // what is done with it grows no number that is not needed
    power = g.node(Op::kMul, {power, power});
  }
  return g.finish(y);
}

// Powers with a constant exponent; small whole ones are products.
Status import_pow(NodeContext& c) {
  float exponent = 0;
  const OnnxValue* given = c.input(1);
  if (given && given->constant && given->constant->size() > 1) return import_powers(c, *given->constant);
  if (given && given->constant && !given->constant->is_float() && given->constant->size() == 1) {
    exponent = static_cast<float>(given->constant->ints[0]);
    c.state().record_use(*given->constant, "", "read as exponent");
  } else {
    SPARSENET_ASSIGN_OR_RETURN(exponent, c.scalar(1, "exponent"));
  }
  if (exponent == 1.f) {
    c.alias_output(0, 0);
    return {};
  }
  Compose g(c);
  const ValueId x = g.input(0);
  if (exponent == 2.f) return g.finish(g.node(Op::kMul, {x, x}));
  if (exponent == 3.f) return g.finish(g.node(Op::kMul, {g.node(Op::kMul, {x, x}), x}));
  return g.finish(g.node(Op::kPow, {x}, AlphaBetaAttrs{exponent, 0.f}));
}

// Of one to many operands; one number is a bound.
Status import_extremum(NodeContext& c) {
  const bool max = c.op() == "Max";
  if (c.input_count() == 0) return invalid_model("no inputs");
  Compose g(c);
  ValueId y = kNoValue;
  float bound = max ? -kInfinity : kInfinity;
  for (size_t i = 0; i < c.input_count(); ++i) {
    const OnnxValue* x = c.input(i);
    if (c.input_count() > 1 && x && x->constant && x->constant->is_float() && x->constant->size() == 1 &&
        x->constant->shape.size() <= 1) {
      const float value = x->constant->floats[0];
      c.state().record_use(*x->constant, "", "read as bound");
      bound = max ? std::max(bound, value) : std::min(bound, value);
      continue;
    }
    const ValueId next = g.input(i);
    y = y == kNoValue ? next : g.node(max ? Op::kMax : Op::kMin, {y, next});
  }
  if (g.ok() && y == kNoValue)
    y = g.scalar(bound);
  else if (max ? bound > -kInfinity : bound < kInfinity)
    y = g.clip(y, max ? bound : -kInfinity, max ? kInfinity : bound);
  return g.finish(y);
}

Status import_prelu(NodeContext& c) {
  if (const OnnxValue* given = c.input(1); given && !given->constant) {
    Compose g(c);
    const ValueId x = g.input(0);
    return g.finish(g.node(Op::kPrelu, {x, g.input(1)}));
  }
  SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr slope, c.constant(1, "slope"));
  const Elements<float>& values = slope->floats;
  if (values.empty()) return invalid_model("slope is empty");
  Compose g(c);
  const ValueId x = g.input(0);
  const bool one = std::all_of(values.begin(), values.end(), [&](float v) { return v == values[0]; });
  if (one) {
    c.state().record_use(*slope, "", "read as slope");
    return g.finish(g.node(Op::kLeakyRelu, {x}, AlphaBetaAttrs{values[0], 0.f}));
  }
  return g.finish(g.node(Op::kPrelu, {x, g.input(1)}));
}

// A choice between two values by a constant condition. Where one of the values is constant too, it becomes both bounds
// of a Max and a Min, which is exact also if it is infinite, as in the masks of attention; else both are weighed with
// 0 and 1.
Status import_where(NodeContext& c) {
  const OnnxValue* condition = c.input(0);
  if (!condition) return invalid_model("condition (input 0) is missing");
  if (condition->unknown()) {
    Compose g(c);
    return g.finish(g.input(0));
  }
  if (!condition->constant || condition->constant->is_float()) {
    return unsupported("condition (input 0): expected a constant, found a computed value");
  }
  const HostTensor& mask = *condition->constant;
  const Shape shape = mask.shape.empty() ? Shape{1} : mask.shape;
  Compose g(c);
  const auto of_mask = [&](float where, float elsewhere) {
    Elements<float> values;
    values.resize(mask.size());
    float* out = values.data();
    for (size_t i = 0; i < mask.size(); ++i) out[i] = mask.ints[i] != 0 ? where : elsewhere;
    return g.constant(shape, std::move(values));
  };
  c.state().record_use(mask, "", "read as condition");
  for (size_t i = 1; i <= 2; ++i) {
    const OnnxValue* x = c.input(i);
    const bool constant = x && x->constant && x->constant->is_float() && x->constant->size() == 1;
    if (!constant) continue;
    const float value = x->constant->floats[0];
    if (std::isnan(value)) return unsupported("a NaN where the condition chooses input " + std::to_string(i));
    const bool first = i == 1;  // the constant is chosen where the mask is set
    const ValueId low = of_mask(first ? value : -kInfinity, first ? -kInfinity : value);
    const ValueId high = of_mask(first ? value : kInfinity, first ? kInfinity : value);
    const ValueId other = g.input(first ? 2 : 1);
    return g.finish(g.node(Op::kMin, {g.node(Op::kMax, {other, low}), high}));
  }
  const ValueId a = g.node(Op::kMul, {g.input(1), of_mask(1.f, 0.f)});
  const ValueId b = g.node(Op::kMul, {g.input(2), of_mask(0.f, 1.f)});
  return g.finish(g.node(Op::kAdd, {a, b}));
}

}  // namespace

NodeImporter find_function_op(const std::string& op) {
  for (const char* name : {"Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Softsign", "Selu", "Celu"}) {
    if (op == name) return import_function;
  }
  if (op == "Pow") return import_pow;
  if (op == "Max" || op == "Min") return import_extremum;
  if (op == "PRelu") return import_prelu;
  if (op == "Where") return import_where;
  return nullptr;
}

}  // namespace sparsenet::converter
