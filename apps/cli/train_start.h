// Where a training starts: a network, fresh or from a file, and the data that fits it.
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
  Model model;              // the graph before the first step; metadata as the result will have it, but for provenance
  std::string model_name;   // for reports and provenance: "sparsenet-abc-v0"
  uint64_t file_bytes = 0;  // of the file that it goes on from; 0: none
  std::string before;       // the provenance of the file that it goes on from
  std::unique_ptr<TrainData> train, test;  // test may be null
  std::vector<std::string> data_lines;     // what was read: images, classes, what was left out
  std::string data;                        // the same as a JSON document, which would allocate even where it ends
  std::vector<std::string> notes;          // what is allowed, but may not be what was meant
};

// Reads everything and checks it; nothing is written. `usage` tells whether a failure is one of the command line.
Result<TrainStart> start_training(TrainCommand& command, bool& usage);

// Scores an image that the network gives.
int64_t class_count(const Graph& graph);

// Outputs of the network for the inputs of the model's test vectors, from the reference kernels, in place of those
// that belong to the weights before. A model without vectors gets one, of numbers that depend on nothing.
Status renew_test_vectors(Model& model);

}  // namespace sparsenet::cli
