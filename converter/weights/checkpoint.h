// Finds the weights in what torch.save wrote.
#pragma once

#include <string>
#include <vector>

#include "converter/weights/pickle.h"

namespace sparsenet::converter {

// The dict of named tensors that holds the network's weights: under one of the usual keys, else the root, else the only
// one there is, not counting those of optimisers. If there are several and none is in a usual place, the error lists
// them. Notes say where the weights were found and what else looks like weights. `pickle` owns the dict.
Result<const PickleValue*> choose_weights(const Pickle& pickle, std::vector<std::string>* notes);

}  // namespace sparsenet::converter
