// Recognises activations that exporters write as several nodes.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet::converter {

// Replaces each of these expressions by one node, if nothing else reads its intermediate results:
//   x sigmoid(alpha x)                                        Silu
//   x tanh(softplus(x))                                       Mish
//   x (1 + erf(x / sqrt 2)) / 2                               Gelu
//   x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2         GeluTanh
// The factors may be in any order. Nodes that nothing reads any more are left for the caller to remove.
void recognise_activations(Graph* graph);

}  // namespace sparsenet::converter
