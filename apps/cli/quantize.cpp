// sparsenet quantize: an int8 network from a float32 one and some of its training images.
#include <sparsenet/quantize.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>

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
  std::string data, output, method = "mse";
  std::vector<std::string> keep_float;
  int64_t samples = 512;
  int threads = 0;
  bool json = false;
};

constexpr const char* kQuantizeExamples =
    R"(DATA is as for `sparsenet eval`, with #train as the default split: the ranges of all values are measured on images
spread evenly over it, and images that the result is judged by should not be among them. NAME is that of a node
(`sparsenet profile` lists them), in which * stands for any characters.

Examples:
  sparsenet quantize net.snet --data cifar10:data/cifar10 -o net-int8.snet
  sparsenet quantize net.snet --data folder:photos --samples 200 --method minmax -o net-int8.snet
  sparsenet quantize net.snet --data cifar10:data/cifar10 --keep-float 'fc*' -o net-int8.snet)";

// The network's inputs for `samples` images, spread evenly over the data set.
Result<std::vector<float>> read_samples(const io::Dataset& data, const io::Preprocess& preprocess, int64_t samples) {
  const int64_t count = std::min(samples, data.size());
  std::vector<float> pixels(preprocess.elements() * static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    float* to = pixels.data() + preprocess.elements() * static_cast<size_t>(i);
    SPARSENET_RETURN_IF_ERROR(data.input(i * data.size() / count, preprocess, to));
  }
  return pixels;
}

void print_result(const QuantizeArguments& options, const LoadedModel& loaded, size_t bytes, int64_t samples,
                  const QuantizeReport& report) {
  if (options.json) {
    Json kept = Json::array();
    for (const std::string& text : report.kept_float) kept.push_back(text);
    print_json({{"output", options.output},
                {"method", options.method},
                {"samples", samples},
                {"bytes", bytes},
                {"float_bytes", loaded.file_bytes},
                {"integer_nodes", report.integer_nodes},
                {"float_nodes", report.float_nodes},
                {"kept_float", kept}});
    return;
  }
  std::printf("%s: %s bytes (%s in float32), ranges by %s from %lld images\n", options.output.c_str(),
              grouped(static_cast<int64_t>(bytes)).c_str(), grouped(static_cast<int64_t>(loaded.file_bytes)).c_str(),
              options.method.c_str(), static_cast<long long>(samples));
  std::printf("  int8 nodes   %lld\n  float nodes  %lld\n", static_cast<long long>(report.integer_nodes),
              static_cast<long long>(report.float_nodes));
  for (const std::string& text : report.kept_float) std::printf("    %s\n", text.c_str());
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
  auto pixels = read_samples(**data, *preprocess, options.samples);
  if (!pixels.ok()) return fail(pixels.status());
  const auto samples = static_cast<int64_t>(pixels->size() / preprocess->elements());

  QuantizeOptions quantize_options;
  quantize_options.method = *method;
  quantize_options.keep_float = options.keep_float;
  quantize_options.threads = options.threads;
  QuantizeReport report;
  Result<Model> result = [&] {
    Progress progress("calibrating", "images", *method == RangeMethod::kMinMax ? samples : 2 * samples);
    quantize_options.progress = [&](int64_t done, int64_t) { progress.update(done, ""); };
    return quantize(loaded->model, pixels->data(), samples, quantize_options, &report);
  }();
  if (!result.ok()) return fail(result.status().with_context(*path));
  Metadata& metadata = result->metadata;
  metadata.provenance += (metadata.provenance.empty() ? "" : "; ") + ("quantised to int8, ranges by " + options.method);
  auto bytes = serialize_model(*result);
  if (!bytes.ok()) return fail(bytes.status().with_context(options.output));
  const Status saved = write_file_atomically(options.output, bytes->data(), bytes->size());
  if (!saved.ok()) return fail(saved);
  print_result(options, *loaded, bytes->size(), samples, report);
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
  command->add_option("-t,--threads", options->threads, "CPU threads; 0: as many as this process may use")
      ->check(in_range(0, 1024));
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kQuantizeExamples);
  command->callback([&action, options] { action = [options] { return quantize_file(*options); }; });
}

}  // namespace sparsenet::cli
