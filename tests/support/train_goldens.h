// Reads the goldens of training (tests/goldens/train, whose README describes the files).
#pragma once

#include <sparsenet/status.h>
#include <sparsenet/trainer.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sparsenet::test {

struct GoldenGradient {
  std::string name;
  std::vector<double> values;
  double norm = 0;  // L2; 0: zero except for rounding, as for a bias before a BatchNorm
};

struct TrainGolden {
  std::string arch;
  int64_t batch = 0;
  float learning_rate = 0;
  TrainOptions options;        // batch and optimiser
  int64_t gradient_batch = 0;  // the batch of the data to which loss, correct and gradients belong
  double loss = 0;
  int64_t correct = 0;
  std::vector<GoldenGradient> gradients;
  std::vector<double> losses64, losses32;             // of the steps, each before its update
  std::map<std::string, std::vector<double>> values;  // parameters and running statistics after the last step
};

// `name` is an architecture, or "variant-" followed by a variant's name.
Result<TrainGolden> read_train_golden(const std::string& name);

std::vector<std::string> train_golden_variants();  // the files that exist, in order

}  // namespace sparsenet::test
