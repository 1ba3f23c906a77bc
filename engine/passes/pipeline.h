// The passes that turn a stored graph into one that lowers to few, fast steps, in the order they run.
//
// Every pass is a function Graph -> Graph that keeps the outputs; the pipeline infers and checks all shapes after each.
// To add one: a file here, a declaration in passes.h, a row in pipeline.cpp.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet {

enum class PassLevel {
  kRequired,  // only what lowering needs
  kAll,
};

Status run_passes(Graph* graph, PassLevel level);

}  // namespace sparsenet
