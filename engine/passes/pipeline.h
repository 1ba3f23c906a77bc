// Runs the passes that turn a stored graph into one that lowers to few, fast steps.
//
// Every pass is a function Graph -> Graph that keeps the outputs; the pipeline infers and checks all shapes after each.
// To add one, add a file here, a declaration in passes.h and a row in pipeline.cpp, where they are in the order in
// which they run.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet {

enum class PassLevel {
  kRequired,     // only what lowering needs
  kForIntegers,  // before a network is quantised: all but those that make one node of several values' computation
  kAll,
};

Status run_passes(Graph* graph, PassLevel level);

}  // namespace sparsenet
