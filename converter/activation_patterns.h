// Activations that exporters write as several nodes.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet::converter {

// Replaces by one node, wherever nothing else reads what is computed on the way:
//   x sigmoid(alpha x)                                        Silu
//   x tanh(softplus(x))                                       Mish
//   x (1 + erf(x / sqrt 2)) / 2                               Gelu
//   x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2         GeluTanh
// in any order of the factors. Leaves the nodes that nothing reads any more to the caller.
void recognise_activations(Graph* graph);

}  // namespace sparsenet::converter
