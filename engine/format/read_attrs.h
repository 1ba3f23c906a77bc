// Reads the attributes of a node from a file.
#pragma once

#include <sparsenet/graph.h>

#include "format/structure_budget.h"

namespace sparsenet {

namespace schema {
struct Node;
}

// Checks only what the shape rules do not: fused activations, and that the value of a padding is not NaN.
Status read_attrs(const schema::Node& file, StructureBudget* budget, Attrs* out);

}  // namespace sparsenet
