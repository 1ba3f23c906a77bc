// sparsenet run: .npy in, .npy out; the graph's own tensors, unprocessed.
#include <cstdio>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/statistics.h"
#include "data/file.h"
#include "data/npy.h"
#include "io/session_tensors.h"

namespace sparsenet::cli {
namespace {

struct RunArguments {
  ModelArgument model;
  BackendOptions backend;
  std::vector<std::string> inputs, outputs;
};

constexpr const char* kRunExamples =
    R"(Arrays have the graph's own shape (images NCHW float32; NHWC inputs are transposed); the first dimension of the
inputs is the batch. Without NAME= the files are assigned to the graph's inputs and outputs in order. Inputs and outputs
of int8 or uint8 are read and written as integers; an input may also be given as the real numbers that they stand for.

Examples:
  sparsenet run net.snet --input images.npy --output logits.npy
  sparsenet run net.snet -i input=images.npy -o logits=logits.npy --backend portable -t 1)";

struct Binding {
  size_t index;  // of an input or output of the graph
  std::string path;
};

// "NAME=path" or "path" for each argument. A prefix counts as a name only if the graph has it, so paths may contain
// '='.
Result<std::vector<Binding>> match_files(const std::vector<std::string>& arguments,
                                         const std::vector<std::string>& names, const char* what) {
  std::vector<Binding> bindings;
  std::vector<bool> taken(names.size(), false);
  for (const std::string& argument : arguments) {
    size_t index = names.size();
    std::string path = argument;
    for (size_t n = 0; n < names.size(); ++n) {
      if (argument.compare(0, names[n].size() + 1, names[n] + "=") != 0) continue;
      index = n;
      path = argument.substr(names[n].size() + 1);
    }
    if (index == names.size()) {
      const size_t equals = argument.find('=');
      if (equals != std::string::npos && argument.find('/') > equals && !io::is_file(argument)) {
        std::string known;
        for (const std::string& name : names) known += (known.empty() ? "" : ", ") + name;
        return invalid_argument(std::string("the graph has no ") + what + " '" + argument.substr(0, equals) +
                                "'; it has " + known);
      }
      index = 0;
      while (index < names.size() && taken[index]) ++index;
    }
    if (index == names.size()) {
      return invalid_argument(std::string("expected at most ") + std::to_string(names.size()) + " " + what +
                              " files, found more: '" + argument + "'");
    }
    if (taken[index]) return invalid_argument(std::string(what) + " '" + names[index] + "' is given twice");
    taken[index] = true;
    bindings.push_back({index, path});
  }
  return bindings;
}

std::vector<std::string> names_of(const Graph& graph, const std::vector<ValueId>& ids) {
  std::vector<std::string> names;
  for (const ValueId id : ids) names.push_back(graph.value(id).name);
  return names;
}

// Images [N, H, W, C] for an input [N, C, H, W], as networks that were converted from other formats took them.
void make_channels_first(const Shape& expected, io::FloatArray* array) {
  const Shape from = array->shape;
  if (from == expected || expected.size() != 4 || from != Shape{expected[0], expected[2], expected[3], expected[1]}) {
    return;
  }
  const auto channels = static_cast<size_t>(expected[1]), area = static_cast<size_t>(expected[2] * expected[3]);
  std::vector<float> values(array->values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t channel = i % channels, pixel = i / channels % area, image = i / channels / area;
    values[(image * channels + channel) * area + pixel] = array->values[i];
  }
  array->values = std::move(values);
  array->shape = expected;
}

// Reads the inputs; all must have the graph's shape except for the batch, and the same batch.
Result<int64_t> read_inputs(const LoadedModel& model, const std::vector<Binding>& bindings,
                            std::vector<io::FloatArray>& arrays) {
  const Graph& graph = model.model.graph;
  int64_t batch = 0;
  for (const Binding& binding : bindings) {
    SPARSENET_ASSIGN_OR_RETURN(auto array, io::read_npy(binding.path));
    const Value& input = graph.value(graph.inputs[binding.index]);
    Shape expected = input.shape;
    const bool has_batch = !array.shape.empty() && !expected.empty() && array.shape[0] >= 1;
    if (has_batch) expected[0] = batch == 0 ? array.shape[0] : batch;
    make_channels_first(expected, &array);
    if (!has_batch || array.shape != expected) {
      return invalid_argument(binding.path + ": input '" + input.name + "' of " + model.path + ": expected shape " +
                              to_string(expected) + " with any batch of 1 or more in front, found " +
                              to_string(array.shape));
    }
    const std::string type = name(input.type);
    if (input.type != DataType::kFloat32 && array.type_name != type && array.type_name.compare(0, 5, "float") != 0) {
      return invalid_argument(binding.path + ": input '" + input.name + "' of " + model.path + ": expected " + type +
                              " or floats, found " + array.type_name);
    }
    batch = expected[0];
    arrays[binding.index] = std::move(array);
  }
  return batch;
}

Status set_input(Session& session, size_t index, const io::FloatArray& array) {
  const TensorInfo& info = session.inputs()[index];
  if (info.type == DataType::kFloat32 || array.type_name != name(info.type)) {
    return session.set_input(index, array.values.data(), array.values.size());
  }
  if (info.type == DataType::kInt8) {
    const std::vector<int8_t> integers(array.values.begin(), array.values.end());
    return session.set_input(index, integers.data(), integers.size());
  }
  const std::vector<uint8_t> integers(array.values.begin(), array.values.end());
  return session.set_input(index, integers.data(), integers.size());
}

Status write_output(const Session& session, const Binding& binding) {
  SPARSENET_ASSIGN_OR_RETURN(const Tensor output, io::get_output(session, binding.index));
  if (output.type == DataType::kFloat32) return io::write_npy(binding.path, output.shape, output.f32());
  return io::write_npy(binding.path, output.shape, output.type, static_cast<const uint8_t*>(output.data));
}

int run(const RunArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  auto session_options = options.backend.resolve(1);
  if (!session_options.ok()) return usage_error(session_options.status().message());
  for (const auto& [option, arguments] :
       {std::pair<const char*, const std::vector<std::string>&>{"--input", options.inputs},
        {"--output", options.outputs}}) {
    for (const std::string& argument : arguments) {
      if (argument.front() != '=' && argument.back() != '=') continue;
      return usage_error(std::string(option) + ": expected [NAME=]FILE.npy, found '" + argument + "'");
    }
  }
  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());

  const Graph& graph = loaded->model.graph;
  auto inputs = match_files(options.inputs, names_of(graph, graph.inputs), "input");
  if (!inputs.ok()) return fail(inputs.status().with_context(*path));
  auto outputs = match_files(options.outputs, names_of(graph, graph.outputs), "output");
  if (!outputs.ok()) return fail(outputs.status().with_context(*path));
  if (inputs->size() != graph.inputs.size()) {
    return fail(invalid_argument(*path + ": expected a file for each of the " + std::to_string(graph.inputs.size()) +
                                 " inputs, found " + std::to_string(inputs->size())));
  }
  std::vector<io::FloatArray> arrays(graph.inputs.size());
  auto batch = read_inputs(*loaded, *inputs, arrays);
  if (!batch.ok()) return fail(batch.status());

  session_options->batch = *batch;
  auto session = make_session(*loaded, *session_options);
  if (!session.ok()) return fail(session.status());
  const Stopwatch watch;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const Status set = set_input(*session, i, arrays[i]);
    if (!set.ok()) return fail(set.with_context(*path));
  }
  const Status status = session->run();
  if (!status.ok()) return fail(status.with_context(*path));
  const double milliseconds = watch.milliseconds();

  for (const Binding& binding : *outputs) {
    const TensorInfo& info = session->outputs()[binding.index];
    const Status written = write_output(*session, binding);
    if (!written.ok()) return fail(written);
    std::printf("%s: %s %s\n", binding.path.c_str(), info.name.c_str(), to_string(info.shape).c_str());
  }
  std::printf("ran batch %lld in %s ms\n", static_cast<long long>(*batch), fixed(milliseconds, 2).c_str());
  return kDone;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Run a network on .npy arrays");
  auto options = std::make_shared<RunArguments>();
  options->model.add_to(*command);
  command->add_option("-i,--input", options->inputs, "[NAME=]FILE.npy; repeatable")
      ->required()
      ->allow_extra_args(false);
  command->add_option("-o,--output", options->outputs, "[NAME=]FILE.npy; repeatable")
      ->required()
      ->allow_extra_args(false);
  options->backend.add_to(*command);
  command->footer(kRunExamples);
  command->callback([&action, options] { action = [options] { return run(*options); }; });
}

}  // namespace sparsenet::cli
