// From a file of weights and an architecture to a graph.
#pragma once

#include "converter/convert.h"

namespace sparsenet::converter {

// Puts the file's tensors into the constants of the network named by --arch. The graph counts only if the report has no
// problems afterwards.
Graph import_weights(const Options& options, Format format, FileBytes bytes, Report* report);

}  // namespace sparsenet::converter
