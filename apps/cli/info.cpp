// sparsenet info: what a model file holds, and what it needs to run.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/plan_svg.h"

namespace sparsenet::cli {
namespace {

// The type in which the model's weights are stored: int8 or float16 if any of its constants is.
std::string parameter_type(const Graph& graph) {
  for (const DataType type : {DataType::kInt8, DataType::kFloat16}) {
    for (const Value& value : graph.values) {
      if (value.is_constant && value.type == type) return name(type);
    }
  }
  return name(DataType::kFloat32);
}

struct InfoArguments {
  ModelArgument model;
  BackendOptions backend;
  int64_t batch = 1;
  std::string plan_svg;
  bool tensors = false;
  bool json = false;
};

constexpr const char* kInfoExamples = R"(Examples:
  sparsenet info net.snet
  sparsenet info net.snet --batch 8 --backend portable --json
  sparsenet info net.snet --plan-svg plan.svg        the memory plan as a drawing, for a web browser
  sparsenet info net.snet --tensors                  the names that `train --freeze` can match)";

int64_t outputs_per_image(const Session& session, int64_t batch) {
  return session.outputs().empty() ? 0 : element_count(session.outputs()[0].shape) / batch;
}

int64_t copy_steps(const Session& session) {
  return std::count_if(session.steps().begin(), session.steps().end(), [](const StepInfo& s) { return s.is_copy; });
}

Json tensors_json(const std::vector<TensorInfo>& tensors) {
  Json list = Json::array();
  for (const TensorInfo& t : tensors) {
    list.push_back({{"name", t.name}, {"type", sparsenet::name(t.type)}, {"shape", t.shape}});
    if (t.quantization.scales.size() != 1) continue;
    list.back()["scale"] = t.quantization.scales[0];
    list.back()["zero_point"] = t.quantization.zero_points[0];
  }
  return list;
}

// Weights, biases, statistics: what the file stores.
std::vector<TensorInfo> stored_tensors(const Graph& graph) {
  std::vector<TensorInfo> list;
  for (const Value& value : graph.values) {
    if (value.is_constant) list.push_back({value.name, value.type, value.shape, value.quantization});
  }
  return list;
}

std::string backend_text(const SessionOptions& options) {
  if (!is_plugin(options.backend)) return sparsenet::name(options.backend);
  const std::string plugin = options.backend == Backend::kPlugin ? options.plugin : sparsenet::name(options.backend);
  return plugin + ":" + std::to_string(options.device);
}

// Where each step runs, and why it is not on the plugin's device.
Json placement_json(const Session& session) {
  Json list = Json::array();
  for (const StepInfo& step : session.steps()) {
    list.push_back({{"name", step.name}, {"op", step.op}, {"backend", step.backend}});
    if (!step.reason.empty()) list.back()["reason"] = step.reason;
  }
  return list;
}

void print_placement(const Session& session) {
  std::printf("\nsteps\n");
  Table table({"step", "op", "node", "runs on", "why"});
  size_t index = 0;
  for (const StepInfo& step : session.steps()) {
    table.add({std::to_string(index++), step.op, step.name, step.backend, step.reason});
  }
  table.print();
}

Json info_json(const LoadedModel& loaded, const Session& session, const SessionOptions& options) {
  const Model& model = loaded.model;
  const Metadata& meta = model.metadata;
  const MemoryReport memory = session.memory();
  Json json = Json::object();
  json["name"] = loaded.name();
  json["parameters"] = model.graph.parameter_count();
  json["macs"] = model.graph.macs_per_image();
  json["input_shape"] = session.inputs().empty() ? Shape() : session.inputs()[0].shape;
  json["classes"] = outputs_per_image(session, options.batch);
  json["nodes"] = model.graph.nodes.size();
  json["steps"] = session.steps().size();
  json["copy_steps"] = copy_steps(session);
  json["memory"] = {{"arena_bytes", memory.arena_bytes},
                    {"lower_bound_bytes", memory.lower_bound_bytes},
                    {"scratch_bytes", memory.scratch_bytes},
                    {"weights_bytes", memory.weights_bytes}};
  json["model"] = loaded.path;
  json["backend"] = backend_text(options);
  json["precision"] = sparsenet::name(options.precision);
  json["threads"] = session.threads();
  json["batch"] = options.batch;
  json["images_at_once"] = session.images_at_once();
  json["inputs"] = tensors_json(session.inputs());
  json["outputs"] = tensors_json(session.outputs());
  json["metadata"] = {{"architecture", meta.architecture},
                      {"provenance", meta.provenance},
                      {"license", meta.license},
                      {"labels", meta.labels},
                      {"color_order", meta.color_order},
                      {"mean", meta.mean},
                      {"std", meta.std_dev},
                      {"resize", meta.resize}};
  json["test_vectors"] = model.test_vectors.size();
  json["plans"] = Json::array();
  for (const StoredPlan& p : model.plans)
    json["plans"].push_back({{"target", p.target}, {"batch", p.batch}, {"trains", p.trains}});
  if (is_plugin(options.backend)) json["placement"] = placement_json(session);
  json["stored_plan"] = session.uses_stored_plan();
  json["parameter_type"] = parameter_type(model.graph);
  return json;
}

std::string labels_text(const std::vector<std::string>& labels) {
  if (labels.empty()) return "none in the file";
  constexpr size_t kShown = 10;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, labels.size()); ++i) text += (i > 0 ? ", " : "") + labels[i];
  if (labels.size() > kShown) text += ", ... (" + std::to_string(labels.size()) + " in all)";
  return text;
}

std::string plans_text(const std::vector<StoredPlan>& plans) {
  std::string text;
  for (const StoredPlan& p : plans) {
    text += (text.empty() ? "" : "; ") + p.target + ", batch " + std::to_string(p.batch) +
            (p.trains ? ", trains the last layer" : "");
  }
  return plans.empty() ? "none" : text;
}

std::string ops_text(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const Node& node : graph.nodes) ++counts[sparsenet::name(node.op)];
  std::string text;
  for (const auto& [op, count] : counts) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + op;
  return text;
}

void print_line(const char* key, const std::string& value) {
  if (!value.empty()) std::printf("%-13s %s\n", key, value.c_str());
}

std::string port_text(const TensorInfo& t) {
  const std::string text = t.name + " " + to_string(t.shape) + " " + sparsenet::name(t.type);
  if (t.quantization.scales.size() != 1) return text;
  char scale[32];
  std::snprintf(scale, sizeof scale, "%.6g", static_cast<double>(t.quantization.scales[0]));
  return text + ", scale " + scale + ", zero point " + std::to_string(t.quantization.zero_points[0]);
}

void print_tensors(const std::vector<TensorInfo>& tensors) {
  std::printf("\ntensors\n");
  for (const TensorInfo& t : tensors) {
    std::printf("  %s %s %s\n", t.name.c_str(), to_string(t.shape).c_str(), sparsenet::name(t.type));
  }
}

void print_info(const LoadedModel& loaded, const Session& session, const SessionOptions& options) {
  const Graph& graph = loaded.model.graph;
  const Metadata& meta = loaded.model.metadata;
  print_line("name", loaded.name());
  print_line("file", loaded.path);
  print_line("architecture", meta.architecture);
  print_line("provenance", meta.provenance);
  print_line("license", meta.license);
  for (const TensorInfo& t : session.inputs()) print_line("input", port_text(t));
  for (const TensorInfo& t : session.outputs()) print_line("output", port_text(t));
  print_line("images", meta.color_order + ", mean " + (meta.mean.empty() ? "0" : join(meta.mean, " ")) + ", std " +
                           (meta.std_dev.empty() ? "1" : join(meta.std_dev, " ")) + " (of 0..255), resize " +
                           meta.resize);
  print_line("classes", std::to_string(outputs_per_image(session, options.batch)));
  print_line("labels", labels_text(meta.labels));
  print_line("parameters", grouped(graph.parameter_count()) + ", stored as " + parameter_type(graph));
  print_line("MACs", grouped(graph.macs_per_image()) + " per image");
  print_line("nodes", std::to_string(graph.nodes.size()) + ": " + ops_text(graph));
  const size_t vectors = loaded.model.test_vectors.size();
  print_line("test vectors", vectors == 0 ? "none" : std::to_string(vectors) + " (`sparsenet verify` runs them)");
  print_line("plans", plans_text(loaded.model.plans));
  const int64_t images = session.images_at_once();
  const std::string slices = images == options.batch ? "" : ", " + std::to_string(images) + " of them at once";
  std::printf("\nplan for backend %s, %s, batch %lld%s, %d thread%s%s\n", backend_text(options).c_str(),
              sparsenet::name(options.precision), static_cast<long long>(options.batch), slices.c_str(),
              session.threads(), session.threads() == 1 ? "" : "s",
              session.uses_stored_plan() ? " (stored in the file)" : "");
  print_line("  steps", std::to_string(session.steps().size()) + ", of them " + std::to_string(copy_steps(session)) +
                            " that only copy");
  const MemoryReport memory = session.memory();
  print_line("  arena", bytes_text(memory.arena_bytes));
  const double ratio = memory.lower_bound_bytes == 0
                           ? 0
                           : static_cast<double>(memory.arena_bytes) / static_cast<double>(memory.lower_bound_bytes);
  print_line("  lower bound",
             bytes_text(memory.lower_bound_bytes) + (ratio > 0 ? ", the arena is " + fixed(ratio, 3) + " x that" : ""));
  print_line("  scratch", bytes_text(memory.scratch_bytes));
  print_line("  weights", bytes_text(memory.weights_bytes));
}

int info(const InfoArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  auto session_options = options.backend.resolve(options.batch);
  if (!session_options.ok()) return usage_error(session_options.status().message());
  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  auto session = make_session(*loaded, *session_options);
  if (!session.ok()) return fail(session.status());
  if (!options.plan_svg.empty()) {
    const std::string title = loaded->name() + ": memory plan, batch " + std::to_string(options.batch);
    const std::string svg = draw_plan(title, session->buffers(), session->steps(), session->memory());
    const Status written = write_file_atomically(options.plan_svg, svg.data(), svg.size());
    if (!written.ok()) return fail(written);
  }
  if (options.json) {
    Json document = info_json(*loaded, *session, *session_options);
    if (options.tensors) document["tensors"] = tensors_json(stored_tensors(loaded->model.graph));
    print_json(document);
  } else {
    print_info(*loaded, *session, *session_options);
    if (is_plugin(session_options->backend)) print_placement(*session);
    if (!options.plan_svg.empty()) print_line("  drawing", options.plan_svg);
    if (options.tensors) print_tensors(stored_tensors(loaded->model.graph));
  }
  return kDone;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("info", "Show what a model file holds and what it needs to run");
  auto options = std::make_shared<InfoArguments>();
  options->model.add_to(*command);
  options->backend.add_to(*command);
  command->add_option("--batch", options->batch, "images per run")->check(in_range(1, 1 << 20))->default_str("1");
  command->add_option("--plan-svg", options->plan_svg, "also draw the memory plan into this .svg file");
  command->add_flag("--tensors", options->tensors, "also list the weights that the file stores");
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kInfoExamples);
  command->callback([&action, options] { action = [options] { return info(*options); }; });
}

}  // namespace sparsenet::cli
