// The loss of a training step in double precision: a graph with BatchNorm on the statistics of its batch, followed by
// the cross-entropy. Its central differences are the gradients that the engine must find.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "support/reference.h"

namespace sparsenet::test {

class TrainReference {
 public:
  struct Options {
    double label_smoothing = 0;
    std::set<std::string> frozen_norms;  // nodes that use their running statistics
  };
  // `images` has the input's shape, with labels.size() as the batch. A Softmax at the end is left out.
  static Result<TrainReference> create(const Graph& graph, const std::vector<float>& images,
                                       const std::vector<int32_t>& labels, const Options& options);

  double loss() const { return loss_; }            // with label smoothing
  double cross_entropy() const { return plain_; }  // without label smoothing
  int64_t correct() const { return correct_; }
  double margin() const { return margin_; }  // the smallest difference between an image's two largest logits
  const std::vector<double>& logits() const { return values_[static_cast<size_t>(logits_)].data; }

  // The loss with constant `id` changed by `delta`.
  double loss_at(ValueId id, const std::vector<double>& delta) const;

  // How close any input of a rectifier, a clip or similar is to a discontinuity of its slope, or two elements of a
  // pooling window to a tie. If the distance is less than float32 rounding, a step in float32 may fall on the other
  // side.
  double kink_distance() const { return kink_distance_; }

  // Running statistics after the step, by the constant that holds them: 0.9 old + 0.1 batch, variance unbiased.
  const std::map<ValueId, std::vector<double>>& running() const { return running_; }

 private:
  // Evaluates the nodes from `first_node` on; `record`, if not null, receives running statistics and kinks.
  Status forward(size_t first_node, std::vector<Array>& values, TrainReference* record) const;
  static void batch_norm(const Node& node, const Operands& in, Array& out, TrainReference* record);
  void measure_kinks(const Node& node, const Operands& in, const Arrays& out);
  double loss_of(const Array& logits, double smoothing) const;

  Graph graph_;
  Options options_;
  std::vector<int32_t> labels_;
  ValueId logits_ = kNoValue;
  std::vector<Array> values_;  // of the unchanged graph, all of them
  std::vector<size_t> first_use_;
  double loss_ = 0, plain_ = 0, kink_distance_ = 0, margin_ = 0;
  int64_t correct_ = 0;
  std::map<ValueId, std::vector<double>> running_;
};

}  // namespace sparsenet::test
