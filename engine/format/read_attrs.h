// The attributes of a node in a file.
#pragma once

#include <sparsenet/graph.h>

#include "format/structure_budget.h"

namespace sparsenet {

namespace schema {
struct Node;
}

// Checks what the shape rules do not: activations, and that numbers are numbers.
Status read_attrs(const schema::Node& file, StructureBudget* budget, Attrs* out);

}  // namespace sparsenet
