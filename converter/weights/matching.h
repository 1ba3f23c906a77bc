// Puts the tensors of a file into the constants of an architecture's graph.
//
// Three steps, each working on what the one before left:
//   1. rules: what `--map` says;
//   2. names: equal to a constant's name, also without the prefixes that wrappers add (module., _orig_mod., model.,
//      ...), without any other prefix that all tensors share, and with what other implementations call the layer
//      (downsample for shortcut, fc for linear);
//   3. order and shape: where exactly one assignment keeps the file's order, has equal shapes and contradicts no role
//      that a name tells (weight, bias, running mean, running variance); for files that keep no order, where a shape is
//      unique.
// What is then left over or missing is a problem, as is any step with more than one answer: nothing is ever guessed.
// Integer tensors (num_batches_tracked) are counters, not weights, and are ignored.
#pragma once

#include <sparsenet/graph.h>

#include "converter/report.h"
#include "converter/weights/name_rules.h"
#include "converter/weights/source_tensor.h"

namespace sparsenet::converter {

// Forgets the values of the constants that match_weights() fills: a builder made them at random, and they take as much
// memory as the file's. Such a graph is of no use until it has been matched without a problem.
void drop_weights(Graph* graph);

// Fills report->tensors (every source tensor, every constant of the graph) and report->problems; the graph's constants
// are replaced only when there is no problem. Rules that drop what looks like parameters of layers are warned of.
void match_weights(SourceTensors source, const NameRules& rules, Graph* graph, Report* report);

}  // namespace sparsenet::converter
