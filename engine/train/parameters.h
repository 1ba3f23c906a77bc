// Which constants of a graph are parameters, and which of them are trained and decayed.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/trainer.h>

#include <vector>

namespace sparsenet {

// Fills in all four lists: `infos` and `ids` by parameter, `trained` and `decayed` by value. kInvalidArgument if
// options.freeze leaves nothing to train or matches nothing.
Status choose_parameters(const Graph& graph, const TrainOptions& options, std::vector<ParameterInfo>* infos,
                         std::vector<ValueId>* ids, std::vector<bool>* trained, std::vector<bool>* decayed);

}  // namespace sparsenet
