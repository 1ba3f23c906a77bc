// sparsenet classify: images in, labels and probabilities out.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>

#include "cli/arguments.h"
#include "cli/classifier.h"
#include "cli/output.h"
#include "cli/statistics.h"
#include "data/file.h"
#include "data/image.h"

namespace sparsenet::cli {
namespace {

struct ClassifyArguments {
  ModelArgument model;
  BackendOptions backend;
  std::vector<std::string> images, flag_images;
  std::string labels;
  int top = 5;
  bool json = false;
};

constexpr const char* kClassifyExamples =
    R"(Images are PNG or JPEG of any size; size, colour order, mean and std come from the model file. One untimed run
precedes the first image, so that latencies are those of a warm network.

Examples:
  sparsenet classify net.snet cat.png
  sparsenet classify net.snet --top 1 --json photos/*.jpg
  sparsenet classify -m net.snet -i cat.png -l labels.txt -t 1)";

struct Prediction {
  size_t index;
  double probability;
};

struct Answer {
  std::vector<Prediction> predictions;
  double latency_ms = 0;
};

Result<Answer> classify_image(Classifier& classifier, const io::Image& image, size_t top) {
  std::vector<float> pixels(classifier.preprocess().elements()), scores;
  classifier.preprocess().apply(image, pixels.data());
  Answer answer;
  const Stopwatch watch;
  SPARSENET_RETURN_IF_ERROR(classifier.run(pixels, scores));
  answer.latency_ms = watch.milliseconds();

  std::vector<double> probabilities(scores.begin(), scores.end());
  if (!classifier.ends_in_softmax()) {
    SPARSENET_ASSIGN_OR_RETURN(probabilities, softmax(scores.data(), scores.size()));
  }
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  top = std::min(top, order.size());
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  for (size_t i = 0; i < top; ++i) answer.predictions.push_back({order[i], probabilities[order[i]]});
  return answer;
}

std::string label_of(const std::vector<std::string>& labels, size_t index) {
  return index < labels.size() ? labels[index] : "class " + std::to_string(index);
}

Json answer_json(const std::string& path, const Answer& answer, const std::vector<std::string>& labels) {
  Json predictions = Json::array();
  for (const Prediction& p : answer.predictions) {
    predictions.push_back({{"label", label_of(labels, p.index)}, {"index", p.index}, {"probability", p.probability}});
  }
  return {{"image", path}, {"predictions", predictions}, {"latency_ms", answer.latency_ms}};
}

void print_answer(const std::string& path, const Answer& answer, const std::vector<std::string>& labels) {
  std::printf("%s (%s ms)\n", path.c_str(), fixed(answer.latency_ms, 2).c_str());
  for (const Prediction& p : answer.predictions) {
    std::printf("%s: %zu %s\n", fixed(p.probability, 6).c_str(), p.index, label_of(labels, p.index).c_str());
  }
}

int classify(const ClassifyArguments& options) {
  std::string first_image;
  auto path = options.model.resolve(&first_image);
  if (!path.ok()) return usage_error(path.status().message());
  std::vector<std::string> images = options.flag_images;
  if (!first_image.empty()) images.push_back(first_image);
  images.insert(images.end(), options.images.begin(), options.images.end());
  if (images.empty()) return usage_error("IMAGE is missing: expected at least one PNG or JPEG file");
  auto session_options = options.backend.resolve(1);
  if (!session_options.ok()) return usage_error(session_options.status().message());

  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  auto classifier = Classifier::create(*loaded, *session_options);
  if (!classifier.ok()) return fail(classifier.status());
  std::vector<std::string> labels = loaded->model.metadata.labels;
  if (!options.labels.empty()) {
    auto lines = io::read_lines(options.labels);
    if (!lines.ok()) return fail(lines.status());
    if (lines->size() != static_cast<size_t>(classifier->classes())) {
      return fail(invalid_argument(options.labels + ": expected " + std::to_string(classifier->classes()) +
                                   " labels, one per line, found " + std::to_string(lines->size())));
    }
    labels = std::move(*lines);
  }
  print_note(normalisation_note(*path, loaded->model.metadata));

  // One bad image does not keep the others from their answers.
  Json document = Json::array();
  bool warm = false, failed = false;
  for (const std::string& image_path : images) {
    auto image = io::load_image(image_path);
    Status status = image.status();
    if (status.ok() && !warm) {
      status = classify_image(*classifier, *image, 1).status();
      warm = true;
    }
    if (status.ok()) {
      auto answer = classify_image(*classifier, *image, static_cast<size_t>(options.top));
      status = answer.status();
      if (answer.ok() && options.json) document.push_back(answer_json(image_path, *answer, labels));
      if (answer.ok() && !options.json) print_answer(image_path, *answer, labels);
      if (!status.ok()) status = status.with_context(image_path);
    }
    if (!status.ok()) {
      fail(status);
      failed = true;
      document.push_back({{"image", image_path},
                          {"predictions", Json::array()},
                          {"latency_ms", nullptr},
                          {"error", status.message()}});
    }
  }
  if (options.json) print_json(document);
  return failed ? kFailed : kDone;
}

}  // namespace

void add_classify(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("classify", "Name what PNG and JPEG images show");
  auto options = std::make_shared<ClassifyArguments>();
  options->model.add_to(*command);
  command->add_option("IMAGE", options->images, "PNG or JPEG files");
  command->add_option("-i,--image", options->flag_images, "an image, instead of IMAGE; repeatable")
      ->allow_extra_args(false);
  command->add_option("-l,--labels", options->labels, "class names, one per line, instead of the model file's");
  command->add_option("-r,--top,--num_results", options->top, "how many classes to print")
      ->check(in_range(1, 1 << 20))
      ->default_str("5");
  options->backend.add_to(*command);
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kClassifyExamples);
  command->callback([&action, options] { action = [options] { return classify(*options); }; });
}

}  // namespace sparsenet::cli
