// Constant folding: arithmetic, comparisons and logic, with broadcasting.
#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/onnx/fold.h"

namespace sparsenet::converter {
namespace {

// Integers are computed unsigned, so that hostile numbers wrap instead of overflowing; the results are checked wherever
// they are used.
uint64_t u(int64_t value) {
  return static_cast<uint64_t>(value);
}
int64_t s(uint64_t value) {
  return static_cast<int64_t>(value);
}

int64_t divide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? s(0 - u(a)) : a / b;
}

// With the sign of the divisor, as in Python.
int64_t modulo(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t remainder_of(int64_t a, int64_t b) {  // fmod 1: with the sign of the dividend
  return b == 0 || b == -1 ? 0 : a % b;
}

int64_t power(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  uint64_t result = 1, base = u(a);
  for (uint64_t left = u(b); left > 0; left >>= 1) {
    if ((left & 1) != 0) result *= base;
    base *= base;
  }
  return s(result);
}

// What an operator makes of two floats and of two integers. Comparisons give an integer, 0 or 1.
struct BinaryRow {
  const char* op;
  float (*floats)(float, float);
  int64_t (*ints)(int64_t, int64_t);
  int64_t (*compare)(float, float) = nullptr;
};

int64_t truth(bool value) {
  return value ? 1 : 0;
}

const BinaryRow kBinary[] = {
    {"Add", [](float a, float b) { return a + b; }, [](int64_t a, int64_t b) { return s(u(a) + u(b)); }},
    {"Sub", [](float a, float b) { return a - b; }, [](int64_t a, int64_t b) { return s(u(a) - u(b)); }},
    {"Mul", [](float a, float b) { return a * b; }, [](int64_t a, int64_t b) { return s(u(a) * u(b)); }},
    {"Div", [](float a, float b) { return a / b; }, divide},
    {"Pow", [](float a, float b) { return std::pow(a, b); }, power},
    {"Mod", [](float a, float b) { return std::fmod(a, b); }, modulo},
    {"Min", [](float a, float b) { return b < a || std::isnan(b) ? b : a; },
     [](int64_t a, int64_t b) { return std::min(a, b); }},
    {"Max", [](float a, float b) { return b > a || std::isnan(b) ? b : a; },
     [](int64_t a, int64_t b) { return std::max(a, b); }},
    {"Sum", [](float a, float b) { return a + b; }, [](int64_t a, int64_t b) { return s(u(a) + u(b)); }},
    {"Equal", nullptr, [](int64_t a, int64_t b) { return truth(a == b); },
     [](float a, float b) { return truth(a == b); }},
    {"Less", nullptr, [](int64_t a, int64_t b) { return truth(a < b); }, [](float a, float b) { return truth(a < b); }},
    {"LessOrEqual", nullptr, [](int64_t a, int64_t b) { return truth(a <= b); },
     [](float a, float b) { return truth(a <= b); }},
    {"Greater", nullptr, [](int64_t a, int64_t b) { return truth(a > b); },
     [](float a, float b) { return truth(a > b); }},
    {"GreaterOrEqual", nullptr, [](int64_t a, int64_t b) { return truth(a >= b); },
     [](float a, float b) { return truth(a >= b); }},
    {"And", nullptr, [](int64_t a, int64_t b) { return truth(a != 0 && b != 0); }},
    {"Or", nullptr, [](int64_t a, int64_t b) { return truth(a != 0 || b != 0); }},
    {"Xor", nullptr, [](int64_t a, int64_t b) { return truth((a != 0) != (b != 0)); }},
};

const BinaryRow* find_binary(const std::string& op) {
  for (const BinaryRow& row : kBinary) {
    if (op == row.op) return &row;
  }
  return nullptr;
}

bool takes_any_number(const std::string& op) {
  return op == "Min" || op == "Max" || op == "Sum";
}

Result<HostTensor> combine(const BinaryRow& row, const HostTensor& a, const HostTensor& b) {
  SPARSENET_ASSIGN_OR_RETURN(Shape shape, broadcast_shape(a.shape, b.shape));
  SPARSENET_RETURN_IF_ERROR(check_folded(shape));
  const bool floats = a.is_float(), logical = row.floats == nullptr;
  if (floats && logical && !row.compare) return invalid_model("expected booleans, found floats");
  HostTensor out;
  out.type = logical ? ElementType::kBool : floats ? ElementType::kFloat32 : a.type;
  const auto count = static_cast<size_t>(element_count(shape));
  Walk at_a(shape, broadcast_steps(a.shape, shape)), at_b(shape, broadcast_steps(b.shape, shape));
  out.shape = std::move(shape);
  (out.is_float() ? out.floats.resize(count) : out.ints.resize(count));
  float* to_float = out.is_float() ? out.floats.data() : nullptr;
  int64_t* to_int = out.is_float() ? nullptr : out.ints.data();
  for (size_t i = 0; i < count; ++i, at_a.next(), at_b.next()) {
    if (!floats) {
      to_int[i] = wrapped(out.type, row.ints(a.ints.data()[at_a.at()], b.ints.data()[at_b.at()]));
    } else if (logical) {
      to_int[i] = row.compare(a.floats.data()[at_a.at()], b.floats.data()[at_b.at()]);
    } else {
      to_float[i] = row.floats(a.floats.data()[at_a.at()], b.floats.data()[at_b.at()]);
    }
  }
  return out;
}

// Pow alone takes a base and an exponent of different types; the result has the base's.
Result<HostTensor> power_of(const BinaryRow& row, const HostTensor& base, const HostTensor& exponent) {
  HostTensor other = exponent;
  other.type = base.type;
  if (base.is_float()) {
    other.floats.assign(exponent.ints.begin(), exponent.ints.end());
    other.ints.clear();
    return combine(row, base, other);
  }
  for (const float value : exponent.floats) {
    if (value != std::floor(value) || std::fabs(value) > 1e9f) {
      return unsupported("integers to a power that is no integer");
    }
  }
  other.ints.assign(exponent.floats.begin(), exponent.floats.end());
  other.floats.clear();
  return combine(row, base, other);
}

struct UnaryRow {
  const char* op;
  float (*floats)(float);
  int64_t (*ints)(int64_t);
};

const UnaryRow kUnary[] = {
    {"Neg", [](float v) { return -v; }, [](int64_t v) { return s(0 - u(v)); }},
    {"Abs", [](float v) { return std::fabs(v); }, [](int64_t v) { return v < 0 ? s(0 - u(v)) : v; }},
    {"Sign", [](float v) { return v > 0   ? 1.f
                                  : v < 0 ? -1.f
                                          : v; },
     [](int64_t v) { return v > 0   ? int64_t{1}
                            : v < 0 ? int64_t{-1}
                                    : int64_t{0}; }},
    {"Not", nullptr, [](int64_t v) { return truth(v == 0); }},
    {"Sqrt", [](float v) { return std::sqrt(v); }, nullptr},
    {"Reciprocal", [](float v) { return 1.f / v; }, nullptr},
    {"Exp", [](float v) { return std::exp(v); }, nullptr},
    {"Log", [](float v) { return std::log(v); }, nullptr},
    {"Floor", [](float v) { return std::floor(v); }, nullptr},
    {"Ceil", [](float v) { return std::ceil(v); }, nullptr},
    {"Round", [](float v) { return std::nearbyint(v); }, nullptr},
    {"Sin", [](float v) { return std::sin(v); }, nullptr},
    {"Cos", [](float v) { return std::cos(v); }, nullptr},
    {"Tanh", [](float v) { return std::tanh(v); }, nullptr},
    {"Erf", [](float v) { return std::erf(v); }, nullptr},
    {"Sigmoid", [](float v) { return 1.f / (1.f + std::exp(-v)); }, nullptr},
    {"Softplus", [](float v) { return v > 20.f ? v : std::log1p(std::exp(v)); }, nullptr},
    {"Relu", [](float v) { return v < 0.f ? 0.f : v; }, [](int64_t v) { return std::max<int64_t>(v, 0); }},
};

const UnaryRow* find_unary(const std::string& op) {
  for (const UnaryRow& row : kUnary) {
    if (op == row.op) return &row;
  }
  return nullptr;
}

}  // namespace

bool folds_arithmetic(const std::string& op) {
  return find_binary(op) != nullptr;
}

bool folds_unary(const std::string& op) {
  return find_unary(op) != nullptr;
}

Status fold_arithmetic(NodeContext& c) {
  const BinaryRow* row = find_binary(c.op());
  if (takes_any_number(c.op())) {
    if (c.input_count() == 1) {
      c.alias_output(0, 0);
      return {};
    }
  } else if (c.input_count() != 2) {
    return invalid_model("inputs: expected 2, found " + std::to_string(c.input_count()));
  }
  BinaryRow used = *row;
  if (c.op() == "Mod" && c.int_attribute("fmod", 0) != 0) used.ints = remainder_of;
  HostTensor out = *c.input(0)->constant;
  const std::string first_source = out.source;
  std::string source = first_source;
  size_t largest = out.size();
  for (size_t i = 1; i < c.input_count(); ++i) {
    if (!c.has_input(i)) return invalid_model("input " + std::to_string(i) + " is missing");
    const HostTensor& next = *c.input(i)->constant;
    const bool mixed = out.is_float() != next.is_float();
    if (mixed && c.op() != "Pow") return invalid_model("operands of different types");
    if (next.size() > largest) {
      largest = next.size();
      source = next.source;
    }
    Result<HostTensor> combined = mixed ? power_of(used, out, next) : combine(used, out, next);
    if (!combined.ok()) return combined.status();
    out = std::move(combined).value();
  }
  out.source = source;
  out.change = "folded with " + c.op();
  c.set_output(0, std::move(out));
  return {};
}

Status fold_unary(NodeContext& c) {
  const UnaryRow& row = *find_unary(c.op());
  HostTensor out = *c.input(0)->constant;
  if (out.is_float() ? !row.floats : !row.ints) {
    return unsupported(std::string("expected ") + (out.is_float() ? "a boolean" : "a float") + " constant, found " +
                       name(out.type));
  }
  if (out.size() > 0 && out.is_float()) {
    for (float& value : out.floats) value = row.floats(value);
  } else if (out.size() > 0) {
    for (int64_t& value : out.ints) value = wrapped(out.type, row.ints(value));
  }
  out.change = "folded with " + c.op();
  c.set_output(0, std::move(out));
  return {};
}

Status fold_where(NodeContext& c) {
  const HostTensor& condition = *c.input(0)->constant;
  const HostTensor& yes = *c.input(1)->constant;
  const HostTensor& no = *c.input(2)->constant;
  if (condition.is_float()) return invalid_model("condition: expected booleans, found floats");
  if (yes.is_float() != no.is_float()) return invalid_model("operands of different types");
  SPARSENET_ASSIGN_OR_RETURN(Shape both, broadcast_shape(yes.shape, no.shape));
  SPARSENET_ASSIGN_OR_RETURN(Shape shape, broadcast_shape(condition.shape, both));
  SPARSENET_RETURN_IF_ERROR(check_folded(shape));
  Walk at_condition(shape, broadcast_steps(condition.shape, shape));
  Walk at_no(shape, broadcast_steps(no.shape, shape));
  HostTensor out = picked(yes, shape, Walk(shape, broadcast_steps(yes.shape, shape)));
  const size_t count = out.size();
  float* floats = out.is_float() && count > 0 ? out.floats.data() : nullptr;
  int64_t* ints = out.is_float() || count == 0 ? nullptr : out.ints.data();
  for (size_t i = 0; i < count; ++i, at_condition.next(), at_no.next()) {
    if (condition.ints.data()[at_condition.at()] != 0) continue;
    if (floats) {
      floats[i] = no.floats.data()[at_no.at()];
    } else {
      ints[i] = no.ints.data()[at_no.at()];
    }
  }
  out.change = "folded with Where";
  c.set_output(0, std::move(out));
  return {};
}

// Since opset 11 the bounds are inputs, any of which may be absent; before, attributes of floats.
Status fold_clip(NodeContext& c) {
  HostTensor out = *c.input(0)->constant;
  const char* const names[] = {"min", "max"};
  for (size_t i = 0; i < 2; ++i) {
    HostTensor bound;
    bound.type = out.type;
    if (c.has_input(i + 1)) {
      bound = *c.input(i + 1)->constant;
      if (bound.size() != 1 || bound.is_float() != out.is_float()) {
        return invalid_model(std::string(names[i]) + ": expected one number of the input's type, found " +
                             to_string(bound.shape) + " " + name(bound.type));
      }
    } else if (c.has_attribute(names[i]) && out.is_float()) {
      bound.floats = {c.float_attribute(names[i], 0.f)};
    } else {
      continue;
    }
    bound.shape = {};
    Result<HostTensor> clipped = combine(*find_binary(i == 0 ? "Max" : "Min"), out, bound);
    if (!clipped.ok()) return clipped.status();
    clipped->source = out.source;
    out = std::move(clipped).value();
  }
  out.change = "folded with Clip";
  c.set_output(0, std::move(out));
  return {};
}

}  // namespace sparsenet::converter
