// sparsenet train: trains a network from scratch or from a file, as a whole or in part; see docs/training.md.
#include <sparsenet/model.h>
#include <sparsenet/train_tools.h>
#include <sparsenet/trainer.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/arguments.h"
#include "cli/file_lock.h"
#include "cli/interrupt.h"
#include "cli/train_loop.h"
#include "cli/train_options.h"
#include "cli/train_report.h"
#include "cli/train_start.h"

namespace sparsenet::cli {
namespace {

constexpr const char* kTrainExamples =
    R"(DATA is cifar10:DIR, cifar100:DIR, svhn:DIR, folder:DIR (one folder per class) or npy:IMAGES.npy,LABELS.npy
(float32 NCHW, used as it is); a suffix #train, #test, #train+extra selects the split: without one, --data reads train
and --test reads test. Schedules: paper (the rate falls to 0.1, 0.01, 0.002 of its start after 150, 200, 250 of 280
epochs, or the same shares of --epochs; svhn: to 0.1, 0.01 after 20, 30 of 40), cosine, onecycle, constant. The same
command gives the same file, byte for byte, on any number of threads, with the same instruction set.

Examples:
  sparsenet train sparsenet-abc-v0 --data cifar10:data --test cifar10:data --epochs 40 --schedule onecycle -o net.snet
  sparsenet train sparsenet-abc-v1 --data cifar10:data -o net.snet --log net.csv --plot net.svg --resume
  sparsenet train net.snet --data folder:photos --classes 5 --freeze all-but-head --epochs 10 --lr 0.01 -o mine.snet
  sparsenet train net.snet --data folder:photos --memory-budget 32M --epochs 5 --lr 0.01 -o mine.snet)";

// Where a symbolic link leads, as far as the path exists.
std::filesystem::path resolved(const std::string& path) {
  std::error_code failed;
  std::filesystem::path target = std::filesystem::weakly_canonical(std::filesystem::absolute(path), failed);
  return failed ? std::filesystem::path(path) : target;
}

// The result may replace the network that it was trained from, but no other two files may be the same.
Status check_distinct(const TrainCommand& command) {
  auto files = command.written_files();
  files.insert(files.begin(), {"the model", command.source});
  for (size_t i = 1; i < files.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const bool result_of_model = i == 1 && j == 0;
      if (files[i].second.empty() || files[j].second.empty() || result_of_model) continue;
      if (resolved(files[i].second) != resolved(files[j].second)) continue;
      return invalid_argument(files[i].first + ": expected a file of its own, found that of " + files[j].first + ", " +
                              files[i].second);
    }
  }
  return {};
}

// Hours of training must not be lost because the output folder does not exist.
Status check_writable(const std::string& option, const std::string& path) {
  namespace fs = std::filesystem;
  if (path.empty()) return {};
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return io_error(option + ": expected a file, found the directory " + path);
  }
  const fs::path target = resolved(path);
  if (fs::exists(target, ignored) && !fs::is_regular_file(target, ignored)) {
    return io_error(option + ": " + path + ": expected a regular file or none, found a device or pipe");
  }
  const fs::path parent = target.parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  if (!fs::is_directory(folder, ignored)) {
    return not_found(option + ": " + path + ": expected an existing folder " + folder);
  }
  if (::access(folder.c_str(), W_OK) != 0) {
    return io_error(option + ": " + path + ": the folder cannot be written to");
  }
  return {};
}

std::string hex(uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "%016" PRIx64, number);
  return text;
}

std::string provenance_of(const TrainCommand& command, const TrainStart& start, int64_t micro_batch) {
  const std::string now = command.provenance(start.model_name, micro_batch);
  return start.before.empty() ? now : now + "; before: " + start.before;
}

// The options, and hashes of the data that they only name.
Result<TrainCommand::Settings> full_settings(const TrainCommand& command, const TrainStart& start) {
  TrainCommand::Settings settings = command.settings();
  for (auto& [name, value] : settings) {
    if (name == "--data") {
      value += ", " + std::to_string(start.train->size()) + " images with the hash " + hex(start.train->hash());
    }
  }
  // Includes everything that the result will say about itself: metadata that cannot be written ends the training before
  // it begins.
  Model bare;
  bare.graph = start.model.graph;
  bare.metadata = start.model.metadata;
  bare.metadata.provenance = provenance_of(command, start, 0);
  SPARSENET_ASSIGN_OR_RETURN(auto bytes, serialize_model(bare));
  settings.emplace_back("--classes", std::to_string(class_count(start.model.graph)));
  settings.emplace_back("the model", "one with the hash " + hex(hash_bytes(bytes.data(), bytes.size())));
  settings.emplace_back("the program", "version " + version());
  return settings;
}

// The checkpoint to resume from; an empty one if there is none.
Result<Checkpoint> read_checkpoint(const TrainCommand& command, TrainReport& report) {
  // If that cannot be determined, starting from scratch could overwrite an existing checkpoint.
  std::error_code failed;
  const bool exists = std::filesystem::exists(command.checkpoint, failed);
  if (failed) return io_error(command.checkpoint + ": cannot look for it: " + failed.message());
  if (!command.resume) {
    if (exists) report.line("note    " + command.checkpoint + " is replaced; --resume would go on from it");
    return Checkpoint();
  }
  if (!exists) {
    report.line("note    no checkpoint " + command.checkpoint + ": from the beginning");
    return Checkpoint();
  }
  return load_checkpoint(command.checkpoint);
}

// Checks values that can be wrong in a checkpoint with a matching checksum and settings only if somebody forged it.
bool plausible(const Checkpoint& c, const TrainCommand& command, int64_t steps_per_epoch) {
  const auto epochs = static_cast<int64_t>(c.epochs.size());
  if (epochs > command.epochs || c.step < epochs * steps_per_epoch) return false;
  if (c.step > std::min((epochs + 1), command.epochs) * steps_per_epoch) return false;
  return !c.has_step_losses || static_cast<int64_t>(c.step_losses.size()) == c.step;
}

Status resume(const TrainCommand& command, const TrainCommand::Settings& settings, int64_t steps_per_epoch,
              Trainer& trainer, Checkpoint& checkpoint) {
  SPARSENET_RETURN_IF_ERROR(compare_settings(checkpoint, settings).with_context(command.checkpoint));
  if (command.log_steps && !checkpoint.has_step_losses) {
    return invalid_argument(command.checkpoint + ": --log-steps: the training began without it");
  }
  if (!plausible(checkpoint, command, steps_per_epoch)) {
    return invalid_model(command.checkpoint + ": damaged checkpoint: its steps and epochs do not fit together");
  }
  SPARSENET_RETURN_IF_ERROR(
      trainer.load_state(checkpoint.state.data(), checkpoint.state.size()).with_context(command.checkpoint));
  std::vector<uint8_t>().swap(checkpoint.state);
  return {};
}

Status write_result(const TrainCommand& command, Graph trained, int64_t micro_batch, TrainStart& start) {
  Model& model = start.model;
  model.graph = std::move(trained);
  SPARSENET_RETURN_IF_ERROR(check_finite(model.graph));
  model.metadata.provenance = provenance_of(command, start, micro_batch);
  SPARSENET_RETURN_IF_ERROR(renew_test_vectors(model));
  return save_model(model, command.output);
}

// Two trainings that write the same files would destroy each other's work. Locks are taken on the targets of symbolic
// links.
Result<std::vector<FileLock>> lock_files(const TrainCommand& command) {
  std::vector<FileLock> locks;
  for (const auto& [option, path] : command.written_files()) {
    if (path.empty()) continue;
    auto lock = FileLock::take(resolved(path).string());
    if (!lock.ok()) return lock.status().with_context(option);
    locks.push_back(std::move(*lock));
  }
  return locks;
}

Result<Trainer> create_trainer(const TrainCommand& command, const TrainStart& start) {
  TrainOptions train_options = command.train_options();
  // A file may come from anywhere and ask for any amount of memory; an architecture is what the user typed.
  const bool limited = start.file_bytes > 0 && train_options.memory_budget == 0;
  if (limited) train_options.max_memory_bytes = default_memory(start.file_bytes, train_options.batch);
  auto trainer = Trainer::create(start.model.graph, train_options);
  if (!trainer.ok()) {
    Status status = trainer.status();
    if (limited && status.code() == StatusCode::kOutOfMemory) {
      status = out_of_memory(status.message() + " (--memory-budget BYTES says how much it may take)");
    }
    return status.with_context(start.model_name);
  }
  return trainer;
}

void begin_report(const TrainCommand& command, const TrainStart& start, const TrainMemory& memory, int threads,
                  const Checkpoint& checkpoint, int64_t steps_per_epoch, TrainReport& report) {
  for (const std::string& line : start.data_lines) report.line(line);
  for (const std::string& note : start.notes) report.line("note    " + note);
  report.memory(memory, threads, command.batch);
  if (static_cast<int64_t>(checkpoint.epochs.size()) == command.epochs) {
    report.line("note    " + command.checkpoint + ": this training is finished; " + command.output +
                " is written again");
  } else if (checkpoint.step > 0) {
    report.line("note    going on after step " + std::to_string(checkpoint.step) + " of " +
                std::to_string(command.epochs * steps_per_epoch));
  }
}

int train(TrainCommand command) {
  const Status resolved = command.resolve();
  if (!resolved.ok()) return usage_error(resolved.message());
  const Backend kernels = command.kernels;
  if (kernels != Backend::kAuto && kernels != Backend::kPortable && kernels != Backend::kReference) {
    return fail(unsupported("--backend " + command.backend.backend + ": training runs on auto, portable or reference"));
  }
  for (const auto& [option, path] : command.written_files()) {
    const Status writable = check_writable(option, path);
    if (!writable.ok()) return fail(writable);
  }

  const Status distinct = check_distinct(command);
  if (!distinct.ok()) return usage_error(distinct.message());

  bool usage = false;
  auto start = start_training(command, usage);
  if (!start.ok()) return usage ? usage_error(start.status().message()) : fail(start.status());
  auto settings = full_settings(command, *start);
  if (!settings.ok()) return fail(settings.status());
  const int64_t steps_per_epoch = start->train->size() / command.batch;
  const int64_t all_steps = command.epochs * steps_per_epoch;
  if (command.accumulate > all_steps) {
    return usage_error("--accumulate: expected at most " + std::to_string(all_steps) +
                       ", the steps of this training, found " + std::to_string(command.accumulate));
  }
  TrainReport report(command, start->model_name, steps_per_epoch);
  if (const int64_t rest = all_steps % command.accumulate; rest > 0) {
    start->notes.push_back("--accumulate: " + std::to_string(all_steps) + " steps are no multiple of " +
                           std::to_string(command.accumulate) + ": the last " + std::to_string(rest) +
                           " make no update");
  }
  // From here on an interruption must be handled: there is work to lose and files to leave in order.
  watch_for_interrupts();
  auto locks = lock_files(command);
  if (!locks.ok()) return fail(locks.status());
  auto checkpoint = read_checkpoint(command, report);
  if (!checkpoint.ok()) return fail(checkpoint.status());

  TrainFigures figures;
  figures.data = start->data;
  figures.start_rss = rss_bytes();
  auto trainer = create_trainer(command, *start);
  if (!trainer.ok()) return fail(trainer.status());
  warn_of_threads(trainer->threads());
  figures.memory = trainer->memory();
  // Of the budget, only its consequence for the numbers is recorded.
  settings->emplace_back("--memory-budget", std::to_string(figures.memory.micro_batch) + " images at once");
  if (!checkpoint->settings.empty()) {
    const Status resumed = resume(command, *settings, steps_per_epoch, *trainer, *checkpoint);
    if (!resumed.ok()) return fail(resumed);
  }
  checkpoint->settings = std::move(*settings);
  checkpoint->has_step_losses = command.log_steps;
  if (!command.log_steps) checkpoint->step_losses.clear();

  begin_report(command, *start, figures.memory, trainer->threads(), *checkpoint, steps_per_epoch, report);
  const Status opened = report.open(*checkpoint);
  if (!opened.ok()) return fail(opened);

  TrainLoop loop(command, *trainer, *start->train, start->test.get(), *checkpoint, report);
  const Status trained = loop.run();
  if (!trained.ok()) {
    report.end();
    const int code = fail(trained);
    return loop.was_interrupted() ? interrupt_exit_code() : code;
  }
  Result<Graph> result = trainer->graph();
  if (!result.ok()) {
    report.end();
    return fail(result.status());
  }
  { const Trainer gone = std::move(*trainer); }  // frees its arena, which is larger than what writing needs
  const Status written = write_result(command, std::move(*result), figures.memory.micro_batch, *start);
  if (!written.ok()) return fail(written);
  locks->clear();  // all is written; only the report is left
  report.print(*checkpoint, figures);
  return kDone;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("train", "Train a network from scratch, or fine-tune one");
  auto options = std::make_shared<TrainCommand>();
  options->add_to(*command);
  command->footer(kTrainExamples);
  command->callback([&action, options] { action = [options] { return train(*options); }; });
}

}  // namespace sparsenet::cli
