#include "graph/activations.h"

#include <cmath>

namespace sparsenet {
namespace {

constexpr size_t attrs_of_op(ActivationParameters parameters) {
  return parameters == ActivationParameters::kNone     ? attrs_index<NoAttrs>()
         : parameters == ActivationParameters::kBounds ? attrs_index<ClipAttrs>()
                                                       : attrs_index<AlphaBetaAttrs>();
}

constexpr ActivationRow row(Op op, Activation::Kind kind, const char* name, ActivationParameters parameters,
                            bool slope_from_result) {
  return {
      {op, name, 1, 1, 1, 1, 1, attrs_of_op(parameters), true, infer_activation}, kind, parameters, slope_from_result};
}

using Kind = Activation::Kind;
using Parameters = ActivationParameters;

}  // namespace

const ActivationRow kActivationTable[kActivations] = {
    row(Op::kRelu, Kind::kRelu, "Relu", Parameters::kNone, true),
    row(Op::kClip, Kind::kClip, "Clip", Parameters::kBounds, false),
    row(Op::kLeakyRelu, Kind::kLeakyRelu, "LeakyRelu", Parameters::kAlpha, false),
    row(Op::kSigmoid, Kind::kSigmoid, "Sigmoid", Parameters::kNone, true),
    row(Op::kHardSigmoid, Kind::kHardSigmoid, "HardSigmoid", Parameters::kAlphaBeta, false),
    row(Op::kHardSwish, Kind::kHardSwish, "HardSwish", Parameters::kNone, false),
    row(Op::kTanh, Kind::kTanh, "Tanh", Parameters::kNone, true),
    row(Op::kElu, Kind::kElu, "Elu", Parameters::kAlpha, false),
    row(Op::kSoftplus, Kind::kSoftplus, "Softplus", Parameters::kNone, false),
    row(Op::kSilu, Kind::kSilu, "Silu", Parameters::kAlpha, false),
    row(Op::kMish, Kind::kMish, "Mish", Parameters::kNone, false),
    row(Op::kGelu, Kind::kGelu, "Gelu", Parameters::kNone, false),
    row(Op::kGeluTanh, Kind::kGeluTanh, "GeluTanh", Parameters::kNone, false),
    row(Op::kErf, Kind::kErf, "Erf", Parameters::kNone, false),
};

const ActivationRow* find_activation(Op op) {
  for (const ActivationRow& row : kActivationTable) {
    if (row.op.op == op) return &row;
  }
  return nullptr;
}

const ActivationRow* find_activation(Activation::Kind kind) {
  const int index = static_cast<int>(kind) - 1;
  return index >= 0 && index < kActivations ? &kActivationTable[index] : nullptr;
}

Activation activation_of(const ActivationRow& row, const Attrs& attrs) {
  Activation activation{row.kind, 0, 0};
  if (const auto* bounds = std::get_if<ClipAttrs>(&attrs)) {
    activation.a = bounds->low;
    activation.b = bounds->high;
  } else if (const auto* given = std::get_if<AlphaBetaAttrs>(&attrs)) {
    activation.a = given->alpha;
    if (row.parameters == Parameters::kAlphaBeta) activation.b = given->beta;
  }
  return activation;
}

Attrs attrs_of(const ActivationRow& row, const Activation& a) {
  switch (row.parameters) {
    case Parameters::kBounds:
      return ClipAttrs{a.a, a.b};
    case Parameters::kAlpha:
      return AlphaBetaAttrs{a.a, 0};
    case Parameters::kAlphaBeta:
      return AlphaBetaAttrs{a.a, a.b};
    case Parameters::kNone:
      break;
  }
  return NoAttrs{};
}

bool is_activation(const Node& node, Activation* activation) {
  const ActivationRow* row = find_activation(node.op);
  if (row) *activation = activation_of(*row, node.attrs);
  return row != nullptr;
}

Status check_activation(const Activation& a) {
  if (a.kind == Kind::kNone) return {};
  const ActivationRow* row = find_activation(a.kind);
  if (!row) {
    return ShapeContext::mismatch("activation", "a kind of 0 to " + std::to_string(kActivations),
                                  std::to_string(static_cast<int>(a.kind)));
  }
  const bool bounds = row->parameters == Parameters::kBounds;  // infinite bounds are meaningful, NaN is not
  if (bounds ? !(a.a <= a.b) : (!std::isfinite(a.a) || !std::isfinite(a.b))) {
    return ShapeContext::mismatch("activation", bounds ? "low <= high" : "finite parameters",
                                  std::to_string(a.a) + " and " + std::to_string(a.b));
  }
  return {};
}

Status infer_activation(ShapeContext& c) {
  if (const auto* bounds = std::get_if<ClipAttrs>(&c.node.attrs)) {
    if (!(bounds->low <= bounds->high)) {
      return c.mismatch("bounds", "low <= high", std::to_string(bounds->low) + " and " + std::to_string(bounds->high));
    }
  } else if (const auto* a = std::get_if<AlphaBetaAttrs>(&c.node.attrs)) {
    if (!std::isfinite(a->alpha) || !std::isfinite(a->beta)) return invalid_model("alpha and beta must be finite");
  }
  return infer_unary(c);
}

}  // namespace sparsenet
