// Assigns the tensors of a file to the constants of an architecture's graph.
//
// Three steps, each working on what the previous one left unmatched:
//   1. rules: what `--map` says;
//   2. names: equal to a constant's name, possibly after removing prefixes that wrappers add (module., _orig_mod.,
//      model., ...) or any other prefix that all tensors share, or after replacing other implementations' names of the
//      layer (downsample for shortcut, fc for linear);
//   3. order and shape: if exactly one assignment keeps the file's order, has equal shapes and contradicts no role that
//      a name implies (weight, bias, running mean, running variance); for files that keep no order, if a shape is
//      unique. Some files (Keras) keep the order of convolutions and that of batch normalisations, each for itself.
//      Anything then left over or missing is a problem, and so is any ambiguous step: nothing is ever guessed. Integer
//      tensors (num_batches_tracked) are counters, not weights, and are ignored.
#pragma once

#include <sparsenet/graph.h>

#include "converter/report.h"
#include "converter/weights/name_rules.h"
#include "converter/weights/source_tensor.h"

namespace sparsenet::converter {

// Drops the values of the constants that match_weights() fills: the builder's random values take as much memory as the
// file's. Such a graph is unusable until it has been matched without a problem.
void drop_weights(Graph* graph);

// Fills report->tensors (every source tensor, every constant of the graph) and report->problems; the graph's constants
// are replaced only when there is no problem. Warns about rules that drop what look like parameters of layers.
void match_weights(SourceTensors source, const NameRules& rules, Graph* graph, Report* report);

}  // namespace sparsenet::converter
