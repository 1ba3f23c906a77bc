// The options of `sparsenet train`, with defaults filled in, and the two texts made from them.
#pragma once

#include <sparsenet/train_tools.h>
#include <sparsenet/trainer.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/arguments.h"
#include "data/dataset.h"

namespace sparsenet::cli {

struct TrainCommand {
  std::string source, data, test, output;
  int64_t classes = 0;  // 0: the model's number, or for an architecture the data's
  int64_t epochs = 0, batch = 64, warmup = 0, checkpoint_every = 0;
  uint64_t seed = 0;
  bool no_shuffle = false, resume = false, log_steps = false, json = false;
  bool keep_labels = false, skip_broken = false;
  std::string optimizer = "sgd", schedule = "paper", augment, freeze = "none";
  double rate = -1;  // negative: the optimiser's default, or that of trained integers
  double momentum = 0.9, weight_decay = 1e-4, smoothing = 0, clip = 0;
  int accumulate = 1;
  uint64_t memory_budget = 0;
  std::string checkpoint, log, plot;
  BackendOptions backend;
  CLI::Option* momentum_option = nullptr;

  void add_to(CLI::App& command);
  // Fills in defaults that depend on other options and makes the checks that involve more than one option. Errors are
  // usage errors.
  Status resolve();
  // Fills in what depends on the network: `simulated` says whether integers are trained. To be called before the
  // settings are asked for.
  void resolve_rate(bool simulated);

  // The options that name output files, with these files; some may be empty. To be called after resolve().
  std::vector<std::pair<std::string, std::string>> written_files() const;

  io::DataSpec data_spec, test_spec;  // set by resolve(); test_spec only where `test` is given
  bool crop_flip = false;
  Backend kernels = Backend::kAuto;
  TrainOptions train_options() const;
  LearningRate learning_rate(int64_t steps_per_epoch) const;

  using Settings = std::vector<std::pair<std::string, std::string>>;
  // The options that affect the outcome: no paths, no threads, nothing that only affects reports.
  Settings settings() const;
  // The same as one line, for the metadata of the result: "sparsenet train sparsenet-abc-v0 --data cifar10 --epochs
  // 40".
  std::string provenance(const std::string& model_name, int64_t micro_batch) const;
};

}  // namespace sparsenet::cli
