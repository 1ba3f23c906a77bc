// sparsenet quantize: an int8 network from a float32 one and some of its training images.
#include <sparsenet/quantize.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <utility>

#include "cli/arguments.h"
#include "cli/broken_images.h"
#include "cli/classifier.h"
#include "cli/data_report.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "data/dataset.h"

namespace sparsenet::cli {
namespace {

struct QuantizeArguments {
  ModelArgument model;
  std::string data, output, method = "mse", report;
  std::vector<std::string> keep_float;
  int64_t samples = 512;
  double max_error_increase = -1;  // below 0: no limit
  int threads = 0;
  bool json = false;
};

constexpr int64_t kHeldOut = 2000, kDamageImages = 16;

constexpr const char* kQuantizeExamples =
    R"(DATA is as for `sparsenet eval`, with #train as the default split: the ranges of all values are measured on images
spread evenly over it, and images that the result is judged by should not be among them. NAME is that of a node
(`sparsenet profile` lists them), in which * stands for any characters.

--report and --max-error-increase measure what quantising each layer alone does to the output, and the error before and
after on up to 2,000 other images of DATA. With --max-error-increase the layers that do most stay float32, until the
error is at most X percentage points above that of float32.

Examples:
  sparsenet quantize net.snet --data cifar10:data/cifar10 -o net-int8.snet
  sparsenet quantize net.snet --data folder:photos --samples 200 --method minmax -o net-int8.snet
  sparsenet quantize net.snet --data cifar10:data/cifar10 --max-error-increase 0.2 --report layers.json -o net-int8.snet
  sparsenet quantize net.snet --data cifar10:data/cifar10 --keep-float 'fc*' -o net-int8.snet)";

// Inputs of a network, and the classes of their images.
struct Samples {
  std::vector<float> pixels;
  std::vector<int64_t> labels;
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

// The images at these positions.
Result<Samples> read_samples(const io::Dataset& data, const io::Preprocess& preprocess,
                             const std::vector<int64_t>& positions) {
  Samples samples;
  samples.pixels.resize(preprocess.elements() * positions.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(data.input(positions[i], preprocess, samples.pixels.data() + preprocess.elements() * i));
    samples.labels.push_back(data.label(positions[i]));
  }
  return samples;
}

// Positions spread evenly over a data set: first those to calibrate on, then up to kHeldOut others.
std::pair<std::vector<int64_t>, std::vector<int64_t>> choose_images(int64_t size, int64_t samples) {
  std::vector<int64_t> calibration, rest, held_out;
  const int64_t count = std::min(samples, size);
  for (int64_t i = 0; i < count; ++i) calibration.push_back(i * size / count);
  for (int64_t i = 0, next = 0; i < size; ++i) {
    if (next < count && calibration[static_cast<size_t>(next)] == i) {
      ++next;
    } else {
      rest.push_back(i);
    }
  }
  const auto others = static_cast<int64_t>(rest.size()), held = std::min(kHeldOut, others);
  for (int64_t i = 0; i < held; ++i) held_out.push_back(rest[static_cast<size_t>(i * others / held)]);
  return {calibration, held_out};
}

// Percent of the images that a network gets wrong.
Result<double> error_percent(const Graph& graph, const Samples& samples, int threads) {
  SessionOptions options;
  options.threads = threads;
  SPARSENET_ASSIGN_OR_RETURN(Session session, Session::create(graph, options));
  const auto elements = static_cast<size_t>(element_count(session.inputs()[0].shape));
  std::vector<float> scores(static_cast<size_t>(element_count(session.outputs()[0].shape)));
  int64_t wrong = 0;
  for (size_t i = 0; i < samples.labels.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(session.set_input(0, samples.pixels.data() + i * elements, elements));
    SPARSENET_RETURN_IF_ERROR(session.run());
    SPARSENET_RETURN_IF_ERROR(session.get_output(0, scores.data(), scores.size()));
    wrong += std::max_element(scores.begin(), scores.end()) - scores.begin() != samples.labels[i];
  }
  return 100. * static_cast<double>(wrong) / static_cast<double>(samples.count());
}

struct Outcome {
  Model model;
  QuantizeReport report;
  std::vector<LayerDamage> layers;  // if they were asked for
  int64_t held_out = 0;
  double error_before = 0, error_after = 0;  // percent
};

// Keeps the layers that do most in float32, twice as many each time, until the error is within the limit.
Status keep_within(const Quantizer& quantizer, const Samples& held_out, const QuantizeArguments& options,
                   Outcome* outcome) {
  std::vector<std::string> kept;
  const double limit = outcome->error_before + options.max_error_increase;
  while (options.max_error_increase >= 0 && outcome->error_after > limit) {
    if (kept.size() >= outcome->layers.size()) {
      return invalid_argument("--max-error-increase " + fixed(options.max_error_increase, 2) + ": even with all " +
                              std::to_string(kept.size()) + " layers in float32 the error is " +
                              fixed(outcome->error_after, 2) + " %, above " + fixed(limit, 2) + " %");
    }
    const size_t wanted = std::min(std::max<size_t>(1, 2 * kept.size()), outcome->layers.size());
    while (kept.size() < wanted) kept.push_back(outcome->layers[kept.size()].node);
    outcome->report = {};
    auto made = quantizer.make(kept, &outcome->report);
    if (!made.ok()) return made.status();
    outcome->model = std::move(*made);
    SPARSENET_ASSIGN_OR_RETURN(outcome->error_after, error_percent(outcome->model.graph, held_out, options.threads));
  }
  return {};
}

Result<Outcome> quantize_model(const LoadedModel& loaded, const io::Dataset& data, const io::Preprocess& preprocess,
                               const QuantizeArguments& options, RangeMethod method) {
  const auto [calibration, held] = choose_images(data.size(), options.samples);
  SPARSENET_ASSIGN_OR_RETURN(const Samples samples, read_samples(data, preprocess, calibration));
  QuantizeOptions quantize_options;
  quantize_options.method = method;
  quantize_options.keep_float = options.keep_float;
  quantize_options.threads = options.threads;
  Progress progress("calibrating", "images", method == RangeMethod::kMinMax ? samples.count() : 2 * samples.count());
  quantize_options.progress = [&](int64_t done, int64_t) { progress.update(done, ""); };
  SPARSENET_ASSIGN_OR_RETURN(const Quantizer quantizer, Quantizer::calibrate(loaded.model, samples.pixels.data(),
                                                                             samples.count(), quantize_options));
  Outcome outcome;
  SPARSENET_ASSIGN_OR_RETURN(outcome.model, quantizer.make({}, &outcome.report));
  if (options.report.empty() && options.max_error_increase < 0) return outcome;
  if (held.empty()) {
    return invalid_argument(options.data + ": expected more than the " + std::to_string(samples.count()) +
                            " images that the ranges are measured on; a smaller --samples leaves some");
  }
  SPARSENET_ASSIGN_OR_RETURN(const Samples others, read_samples(data, preprocess, held));
  outcome.held_out = others.count();
  std::unique_ptr<Progress> layers;
  SPARSENET_ASSIGN_OR_RETURN(
      outcome.layers,
      quantizer.damage(others.pixels.data(), std::min(kDamageImages, others.count()), [&](int64_t done, int64_t all) {
        if (!layers) layers = std::make_unique<Progress>("measuring", "layers", all);
        layers->update(done, "");
      }));
  SPARSENET_ASSIGN_OR_RETURN(outcome.error_before, error_percent(loaded.model.graph, others, options.threads));
  SPARSENET_ASSIGN_OR_RETURN(outcome.error_after, error_percent(outcome.model.graph, others, options.threads));
  SPARSENET_RETURN_IF_ERROR(keep_within(quantizer, others, options, &outcome));
  return outcome;
}

Json to_json(const QuantizeArguments& options, const LoadedModel& loaded, size_t bytes, const Outcome& outcome) {
  Json kept = Json::array();
  for (const std::string& text : outcome.report.kept_float) kept.push_back(text);
  Json document = {{"output", options.output},
                   {"method", options.method},
                   {"samples", options.samples},
                   {"bytes", bytes},
                   {"float_bytes", loaded.file_bytes},
                   {"integer_nodes", outcome.report.integer_nodes},
                   {"float_nodes", outcome.report.float_nodes},
                   {"kept_float", kept}};
  if (outcome.held_out == 0) return document;
  Json layers = Json::array();
  for (const LayerDamage& layer : outcome.layers) {
    layers.push_back({{"node", layer.node}, {"bytes_saved", layer.bytes_saved}, {"damage", layer.error}});
  }
  document["held_out"] = outcome.held_out;
  document["error_percent_float"] = outcome.error_before;
  document["error_percent"] = outcome.error_after;
  document["layers"] = layers;
  return document;
}

void print_text(const QuantizeArguments& options, const LoadedModel& loaded, size_t bytes, const Outcome& outcome) {
  std::printf("%s: %s bytes (%s in float32), ranges by %s from %lld images\n", options.output.c_str(),
              grouped(static_cast<int64_t>(bytes)).c_str(), grouped(static_cast<int64_t>(loaded.file_bytes)).c_str(),
              options.method.c_str(), static_cast<long long>(options.samples));
  std::printf("  int8 nodes   %lld\n  float nodes  %lld\n", static_cast<long long>(outcome.report.integer_nodes),
              static_cast<long long>(outcome.report.float_nodes));
  for (const std::string& text : outcome.report.kept_float) std::printf("    %s\n", text.c_str());
  if (outcome.held_out == 0) return;
  std::printf("  error        %s %% (%s %% in float32), on %s images\n\n", fixed(outcome.error_after, 2).c_str(),
              fixed(outcome.error_before, 2).c_str(), grouped(outcome.held_out).c_str());
  constexpr size_t kMostRows = 12;
  Table table({"layer", "bytes saved", "damage"});
  for (size_t i = 0; i < std::min(kMostRows, outcome.layers.size()); ++i) {
    const LayerDamage& layer = outcome.layers[i];
    table.add({layer.node, grouped(layer.bytes_saved), fixed(100 * layer.error, 2) + " %"});
  }
  table.print();
  if (outcome.layers.size() > kMostRows) std::printf("... and %zu more\n", outcome.layers.size() - kMostRows);
}

int quantize_file(const QuantizeArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  auto spec = io::parse_data_spec(options.data, "train");
  if (!spec.ok()) return usage_error(spec.status().message());
  auto method = parse_range_method(options.method);
  if (!method.ok()) return usage_error("--" + method.status().message());
  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  auto data = io::open_dataset(*spec);
  if (!data.ok()) return fail(data.status());
  const Graph& graph = loaded->model.graph;
  if (graph.inputs.size() != 1) return fail(invalid_model(*path + ": expected a network with one input"));
  auto preprocess = io::Preprocess::create(graph.shape(graph.inputs[0]), loaded->model.metadata);
  if (!preprocess.ok()) return fail(preprocess.status().with_context(*path));
  if ((*data)->holds_images()) print_note(normalisation_note(*path, loaded->model.metadata));
  QuantizeArguments used = options;
  used.samples = std::min(options.samples, (*data)->size());
  auto outcome = quantize_model(*loaded, **data, *preprocess, used, *method);
  if (!outcome.ok()) return fail(outcome.status().with_context(*path));
  Metadata& metadata = outcome->model.metadata;
  metadata.provenance += (metadata.provenance.empty() ? "" : "; ") + ("quantised to int8, ranges by " + options.method);
  auto bytes = serialize_model(outcome->model);
  if (!bytes.ok()) return fail(bytes.status().with_context(options.output));
  const Json document = to_json(used, *loaded, bytes->size(), *outcome);
  if (!options.report.empty()) {
    const std::string text = to_text(document) + "\n";
    const Status reported = write_file_atomically(options.report, text.data(), text.size());
    if (!reported.ok()) return fail(reported);
  }
  const Status saved = write_file_atomically(options.output, bytes->data(), bytes->size());
  if (!saved.ok()) return fail(saved);
  options.json ? print_json(document) : print_text(used, *loaded, bytes->size(), *outcome);
  return kDone;
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("quantize", "Make an int8 network from a float32 one");
  auto options = std::make_shared<QuantizeArguments>();
  options->model.add_to(*command);
  command->add_option("-d,--data", options->data, "images to measure the ranges on, see below")->required();
  command->add_option("-o,--output", options->output, "the .snet file to write")->required();
  command->add_option("--method", options->method, "how ranges are chosen: minmax, percentile, kl or mse")
      ->default_str("mse");
  command->add_option("--samples", options->samples, "images to measure on")
      ->check(in_range(1, 1 << 20))
      ->default_str("512");
  command->add_option("--keep-float", options->keep_float, "NAME of nodes that stay float32; repeatable")
      ->allow_extra_args(false);
  command
      ->add_option("--max-error-increase", options->max_error_increase,
                   "most percentage points of error above float32's")
      ->check(CLI::Range(0., 100.));
  command->add_option("--report", options->report, "also write what each layer does into this .json file");
  command->add_option("-t,--threads", options->threads, "CPU threads; 0: as many as this process may use")
      ->check(in_range(0, 1024));
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kQuantizeExamples);
  command->callback([&action, options] { action = [options] { return quantize_file(*options); }; });
}

}  // namespace sparsenet::cli
