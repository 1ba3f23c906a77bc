// A network that takes images and returns one score per class: shared by classify and eval.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "data/preprocess.h"

namespace sparsenet::cli {

class Classifier {
 public:
  // kInvalidModel unless the network has exactly one image input and one output with at least one score per image.
  static Result<Classifier> create(const LoadedModel& model, const SessionOptions& options);

  int64_t classes() const { return classes_; }
  int64_t batch() const { return batch_; }
  const io::Preprocess& preprocess() const { return preprocess_; }
  Session& session() { return session_; }
  // Whether the network itself ends in a softmax, so that scores are probabilities already.
  bool ends_in_softmax() const { return softmax_; }

  // pixels: batch() prepared inputs; scores: batch() x classes() values as the network gives them.
  Status run(const std::vector<float>& pixels, std::vector<float>& scores);

 private:
  Classifier(Session session, io::Preprocess preprocess, int64_t batch, int64_t classes, bool softmax);
  Session session_;
  io::Preprocess preprocess_;
  int64_t batch_, classes_;
  bool softmax_;
};

// A remark on the mean and std that `path` stores; empty if there is nothing to say.
std::string normalisation_note(const std::string& path, const Metadata& metadata);

// Converts scores to probabilities; kInternal if a score is not finite.
Result<std::vector<double>> softmax(const float* scores, size_t count);

bool ends_in_softmax(const Graph& graph);

}  // namespace sparsenet::cli
