#include "converter/command_line.h"

#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "converter/convert.h"
#include "converter/weights/name_rules.h"

namespace sparsenet::converter {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;

constexpr const char* kExamples = R"(
Examples:
  sparsenet-convert net.onnx -o net.snet
  sparsenet-convert pretrainedResnet.tflite -o resnet8.snet --labels cifar10.txt
  sparsenet-convert resnet20.th -o resnet20.snet --arch resnet20 --normalize imagenet
  sparsenet-convert net.onnx -o net.snet --check images.npy,logits.npy
  sparsenet-convert trained.snet -o device.snet --plan portable-f32
  sparsenet-convert trained.snet -o device.snet --c-array generated --select-ops generated
  sparsenet-convert weights.npz -o net.snet --arch sparsenet-abc-v0 --map 'conv_stem\.(.*)=stem.$1' --report report.json -v
)";

// Checks the values of --arch and --map as far as possible without the file, and reads that of --precision.
Status check_values(const std::string& precision, Options* given) {
  Options& options = *given;
  if (!options.architecture.empty()) {
    const auto arch = parse_architecture(options.architecture);
    if (!arch.ok()) return arch.status().with_context("--arch");
  }
  if (!options.rules.empty()) {
    const auto rules = NameRules::load(options.rules);
    // A missing file of rules is not a usage error; the conversion will report it.
    if (rules.status().code() == StatusCode::kInvalidArgument) return rules.status().with_context("--map");
  }
  if (precision == "f32") options.precision = Precision::kFloat32;
  if (precision == "f16") options.precision = Precision::kFloat16;
  if (precision.empty() || precision == "f32" || precision == "f16") return {};
  if (precision == "bf16") return unsupported("--precision bf16 is not available in this version (f32 and f16 are)");
  return invalid_argument("--precision: expected f32 or f16, found '" + precision + "'");
}

// The name of an option whose value is empty, for example because a script's variable is empty; "" if there is none. A
// name and a licence may be empty.
std::string option_without_value(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->get_expected_max() == 0 || name == "--name" || name == "--license") continue;
    for (const std::string& value : option->results()) {
      if (value.empty()) return name;
    }
  }
  return "";
}

int usage_error(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return kUsage;
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

void print_summary(const Report& report, bool verbose) {
  for (const std::string& note : grouped_notes(report)) std::printf("note: %s\n", note.c_str());
  if (verbose) std::printf("tensors:\n%s", tensor_table(report).c_str());
  std::string operators;
  for (const auto& [op, count] : report.operators)
    operators += (operators.empty() ? "" : ", ") + std::to_string(count) + " " + op;
  std::printf("%s -> %s\n", report.input.c_str(), report.output.c_str());
  std::printf("  format      %s%s\n", report.format.c_str(),
              report.producer.empty() ? "" : (", written by " + report.producer).c_str());
  if (!report.architecture.empty()) std::printf("  network     %s\n", report.architecture.c_str());
  std::printf("  operators   %s\n", operators.c_str());
  std::printf("  parameters  %s\n", grouped(report.parameters).c_str());
  std::printf("  MACs        %s per image\n", grouped(report.macs).c_str());
  if (!report.mean.empty() || !report.std_dev.empty()) {
    std::printf("  images      (pixel - mean) / std, pixels of 0..255: mean %s, std %s\n",
                report.mean.empty() ? "0" : number_list(report.mean).c_str(),
                report.std_dev.empty() ? "1" : number_list(report.std_dev).c_str());
  }
  if (report.check.images > 0) {
    std::printf("  check       %zu images equal within %.1e of an output's largest value (tolerance %.1e)\n",
                report.check.images, report.check.largest_error, report.check.tolerance);
  }
  if (report.test_vectors > 0) {
    std::printf("  vectors     %zu, from %s\n", report.test_vectors, report.test_vectors_from.c_str());
  }
  for (const auto& plan : report.plans) {
    std::printf("  plan        %s, batch %lld%s\n", plan.target.c_str(), static_cast<long long>(plan.batch),
                plan.trains ? ", trains the last layer" : "");
  }
  std::printf("  file        %s bytes, in %.2f s\n", grouped(static_cast<int64_t>(report.file_bytes)).c_str(),
              report.seconds);
}

// Prints one line for each cause; the report file has every problem.
int report_failure(const Options& options, const Report& report, const std::string& report_file, bool verbose) {
  const size_t count = report.problems.size();
  const std::vector<ProblemGroup> groups = grouped_problems(report);
  if (verbose && !report.tensors.empty()) std::printf("tensors:\n%s", tensor_table(report).c_str());
  for (const std::string& note : grouped_notes(report)) std::fprintf(stderr, "note: %s\n", note.c_str());
  std::string found = std::to_string(count) + (count == 1 ? " problem" : " problems"), where;
  if (groups.size() < count) {
    found += groups.size() == 1 ? " of one cause" : " of " + std::to_string(groups.size()) + " causes";
    where = report_file.empty() ? " (--report FILE.json lists every problem)"
                                : " (" + report_file + " lists every problem)";
  }
  std::fprintf(stderr, "error: %s: %s, nothing was written%s\n", options.input.c_str(), found.c_str(), where.c_str());
  for (const ProblemGroup& group : groups) std::fprintf(stderr, "  %s\n", group.line.c_str());
  return report.wrong_usage ? kUsage : kFailed;
}

// What is given on the command line.
struct Arguments {
  Options options;
  std::vector<std::string> inputs;
  std::vector<std::string> input_shapes;
  std::string outputs;
  std::string from = "auto", mean, std_dev, report_file, precision;
  bool verbose = false;
};

void add_input_options(CLI::App& app, Arguments& given) {
  Options& options = given.options;
  app.add_option("INPUT", given.inputs, "File to convert")->required();
  app.add_option("-o,--output", options.output, "The .snet file to write")->required();
  app.add_option("--from", given.from,
                 "Format: auto, onnx, torch, safetensors, npz, keras, tflite, snet (default auto)");
  app.add_option("--arch", options.architecture,
                 "Network to put weights without a graph into, e.g. sparsenet-abc-v0, resnet20:shortcut=conv "
                 "(docs/architectures.md)");
  app.add_option("--map", options.rules,
                 "Name rules FROM=TO (regular expression = name with $1): a file, or inline separated by ';'");
  app.add_option("--outputs", given.outputs,
                 "NAME,...: the values of an ONNX graph that the network computes (default: the file's outputs)");
  app.add_option("--input-shape", given.input_shapes,
                 "NAME=1,3,48,192: the shape of an ONNX input whose sizes the file leaves open; repeatable")
      ->allow_extra_args(false);
  app.add_option("--labels", options.labels_file, "A file with the names of the classes, one per line");
  app.add_option("--mean", given.mean,
                 "a,b,c: per channel, for pixels of 0..1 or 0..255, which the values tell (default 0)");
  app.add_option("--std", given.std_dev, "a,b,c: likewise (default 1)");
  app.add_option("--pixel-scale", options.normalisation.pixel_scale,
                 "1 or 255: the largest pixel value that --mean and --std are for, if the values do not tell")
      ->check(CLI::IsMember({1, 255}));
  app.add_option("--normalize", options.normalisation.preset,
                 "Mean and std by name: imagenet, cifar10, 0..1, -1..1, or none (pixels of 0..255, unchanged)");
  app.add_option("--name", options.name, "Name of the model (default: the file's)");
  app.add_option("--license", options.license, "Licence of the weights, kept in the file");
}

void add_output_options(CLI::App& app, Arguments& given) {
  Options& options = given.options;
  app.add_option("--test-vectors", options.test_vectors,
                 "Store N random inputs with the reference kernels' outputs, for 'sparsenet verify'")
      ->check(CLI::Range(0, 1000));
  auto* check = app.add_option("--check", options.check,
                               "IN.npy,OUT.npy: inputs and outputs of the source framework; the network must give the "
                               "same, and they are stored for 'sparsenet verify'; repeatable");
  check->allow_extra_args(false);
  app.add_option("--tolerance", options.check_tolerance,
                 "Largest difference that --check allows, relative to an output's largest value (default 1e-4)")
      ->needs(check)
      ->check(CLI::Range(1e-9, 1.0));
  app.add_option(
      "--precision", given.precision,
      "Store weights, biases and BatchNorm's scales and shifts as f16 (half the size) or f32 (default: f32, or "
      "as a .snet file has them)");
  app.add_option("--max-memory", options.max_memory,
                 "Memory in bytes (or 500MB, 2GiB) that the conversion may take (default: 256 MiB + 8 x the file)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber);
  app.add_option("--report", given.report_file, "Write a JSON report of what happened to every tensor");
  app.add_option("--plan", options.plan,
                 "Store a plan made ahead of time for TARGET (portable-f32), so that devices need not make one");
  app.add_flag("--training-plan", options.training_plan,
               "Also store a plan for training the last layer on a device (sn_train_add)");
  app.add_option("--c-array", options.c_array, "Also write the model as C source into this folder, for firmware");
  app.add_option("--select-ops", options.select_ops,
                 "Also write the table of the kernels that the model uses into this folder, for firmware");
  app.add_flag("-v,--verbose", given.verbose, "List every tensor and where it went");
}

Status read_graph_options(const Arguments& given, GraphOptions* graph) {
  for (const std::string& text : given.input_shapes) {
    SPARSENET_ASSIGN_OR_RETURN(auto shape, parse_input_shape(text));
    graph->input_shapes.push_back(std::move(shape));
  }
  for (size_t at = 0; at < given.outputs.size() + 1 && !given.outputs.empty();) {
    const size_t end = std::min(given.outputs.find(',', at), given.outputs.size());
    if (end == at) {
      return invalid_argument("--outputs: expected NAME,..., found '" + given.outputs + "'");
    }
    graph->outputs.push_back(given.outputs.substr(at, end - at));
    at = end + 1;
  }
  return {};
}

// Reads the values that are more than a number or a name; a failure is wrong usage.
Status read_values(Arguments* given) {
  Options& options = given->options;
  const auto format = parse_format(given->from);
  if (!format.ok()) return format.status();
  options.format = *format;
  const std::vector<std::string>& targets = plan_targets();
  if (!options.plan.empty() && std::find(targets.begin(), targets.end(), options.plan) == targets.end()) {
    std::string known;
    for (const std::string& target : targets) known += (known.empty() ? "" : ", ") + target;
    return invalid_argument("--plan: expected one of: " + known + "; found '" + options.plan + "'");
  }
  if (!options.check.empty() && options.test_vectors > 0) {
    return invalid_argument(
        "--check stores the source framework's outputs, --test-vectors the reference kernels': give one");
  }
  if (given->inputs.size() != 1)
    return invalid_argument("expected one INPUT, found " + std::to_string(given->inputs.size()));
  options.input = given->inputs[0];
  SPARSENET_RETURN_IF_ERROR(read_graph_options(*given, &options.graph));
  if (!given->mean.empty() && !parse_number_list(given->mean, &options.normalisation.mean))
    return invalid_argument("--mean: expected numbers a,b,c, found '" + given->mean + "'");
  if (!given->std_dev.empty() && !parse_number_list(given->std_dev, &options.normalisation.std_dev))
    return invalid_argument("--std: expected numbers a,b,c, found '" + given->std_dev + "'");
  return check_normalisation(options.normalisation);
}

}  // namespace

int command_line(int argc, char** argv) {
  CLI::App app{
      "Converts networks trained elsewhere (ONNX, TensorFlow Lite, PyTorch, safetensors, NumPy) to .snet files."};
  app.footer(kExamples);
  app.option_defaults()->always_capture_default(false);
  Arguments given;
  Options& options = given.options;
  add_input_options(app, given);
  add_output_options(app, given);
  try {  // CLI11 reports errors by exceptions, which are caught here
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return usage_error(std::string(error.what()) + " (see --help)");
  }
  const std::string empty = option_without_value(app);
  if (!empty.empty()) return usage_error(empty + ": expected a value, found an empty one");
  const Status values = read_values(&given);
  if (!values.ok()) return usage_error(values.message());
  const Status readable = check_values(given.precision, &options);
  if (readable.code() == StatusCode::kUnsupported) {
    std::fprintf(stderr, "error: %s\n", readable.message().c_str());
    return kFailed;
  }
  if (!readable.ok()) return usage_error(readable.message());

  Report report;
  const Status status = convert(options, &report);
  if (!given.report_file.empty()) {
    const std::string json = to_json(report);
    const Status written = write_file_atomically(given.report_file, json.data(), json.size());
    if (!written.ok()) {
      std::fprintf(stderr, "error: --report: %s\n", written.message().c_str());
      return kFailed;
    }
  }
  for (const std::string& warning : report.warnings) std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (!status.ok()) return report_failure(options, report, given.report_file, given.verbose);
  print_summary(report, given.verbose);
  return kDone;
}

}  // namespace sparsenet::converter
