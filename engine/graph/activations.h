// The table of activation functions: one row per activation, with what passes, lowering, gradients, the file reader and
// the tests need to know about it.
//
// To add one, add its numbers to graph.h (Op, Activation::Kind) and step.h (Act::Kind), a row to activations.cpp, and
// its formula and slope, both over vectors (kernels/portable/activation.h) and in plain C
// (kernels/reference/activation.cpp).
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
  bool slope_from_result;  // dy/dx follows from y alone, so training need not keep x
};

// The rows are in the order of their kinds, which are numbered 1, 2, 3, ...
constexpr int kActivations = static_cast<int>(Activation::kLast);
extern const ActivationRow kActivationTable[kActivations];

// Null for an op that is not an activation, and for kNone.
const ActivationRow* find_activation(Op op);
const ActivationRow* find_activation(Activation::Kind kind);

// Convert between an Activation and the attributes of a node that applies it.
Activation activation_of(const ActivationRow& row, const Attrs& attrs);
Attrs attrs_of(const ActivationRow& row, const Activation& activation);

// Whether the node is an activation and nothing else; if so, fills in *activation.
bool is_activation(const Node& node, Activation* activation);

}  // namespace sparsenet
