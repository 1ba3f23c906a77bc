// The starting point of a training: a network, new or from a file, and data that fits it.
#pragma once

#include <sparsenet/model.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/train_data.h"
#include "cli/train_options.h"

namespace sparsenet::cli {

struct TrainStart {
  Model model;              // the graph before the first step; metadata as in the result, except for provenance
  std::string model_name;   // for reports and provenance: "sparsenet-abc-v0"
  uint64_t file_bytes = 0;  // size of the file that the network comes from; 0: none
  std::string before;       // the provenance stated in that file
  std::unique_ptr<TrainData> train, test;  // test may be null
  std::vector<std::string> data_lines;     // what was read: images, classes, and what was left out
  std::string data;  // the same as a JSON document; kept as text, because even destroying a Json allocates
  std::vector<std::string> notes;  // about things that are allowed but may not be what was meant
};

// Reads and checks everything; writes nothing. `usage` tells whether a failure is a usage error.
Result<TrainStart> start_training(TrainCommand& command, bool& usage);

// The number of scores per image that the network gives.
int64_t class_count(const Graph& graph);

// replace_head(), and the architecture's text, which no longer describes the network: it is spelled out with the new
// number of classes, if it can be.
Status new_head(Model* model, int64_t classes, uint64_t seed);

// Replaces the outputs of the model's test vectors, which belong to the old weights, by those that the reference
// kernels compute now. A model without vectors gets one, with inputs that depend on nothing.
Status renew_test_vectors(Model& model);

}  // namespace sparsenet::cli
