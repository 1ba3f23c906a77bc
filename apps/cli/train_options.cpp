#include "cli/train_options.h"

#include <cmath>
#include <cstdio>

namespace sparsenet::cli {
namespace {

constexpr int64_t kMost = int64_t{1} << 30;

CLI::Validator real_in(double least, double most, const char* words) {
  return CLI::Validator(
      [least, most, words](std::string& text) {
        double value = 0;
        // The comparison is false for NaN.
        if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) return std::string();
        return std::string("expected ") + words + ", found " + text;
      },
      "");
}

// Two spellings of the same number must compare equal, so numbers are formatted anew.
std::string shortest(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", value);
  return text;
}

Status one_of(const char* option, const std::string& value, std::initializer_list<const char*> words) {
  std::string list;
  for (const char* word : words) {
    if (value == word) return {};
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  return invalid_argument(std::string(option) + ": expected one of " + list + ", found '" + value + "'");
}

Schedule schedule_of(const std::string& name, const std::string& data_kind) {
  if (name == "cosine") return Schedule::kCosine;
  if (name == "onecycle") return Schedule::kOneCycle;
  if (name == "constant") return Schedule::kConstant;
  return data_kind == "svhn" ? Schedule::kPaperSvhn : Schedule::kPaper;
}

std::string splits_text(const io::DataSpec& spec) {
  if (spec.kind == "npy" || spec.splits == std::vector<std::string>{"train"}) return spec.kind;
  std::string text = spec.kind + "#";
  for (size_t i = 0; i < spec.splits.size(); ++i) text += (i > 0 ? "+" : "") + spec.splits[i];
  return text;
}

void add_learning_options(CLI::App& command, TrainCommand& c) {
  // Runs before the conversion, which would turn a negative number into one near 2^64.
  const CLI::Validator some_bytes(
      [](std::string& text) {
        const bool bad = text.empty() || text[0] == '-' || text.find_first_not_of('0') == std::string::npos;
        return bad ? "expected a number of bytes, found '" + text + "'" : std::string();
      },
      "");
  const std::string how = "How it learns";
  command.add_option("--optimizer", c.optimizer, "sgd (Nesterov), adam or adamw")->default_str("sgd")->group(how);
  command
      .add_option(
          "--lr", c.rate,
          "learning rate (default: 0.1 for sgd, 0.001 for the others; 0.00003 where 8-bit integers are trained)")
      ->check(real_in(0, 1e6, "a number from 0 to 1e6"))
      ->group(how);
  c.momentum_option = command.add_option("--momentum", c.momentum, "momentum of sgd")
                          ->check(real_in(0, 0.9999, "a number from 0 to 0.9999"))
                          ->default_str("0.9")
                          ->group(how);
  command.add_option("--weight-decay", c.weight_decay, "L2, on every trained tensor")
      ->check(real_in(0, 0.9999, "a number from 0 to 0.9999"))
      ->default_str("0.0001")
      ->group(how);
  command.add_option("--label-smoothing", c.smoothing, "share of the target that is spread evenly over all classes")
      ->check(real_in(0, 0.9999, "a number from 0 to 0.9999"))
      ->default_str("0")
      ->group(how);
  command.add_option("--clip", c.clip, "largest L2 norm of all gradients; 0: no limit")
      ->check(real_in(0, 1e9, "a number from 0 to 1e9"))
      ->default_str("0")
      ->group(how);
  command.add_option("--accumulate", c.accumulate, "batches whose mean gradient makes one update")
      ->check(in_range(1, 1 << 16))
      ->default_str("1")
      ->group(how);
  command.add_option("--schedule", c.schedule, "paper, cosine, onecycle or constant")->default_str("paper")->group(how);
  command.add_option("--warmup", c.warmup, "epochs of linear warm-up before the schedule")
      ->check(in_range(0, kMost))
      ->default_str("0")
      ->group(how);
  command.add_option("--augment", c.augment, "crop-flip or none (default: crop-flip for cifar10 and cifar100)")
      ->group(how);
  command
      .add_option("--freeze", c.freeze, "none, all-but-head, bn-and-bias, or a pattern of names of tensors to freeze")
      ->default_str("none")
      ->group(how);
  command
      .add_option("--memory-budget", c.memory_budget,
                  "most memory for computing, as 64M or 1G; met by recomputing and micro-batches")
      ->transform(CLI::AsSizeValue(false))
      ->transform(some_bytes)  // runs before the conversion
      ->group(how);
}

}  // namespace

void TrainCommand::add_to(CLI::App& command) {
  const auto natural = in_range(1, kMost);
  command.add_option("ARCH|MODEL", source, "an architecture, or the .snet file to start from")->required();
  command.add_option("-d,--data", data, "the training data, see below")->required();
  command.add_option("-o,--output", output, "the .snet file to write")->required();
  command.add_option("--test", test, "data to measure the error on after each epoch; never trained on");
  command.add_option("--classes", classes, "number of classes; a model with other classes gets a new last layer")
      ->check(in_range(2, 1 << 20));
  command.add_flag("--keep-labels", keep_labels, "keep the model's classes even if the data names others");
  command.add_flag("--skip-broken", skip_broken, "leave out images that cannot be read");
  command.add_option("--epochs", epochs, "passes through the data (default: 280, for svhn 40)")->check(natural);
  command.add_option("--batch", batch, "images per step")->check(in_range(1, 1 << 16))->default_str("64");
  command.add_option("--seed", seed, "seed of initial weights, order and augmentation")
      ->check(no_sign())
      ->default_str("0");
  command.add_flag("--no-shuffle", no_shuffle, "keep the order of the data");
  command.add_option("-t,--threads,--num_threads", backend.threads, "CPU threads; 0: as many as this process may use")
      ->check(in_range(0, 1024))
      ->default_str("0");
  command.add_option("--backend", backend.backend, "auto, portable, or reference (plain kernels: slow, for checking)")
      ->default_str("auto");
  command.add_flag("--json", json, "print one JSON document");

  add_learning_options(command, *this);

  const std::string files = "Checkpoints and logs";
  command.add_option("--checkpoint", checkpoint, "checkpoint file (default: OUT.checkpoint)")->group(files);
  command
      .add_option("--checkpoint-every", checkpoint_every, "steps between checkpoints, in addition to each epoch's end")
      ->check(in_range(1, kMost))
      ->group(files);
  command.add_flag("--resume", resume, "resume from the checkpoint, if there is one")->group(files);
  command.add_option("--log", log, "a CSV file with one line per epoch")->group(files);
  command.add_option("--plot", plot, "an SVG file with the curves of loss and error")->group(files);
  command.add_flag("--log-steps", log_steps, "keep the loss of every step, for --json")->group(files);
}

Status TrainCommand::resolve() {
  SPARSENET_ASSIGN_OR_RETURN(data_spec, io::parse_data_spec(data, "train"));
  if (!test.empty()) {
    SPARSENET_ASSIGN_OR_RETURN(test_spec, io::parse_data_spec(test, "test"));
  }
  SPARSENET_RETURN_IF_ERROR(one_of("--optimizer", optimizer, {"sgd", "adam", "adamw"}));
  SPARSENET_RETURN_IF_ERROR(one_of("--schedule", schedule, {"paper", "cosine", "onecycle", "constant"}));
  const bool is_cifar = data_spec.kind == "cifar10" || data_spec.kind == "cifar100";
  if (augment.empty()) augment = is_cifar ? "crop-flip" : "none";
  SPARSENET_RETURN_IF_ERROR(one_of("--augment", augment, {"crop-flip", "none"}));
  crop_flip = augment == "crop-flip";
  if (epochs == 0) epochs = data_spec.kind == "svhn" ? 40 : 280;
  if (warmup >= epochs) {
    return invalid_argument("--warmup: expected less than the " + std::to_string(epochs) + " epochs, found " +
                            std::to_string(warmup));
  }
  if (optimizer != "sgd" && momentum_option != nullptr && momentum_option->count() > 0) {
    return invalid_argument("--momentum: only sgd has it, found --optimizer " + optimizer);
  }
  if (freeze.empty()) return invalid_argument("--freeze: expected a pattern, found nothing");
  if (checkpoint.empty()) checkpoint = output + ".checkpoint";
  SPARSENET_ASSIGN_OR_RETURN(auto session, backend.resolve(1));
  kernels = session.backend;
  return {};
}

void TrainCommand::resolve_rate(bool simulated) {
  if (rate < 0) rate = simulated ? 0.00003 : optimizer == "sgd" ? 0.1 : 0.001;
}

std::vector<std::pair<std::string, std::string>> TrainCommand::written_files() const {
  return {{"--output", output}, {"--checkpoint", checkpoint}, {"--log", log}, {"--plot", plot}};
}

TrainOptions TrainCommand::train_options() const {
  TrainOptions options;
  options.batch = batch;
  options.threads = backend.threads;
  options.backend = kernels;
  options.optimizer = optimizer == "adam"    ? Optimizer::kAdam
                      : optimizer == "adamw" ? Optimizer::kAdamW
                                             : Optimizer::kSgd;
  options.momentum = static_cast<float>(momentum);
  options.nesterov = momentum > 0;
  options.weight_decay = static_cast<float>(weight_decay);
  options.label_smoothing = static_cast<float>(smoothing);
  options.clip_norm = static_cast<float>(clip);
  options.accumulate = accumulate;
  options.freeze = freeze;
  options.memory_budget = static_cast<size_t>(memory_budget);
  return options;
}

LearningRate TrainCommand::learning_rate(int64_t steps_per_epoch) const {
  LearningRate result;
  result.schedule = schedule_of(schedule, data_spec.kind);
  result.rate = rate;
  result.epochs = epochs;
  result.steps_per_epoch = steps_per_epoch;
  result.warmup_epochs = warmup;
  return result;
}

TrainCommand::Settings TrainCommand::settings() const {
  Settings list{{"--data", splits_text(data_spec)}, {"--epochs", std::to_string(epochs)},
                {"--batch", std::to_string(batch)}, {"--seed", std::to_string(seed)},
                {"--optimizer", optimizer},         {"--lr", shortest(rate)}};
  if (optimizer == "sgd") list.emplace_back("--momentum", shortest(momentum));
  list.emplace_back("--weight-decay", shortest(weight_decay));
  list.emplace_back("--label-smoothing", shortest(smoothing));
  list.emplace_back("--clip", shortest(clip));
  list.emplace_back("--accumulate", std::to_string(accumulate));
  list.emplace_back("--schedule", schedule);
  list.emplace_back("--warmup", std::to_string(warmup));
  list.emplace_back("--augment", augment);
  list.emplace_back("--freeze", freeze);
  list.emplace_back("--no-shuffle", no_shuffle ? "on" : "off");
  // auto and portable use the same kernels.
  if (kernels == Backend::kReference) list.emplace_back("--backend", "reference");
  return list;
}

std::string TrainCommand::provenance(const std::string& model_name, int64_t micro_batch) const {
  std::string text = "sparsenet train " + model_name;
  if (classes > 0) text += " --classes " + std::to_string(classes);
  for (const auto& [name, value] : settings()) {
    // Options without effect are left out.
    const bool idle = (value == "0" && name != "--seed" && name != "--lr" && name != "--weight-decay") ||
                      value == "off" || (name == "--accumulate" && value == "1") ||
                      (name == "--freeze" && value == "none");
    if (idle) continue;
    text += " " + name + (value == "on" ? "" : " " + value);
  }
  if (micro_batch > 0 && micro_batch < batch) text += " (in parts of " + std::to_string(micro_batch) + " images)";
  return text;
}

}  // namespace sparsenet::cli
