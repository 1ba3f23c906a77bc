#include "converter/convert.h"

#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "converter/check_model.h"
#include "converter/device_source.h"
#include "converter/graph_writer.h"
#include "converter/image_input.h"
#include "converter/importers.h"
#include "converter/io/file_bytes.h"
#include "converter/io/memory_budget.h"
#include "converter/precision.h"
#include "converter/weights/import_weights.h"
#include "io/file_kind.h"

namespace sparsenet::converter {
namespace {

std::string stem_of(const std::string& path) {
  const std::string base = base_name(path);
  const size_t dot = base.find_last_of('.');
  return dot == std::string::npos || dot == 0 ? base : base.substr(0, dot);
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

uint64_t constant_bytes(const Graph& graph) {
  uint64_t bytes = 0;
  for (const Value& value : graph.values) bytes += value.is_constant ? value.constant.bytes() : 0;
  return bytes;
}

// A model of our own, to which a plan, test vectors or other metadata are added.
Model import_snet(const Options& options, Report* report) {
  Result<Model> model = options.model ? try_copy(*options.model) : load_model(options.input);
  if (!model.ok()) {
    report->problem("", model.status().message());
    return {};
  }
  report->format = ".snet";
  report->architecture = model->metadata.architecture;
  return std::move(model).value();
}

// Metadata that files of other frameworks do not contain. (A .snet file does, and options only change it.)
void start_metadata(const Options& options, const Report& report, Model* model) {
  Metadata& metadata = model->metadata;
  metadata.name = printable(stem_of(options.input));
  metadata.architecture = report.architecture;
  metadata.provenance = "converted from " + printable(base_name(options.input)) + " (" + report.format +
                        (report.producer.empty() ? "" : ", written by " + report.producer) + ")";
  const Shape& input = model->graph.shape(model->graph.inputs[0]);
  if (input.size() == 4 && input[1] == 1) metadata.color_order = "GRAY";
}

void flush_weights(Model* model, Report* report) {
  std::string first;
  report->flushed_weights = flush_denormals(&model->graph, &first);
  if (report->flushed_weights == 0) return;
  const bool one = report->flushed_weights == 1;
  report->note(std::to_string(report->flushed_weights) + (one ? " weight" : " weights") +
               " below the smallest normal float32 number (1.2e-38) became zero, the first in '" + printable(first) +
               "'" + (model->plans.empty() ? "" : "; the plans in the file were of the old ones and are left out"));
  model->plans.clear();
}

Status apply_options(const Options& options, Model* model, Report* report) {
  Metadata& metadata = model->metadata;
  if (!options.name.empty()) metadata.name = options.name;
  if (!options.license.empty()) metadata.license = options.license;
  const Shape& images = model->graph.shape(model->graph.inputs[0]);
  if (options.normalisation.given() && report->normalises_itself) {
    report->warn("the network normalises its input by itself; --mean, --std and --normalize are applied in addition");
  }
  const Status normalised = apply_normalisation(options.normalisation, images, &metadata, &report->notes);
  report->wrong_usage = !normalised.ok();
  if (!normalised.ok()) return normalised;
  if (options.labels_file.empty() && options.labels.empty()) return {};
  std::vector<std::string> labels = options.labels;
  if (labels.empty()) {
    Result<std::vector<std::string>> lines = read_lines(options.labels_file);
    if (!lines.ok()) return lines.status().with_context("--labels");
    labels = std::move(*lines);
    while (!labels.empty() && labels.back().empty()) labels.pop_back();
  }
  const Shape& output = model->graph.shape(model->graph.outputs[0]);
  const int64_t classes = element_count(output) / output[0];
  if (static_cast<int64_t>(labels.size()) != classes) {
    return invalid_argument("--labels" + (options.labels_file.empty() ? "" : " " + options.labels_file) +
                            ": expected " + std::to_string(classes) +
                            (options.labels_file.empty() ? " names" : " lines") + " (one per class), found " +
                            std::to_string(labels.size()));
  }
  metadata.labels = std::move(labels);
  return {};
}

Status cannot_convert(const Options& options) {
  return invalid_model(options.input + ": cannot be converted");
}

// What is the same for all formats, after the graph has been made.
Status settle_model(const Options& options, Format format, Model* model, Report* report) {
  if (!report->problems.empty()) return cannot_convert(options);
  if (format == Format::kOnnx) settle_image_input(model, report);
  if (format == Format::kTflite) settle_byte_input(model, report);
  flush_weights(model, report);
  if (format != Format::kSnet) start_metadata(options, *report, model);
  const Status status = apply_options(options, model, report);
  if (!status.ok()) {
    report->problem("", status.message());
    return cannot_convert(options);
  }
  report->mean = model->metadata.mean;
  report->std_dev = model->metadata.std_dev;
  report->parameters = model->graph.parameter_count();
  report->macs = model->graph.macs_per_image();
  for (const Node& node : model->graph.nodes) ++report->operators[name(node.op)];
  return {};
}

// Imports within the current budget.
Result<Model> import_within(const Options& options, Report* report) {
  const auto failed = [&] { return cannot_convert(options); };
  Model model;
  if (options.model != nullptr) {
    MemoryBudget::current()->add_bytes(constant_bytes(options.model->graph));
    model = import_snet(options, report);
    SPARSENET_RETURN_IF_ERROR(settle_model(options, Format::kSnet, &model, report));
    return model;
  }
  const io::FileKind kind = io::file_kind(options.input);
  const bool unreadable = kind.group == io::FileKind::Group::kForeign || kind.group == io::FileKind::Group::kNotAModel;
  if (unreadable && (options.format == Format::kAuto || !kind.by_name)) {
    report->problem("", "this is " + kind.what + ": " + kind.way);
    return failed();
  }
  Result<FileBytes> bytes = load_file(options.input);
  if (!bytes.ok()) {
    report->problem("", bytes.status().message());
    return bytes.status();
  }
  Format format = options.format;
  if (format == Format::kAuto) {
    Result<Format> detected = detect_format(options.input, *bytes);
    if (!detected.ok()) {
      report->problem("", detected.status().message());
      return failed();
    }
    format = *detected;
  }
  const bool holds_graph = format == Format::kOnnx || format == Format::kTflite || format == Format::kSnet;
  if (holds_graph) {
    if (!options.architecture.empty() || !options.rules.empty()) {
      const char* what = format == Format::kOnnx     ? "an ONNX"
                         : format == Format::kTflite ? "a TensorFlow Lite"
                                                     : "a .snet";
      report->problem("", "--arch and --map are for weights without a graph; this is " + std::string(what) +
                              " file, which holds its own graph: leave them out");
      return failed();
    }
  }
  if (options.graph.any() && format != Format::kOnnx) {
    report->problem("", "--outputs and --input-shape are for ONNX files: leave them out");
    report->wrong_usage = true;
    return failed();
  }
  switch (format) {
    case Format::kOnnx:
      model.graph = import_onnx(std::move(*bytes), folder_of(options.input), options.graph, report);
      break;
    case Format::kTflite:
      model.graph = import_tflite(bytes->data, bytes->size, report);
      break;
    case Format::kSnet:
      *bytes = {};  // the file is mapped
      model = import_snet(options, report);
      break;
    default:
      model.graph = import_weights(options, format, std::move(*bytes), report);
      break;
  }
  SPARSENET_RETURN_IF_ERROR(settle_model(options, format, &model, report));
  return model;
}

// Runs a part of a conversion within its budget. Exceptions that the part does not catch become problems.
template <class Part>
auto run_within(std::shared_ptr<MemoryBudget> budget, Report* report, Part part) -> decltype(part()) {
  const UseBudget use(std::move(budget));
  try {
    return part();
  } catch (const BudgetExceeded& error) {
    report->problem("", error.what());
  } catch (const std::bad_alloc&) {
    report->problem("", "not enough memory on this machine");
  }
  return out_of_memory("not enough memory");
}

}  // namespace

Result<Model> import_model(const Options& options, Report* report) {
  report->input = options.input;
  return run_within(std::make_shared<MemoryBudget>(options.max_memory), report,
                    [&] { return import_within(options, report); });
}

namespace {

// Adds a plan, in place of one for the same use.
Status add_plan(Result<StoredPlan> made, Model* model) {
  if (!made.ok()) return made.status();
  SPARSENET_RETURN_IF_ERROR(add_step_checks(model->test_vectors, &*made));
  std::vector<StoredPlan>& plans = model->plans;
  const auto same = [&](const StoredPlan& p) {
    return p.target == made->target && p.batch == made->batch && p.trains == made->trains;
  };
  plans.erase(std::remove_if(plans.begin(), plans.end(), same), plans.end());
  plans.push_back(std::move(*made));
  return {};
}

// Makes test vectors and sets the precision. --check compares the network as it was imported; --test-vectors come from
// the network that is written.
Status finish_network(const Options& options, Model* model, Report* report, bool* changed) {
  report->test_vectors_from = "the file that was converted";
  if (!options.check.empty()) {
    report->test_vectors_from = "the outputs given with --check";
    const bool channels_last = report->format == "TensorFlow Lite";
    SPARSENET_RETURN_IF_ERROR(check_outputs({options.check, options.check_tolerance, channels_last}, model, report));
  }
  SPARSENET_RETURN_IF_ERROR(set_precision(options.precision, model, report, changed));
  if (*changed && !model->test_vectors.empty()) report->test_vectors_from = "the reference kernels";
  if (options.test_vectors <= 0) return {};
  report->test_vectors_from = "the reference kernels";
  return add_test_vectors(options.test_vectors, model).with_context("test vectors");
}

// Plans check themselves with the test vectors: if these have changed, the remaining plans need new expected values. If
// the graph has changed, they are made anew.
Status refresh_plans(Model* model, bool graph_changed) {
  const std::vector<StoredPlan> plans = model->plans;
  for (const StoredPlan& plan : plans) {
    Result<StoredPlan> again = plan.trains     ? make_training_plan(*model, plan.target)
                               : graph_changed ? make_stored_plan(model->graph, plan.target, plan.batch)
                                               : Result<StoredPlan>(plan);
    SPARSENET_RETURN_IF_ERROR(add_plan(std::move(again), model));
  }
  return {};
}

Status write_device_sources(const Options& options, const std::string& target, const Model& model) {
  SPARSENET_ASSIGN_OR_RETURN(DeviceParts parts, make_device_parts(model, target));
  if (!options.c_array.empty()) {
    const std::string stem =
        options.output.empty() ? model.metadata.name : std::filesystem::path(options.output).stem().string();
    SPARSENET_RETURN_IF_ERROR(write_c_array(options.c_array, stem, model, parts).with_context("--c-array"));
  }
  if (options.select_ops.empty()) return {};
  return write_kernel_table(options.select_ops, parts).with_context("--select-ops");
}

bool same_bytes(const std::string& path, const std::vector<uint8_t>& bytes) {
  const Result<FileBytes> other = load_file(path);
  return other.ok() && other->size == bytes.size() && std::memcmp(other->data, bytes.data(), bytes.size()) == 0;
}

}  // namespace

namespace {

// Writes the .snet file.
Status write_file(const Options& options, const Model& model, Report* report) {
  MemoryCharge charge;  // for the file
  SPARSENET_RETURN_IF_ERROR(charge.raise_to(constant_bytes(model.graph)).with_context("writing the model"));
  SPARSENET_ASSIGN_OR_RETURN(const std::vector<uint8_t> file, serialize_model(model));
  if (report->format == ".snet" && !options.model && same_bytes(options.input, file)) {
    report->note(
        "the input is a .snet file already, and the output holds the same: --plan, --training-plan, --test-vectors and "
        "what describes the model (--labels, --mean, ...) would add to it");
  }
  SPARSENET_RETURN_IF_ERROR(write_file_atomically(options.output, file.data(), file.size()));
  report->output = options.output;
  report->file_bytes = file.size();
  return {};
}

Result<Model> convert_within(const Options& options, Report* report) {
  const auto start = std::chrono::steady_clock::now();
  Result<Model> model = import_within(options, report);
  if (!model.ok()) return model.status();
  const bool for_device = !options.c_array.empty() || !options.select_ops.empty();
  const bool plans = for_device || options.training_plan || !options.plan.empty();
  const bool new_vectors = options.test_vectors > 0 || !options.check.empty();
  Status status = check_runs(*model, plans || new_vectors);
  if (!status.ok()) list_refused_nodes(model->graph, report);
  if (!report->problems.empty()) return status;
  bool changed = false;
  if (status.ok()) status = finish_network(options, &*model, report, &changed);
  if (status.ok() && (new_vectors || changed)) status = refresh_plans(&*model, changed).with_context("plans");
  const std::string target = options.plan.empty() ? plan_targets().front() : options.plan;
  if (status.ok() && (for_device || !options.plan.empty())) {
    status = add_plan(make_stored_plan(model->graph, target, 1), &*model).with_context("--plan");
  }
  if (status.ok() && options.training_plan) {
    status = add_plan(make_training_plan(*model, target), &*model).with_context("--training-plan");
  }
  if (status.ok() && for_device) status = write_device_sources(options, target, *model);
  if (status.ok() && !options.output.empty()) status = write_file(options, *model, report);
  if (!status.ok()) {
    report->problem("", status.message());
    return status;
  }
  report->test_vectors = model->test_vectors.size();
  for (const StoredPlan& stored : model->plans) {
    report->plans.push_back({stored.target, stored.batch, stored.trains});
  }
  report->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return model;
}

}  // namespace

Result<Model> convert_model(const Options& options, Report* report) {
  report->input = options.input;
  return run_within(std::make_shared<MemoryBudget>(options.max_memory), report,
                    [&] { return convert_within(options, report); });
}

Status convert(const Options& options, Report* report) {
  return convert_model(options, report).status();
}

}  // namespace sparsenet::converter
