// sparsenet eval: how many images of a labelled data set a network gets right.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>

#include "cli/arguments.h"
#include "cli/broken_images.h"
#include "cli/class_match.h"
#include "cli/classifier.h"
#include "cli/data_report.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "data/dataset.h"

namespace sparsenet::cli {
namespace {

struct EvalArguments {
  ModelArgument model;
  BackendOptions backend;
  std::string data;
  int64_t limit = 0, batch = 32;
  bool skip_broken = false, json = false;
};

constexpr const char* kEvalExamples =
    R"(DATA is cifar10:DIR, cifar100:DIR, svhn:DIR, folder:DIR (one folder per class) or npy:IMAGES.npy,LABELS.npy
(float32 NCHW, used as it is, or the integers of an input of int8 or uint8); a suffix #train or #test selects the split,
#test being the default. Class folders are matched to the model's labels by name if all names fit, else in alphabetical
order, which is reported.

Examples:
  sparsenet eval net.snet --data cifar10:data/cifar10
  sparsenet eval net.snet --data cifar10:data/cifar10#train --limit 1000 --json
  sparsenet eval net.snet --data folder:photos --batch 1)";

struct Counts {
  int64_t images = 0, correct = 0, in_top5 = 0, not_finite = 0;
  double run_seconds = 0, seconds = 0;
};

// How many classes rank before the true one; equal scores rank by index, as in argmax. -1: a score is not finite.
int64_t rank_of(const float* scores, int64_t classes, int64_t label) {
  int64_t rank = 0;
  for (int64_t c = 0; c < classes; ++c) {
    if (!std::isfinite(scores[c])) return -1;
    if (scores[c] > scores[label] || (scores[c] == scores[label] && c < label)) ++rank;
  }
  return rank;
}

// The network's class index for every image. Names decide if they can.
Result<std::vector<int64_t>> network_labels(const io::Dataset& data, const std::string& data_name, int64_t count,
                                            int64_t classes, const std::vector<std::string>& labels) {
  const ClassMatch match = match_classes(data, labels, classes, "the model's");
  if (!match.conflict.empty() && !data.class_names().empty()) {
    print_note(data_name + ": " + match.conflict + "; they count in their order, so right answers may count as wrong");
  }
  std::vector<int64_t> result(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = match.index_of(data.label(i));
    if (label < 0 || label >= classes) {
      return invalid_argument(data_name + ": image " + std::to_string(i) + ": expected a label below " +
                              std::to_string(classes) + ", the network's classes, found " + std::to_string(label));
    }
    result[static_cast<size_t>(i)] = label;
  }
  return result;
}

// Images that cannot be read are skipped and noted in `broken`.
Result<Counts> evaluate(Classifier& classifier, const io::Dataset& data, const std::vector<int64_t>& labels,
                        BrokenImages& broken) {
  const auto total = static_cast<int64_t>(labels.size());
  const size_t elements = classifier.preprocess().elements();
  std::vector<float> pixels(elements * static_cast<size_t>(classifier.batch()), 0.0f), scores;
  std::vector<int64_t> of_batch;  // the right answers
  Counts counts;
  Progress progress("evaluating", "images", total);
  const Stopwatch watch;
  for (int64_t next = 0; next < total;) {
    // The last batch may be incomplete: the rest of it keeps old pixels, whose scores are ignored.
    of_batch.clear();
    for (; next < total && static_cast<int64_t>(of_batch.size()) < classifier.batch(); ++next) {
      const Status read = data.input(next, classifier.preprocess(), pixels.data() + of_batch.size() * elements);
      if (read.ok()) {
        of_batch.push_back(labels[static_cast<size_t>(next)]);
      } else if (!broken.take(data, next, read)) {
        return read;
      }
    }
    if (of_batch.empty()) break;
    const auto now = static_cast<int64_t>(of_batch.size());
    const Stopwatch run_watch;
    SPARSENET_RETURN_IF_ERROR(classifier.run(pixels, scores));
    counts.run_seconds += run_watch.seconds();
    for (int64_t i = 0; i < now; ++i) {
      const float* row = scores.data() + i * classifier.classes();
      const int64_t rank = rank_of(row, classifier.classes(), of_batch[static_cast<size_t>(i)]);
      counts.correct += rank == 0;
      counts.in_top5 += rank >= 0 && rank < 5;
      counts.not_finite += rank < 0;
    }
    counts.images += now;
    const double accuracy = 100.0 * static_cast<double>(counts.correct) / static_cast<double>(counts.images);
    progress.update(next, fixed(accuracy, 2) + " % right");
  }
  counts.seconds = watch.seconds();
  return counts;
}

void print_result(const EvalArguments& options, const Counts& counts, const DataReport& report) {
  const auto images = static_cast<double>(counts.images);
  const double top1 = static_cast<double>(counts.correct) / images, top5 = static_cast<double>(counts.in_top5) / images;
  const double rate = images / std::max(counts.seconds, 1e-9);
  if (options.json) {
    print_json({{"images", counts.images},
                {"correct", counts.correct},
                {"top1", top1},
                {"top5", top5},
                {"error_percent", 100 * (1 - top1)},
                {"images_per_second", rate},
                {"data", report.json()}});
    return;
  }
  for (const std::string& line : report.lines("data               ")) std::printf("%s\n", line.c_str());
  std::printf("images             %s\n", grouped(counts.images).c_str());
  std::printf("correct            %s\n", grouped(counts.correct).c_str());
  std::printf("top-1              %s %%\n", fixed(100 * top1, 2).c_str());
  std::printf("top-5              %s %%\n", fixed(100 * top5, 2).c_str());
  std::printf("error              %s %%\n", fixed(100 * (1 - top1), 2).c_str());
  std::printf("images per second  %s (the network alone: %s)\n", fixed(rate, 1).c_str(),
              fixed(images / std::max(counts.run_seconds, 1e-9), 1).c_str());
}

// Folders are read class by class, so the first images belong to the first classes only.
void note_limit(const io::Dataset& data, int64_t count) {
  if (count == data.size() || data.source(0).empty()) return;
  std::vector<bool> seen(data.class_names().size());
  for (int64_t i = 0; i < count; ++i) seen[static_cast<size_t>(data.label(i))] = true;
  const auto classes = std::count(seen.begin(), seen.end(), true);
  if (classes == static_cast<int64_t>(seen.size())) return;
  print_note("--limit: the first " + std::to_string(count) + " images are of " + std::to_string(classes) + " of the " +
             std::to_string(seen.size()) + " classes");
}

int eval(const EvalArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  auto spec = io::parse_data_spec(options.data, "test");
  if (!spec.ok()) return usage_error(spec.status().message());
  auto session_options = options.backend.resolve(options.batch);
  if (!session_options.ok()) return usage_error(session_options.status().message());

  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  auto data = io::open_dataset(*spec);
  if (!data.ok()) return fail(data.status());
  int64_t count = (*data)->size();
  if (options.limit > 0) count = std::min(count, options.limit);
  session_options->batch = std::min(options.batch, count);
  auto classifier = Classifier::create(*loaded, *session_options);
  if (!classifier.ok()) return fail(classifier.status());
  auto labels = network_labels(**data, options.data, count, classifier->classes(), loaded->model.metadata.labels);
  if (!labels.ok()) return fail(labels.status());

  if ((*data)->holds_images()) print_note(normalisation_note(*path, loaded->model.metadata));
  note_limit(**data, count);
  BrokenImages broken;
  auto counts = evaluate(*classifier, **data, *labels, broken);
  if (!counts.ok()) return fail(counts.status());
  Status readable = broken.check(**data, options.data, options.skip_broken);
  if (readable.ok() && counts->images == 0) readable = invalid_argument(options.data + ": " + broken.text(count));
  if (!readable.ok()) return fail(readable);
  DataReport report(**data, options.data);
  report.skipped(broken);
  if (counts->not_finite > 0) {
    std::fprintf(stderr, "warning: the network's output is not finite for %lld images; they count as wrong\n",
                 static_cast<long long>(counts->not_finite));
  }
  print_result(options, *counts, report);
  return kDone;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "Measure a network's accuracy on a labelled data set");
  auto options = std::make_shared<EvalArguments>();
  options->model.add_to(*command);
  command->add_option("-d,--data", options->data, "the data set, see below")->required();
  command->add_option("--limit", options->limit, "only the first N images; 0: all")
      ->check(in_range(0, std::numeric_limits<int64_t>::max()));
  command->add_option("--batch", options->batch, "images per run")->check(in_range(1, 1 << 16))->default_str("32");
  command->add_flag("--skip-broken", options->skip_broken, "leave out images that cannot be read");
  options->backend.add_to(*command);
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kEvalExamples);
  command->callback([&action, options] { action = [options] { return eval(*options); }; });
}

}  // namespace sparsenet::cli
