// The table of activations: what passes, lowering, gradients, the file reader and the tests know of each.
//
// To add one: its numbers in graph.h (Op, Activation::Kind) and step.h (Act::Kind), a row in activations.cpp, its
// formula and slope over vectors (kernels/portable/activation.h) and in plain C (kernels/reference/activation.cpp).
#pragma once

#include <sparsenet/graph.h>

#include "graph/ops.h"

namespace sparsenet {

// Which attributes the op has, and what Activation's a and b stand for.
enum class ActivationParameters : uint8_t {
  kNone,       // NoAttrs
  kBounds,     // ClipAttrs: low, high
  kAlpha,      // AlphaBetaAttrs: alpha
  kAlphaBeta,  // AlphaBetaAttrs: alpha, beta
};

struct ActivationRow {
  OpDefinition op;
  Activation::Kind kind;
  ActivationParameters parameters;
  bool slope_from_result;  // y alone tells dy/dx, so training need not keep x
};

// In the order of their kinds, which are 1, 2, 3, ...
constexpr int kActivations = static_cast<int>(Activation::kLast);
extern const ActivationRow kActivationTable[kActivations];

// Null for an op that is no activation, and for kNone.
const ActivationRow* find_activation(Op op);
const ActivationRow* find_activation(Activation::Kind kind);

// Of an activation's node.
Activation activation_of(const ActivationRow& row, const Attrs& attrs);
Attrs attrs_of(const ActivationRow& row, const Activation& activation);

// The activation that a node applies, if it is nothing but one.
bool is_activation(const Node& node, Activation* activation);

}  // namespace sparsenet
