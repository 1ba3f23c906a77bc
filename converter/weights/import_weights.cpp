#include "converter/weights/import_weights.h"

#include <sparsenet/architecture.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "converter/weights/matching.h"
#include "converter/weights/readers.h"
#include "converter/weights/recognise.h"

namespace sparsenet::converter {
namespace {

Result<SourceTensors> read_weights(Format format, const FileBytes& bytes) {
  switch (format) {
    case Format::kSafetensors:
      return read_safetensors(bytes);
    case Format::kNpz:
      return read_npz(bytes);
    case Format::kKeras:
      return read_keras(bytes);
    default:
      return read_torch(bytes);
  }
}

std::string number_text(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", number);
  return text;
}

// What goes wrong silently with Keras: another epsilon than PyTorch's, and layers in another order than one thinks.
void check_keras(const std::vector<double>& epsilons, const Architecture& arch, const std::string& arch_text,
                 Report* report) {
  const auto epsilon = static_cast<double>(arch.bn_epsilon);
  const std::string ours = number_text(epsilon);
  constexpr double kRounding = 1e-6;  // of a float, relative
  if (epsilons.size() > 1) {
    report->problem("", "batch normalisations have different epsilons in the file (" + number_text(epsilons[0]) + ", " +
                            number_text(epsilons[1]) +
                            "), which no --arch has: write a .tflite file (tf.lite.TFLiteConverter.from_keras_model) "
                            "and convert that");
  } else if (epsilons.size() == 1 && !(std::fabs(epsilons[0] - epsilon) <= kRounding * epsilon)) {
    report->problem("", "batch normalisation has the epsilon " + number_text(epsilons[0]) + " in the file and " + ours +
                            " in --arch: say bn-eps=" + number_text(epsilons[0]) + " there");
  } else if (epsilons.empty() && report->problems.empty() && arch_text.find("bn-eps") == std::string::npos) {
    report->warn(
        "the file does not tell batch normalisation's epsilon, which is 0.001 in Keras unless a layer sets "
        "another; here it is " +
        ours + ": say in --arch which it is (bn-eps=0.001)");
  }
  const bool ordered = std::any_of(report->tensors.begin(), report->tensors.end(),
                                   [](const TensorRecord& record) { return record.how == "order and shape"; });
  if (ordered && report->problems.empty()) {
    report->note(
        "tensors were assigned by order and shape; Keras lists layers of parallel branches in an order of its "
        "own, so compare the results with --check");
  }
}

}  // namespace

Graph import_weights(const Options& options, Format format, FileBytes bytes, Report* report) {
  Result<Architecture> arch = Architecture();
  if (!options.architecture.empty()) arch = parse_architecture(options.architecture);
  if (!arch.ok()) {
    report->problem("--arch " + options.architecture, arch.status().message());
    return {};
  }
  NameRules rules;
  if (!options.rules.empty()) {
    Result<NameRules> loaded = NameRules::load(options.rules);
    if (!loaded.ok()) {
      report->problem("--map", loaded.status().message());
      return {};
    }
    rules = std::move(loaded).value();
  }
  // Built before the file is read, so that the builder's own weights are freed by then.
  Result<Graph> graph = options.architecture.empty() ? Result<Graph>(Graph()) : build_graph(*arch);
  if (!graph.ok()) {
    report->problem("--arch " + options.architecture, graph.status().message());
    return {};
  }
  drop_weights(&*graph);
  Result<SourceTensors> source = read_weights(format, bytes);
  bytes = {};
  if (!source.ok()) {
    report->problem("", source.status().message());
    return {};
  }
  report->format = source->format;
  report->producer = source->producer;
  report->notes.insert(report->notes.end(), source->notes.begin(), source->notes.end());
  const ShapeCounts shapes = count_shapes(*source, rules);
  if (options.architecture.empty()) {
    const std::string found = recognised_text(recognise(shapes, nullptr));
    const std::string other_way =
        source->keras ? ", or write a .tflite file (tf.lite.TFLiteConverter.from_keras_model), which needs no --arch"
                      : "";
    std::string known;
    for (const std::string& name : known_architectures()) known += (known.empty() ? "" : ", ") + name;
    report->problem("",
                    "the file holds weights without a graph: say with --arch which network they are of" +
                        (found.empty() ? other_way + " (" + known + ")" : "; this looks like " + found + other_way));
    return {};
  }
  report->architecture = to_string(*arch);
  const ShapeCounts all_shapes = count_shapes(*source, NameRules());
  const bool keras = source->keras;
  const std::vector<double> epsilons = source->bn_epsilons;
  match_weights(std::move(*source), rules, &*graph, report);
  if (!report->problems.empty()) {
    explain_mismatch(shapes, *arch, options.architecture, 0, report);
  } else if (!report->warnings.empty()) {  // a rule dropped tensors that another architecture may need
    const std::string whole = recognised_text(recognise(all_shapes, &*arch));
    if (!whole.empty()) report->warn("with all of its tensors the file looks like " + whole + ": say so with --arch");
  }
  if (keras) check_keras(epsilons, *arch, options.architecture, report);
  return std::move(graph).value();
}

}  // namespace sparsenet::converter
