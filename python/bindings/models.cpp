// Models: loading, saving, what they hold.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>
#include <sparsenet/architecture.h>
#include <sparsenet/quantize.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <optional>
#include <random>
#include <stdexcept>

#include "bindings/arrays.h"
#include "bindings/core.h"
#include "bindings/python_parts.h"
#include "bindings/status.h"
#include "cli/arguments.h"
#include "cli/classifier.h"
#include "cli/train_start.h"
#include "data/preprocess.h"
#include "io/file_kind.h"

namespace nb = nanobind;

namespace sparsenet::python {

std::string PyModel::name() const {
  return model.metadata.name.empty() ? std::filesystem::path(path).stem().string() : model.metadata.name;
}

namespace {

std::unique_ptr<PyModel> load(const nb::bytes& where, bool copy) {
  const std::string path = bytes_of(where);
  LoadOptions options;
  options.copy = copy;
  auto held = std::make_unique<PyModel>();
  Status status;
  {
    const WithoutGil released;
    auto model = load_model(path, options);
    status = model.ok() ? Status() : io::explain_not_snet(path, model.status());
    if (model.ok()) held->model = std::move(*model);
    std::error_code gone;  // whatever the error, the model is loaded
    const auto bytes = std::filesystem::file_size(path, gone);
    held->file_bytes = gone ? 0 : bytes;
  }
  check(status);
  held->path = path;
  return held;
}

std::unique_ptr<PyModel> from_bytes(const nb::bytes& data, const nb::bytes& where) {
  const std::string path = bytes_of(where);
  auto held = std::make_unique<PyModel>();
  // The loader keeps memory that is aligned like this, and Python's is not.
  constexpr size_t kAlignment = 64;
  const size_t room = (data.size() + kAlignment) / kAlignment * kAlignment;
  const std::shared_ptr<void> copy(std::aligned_alloc(kAlignment, room), &std::free);
  if (!copy) check(out_of_memory("no memory for a model of " + std::to_string(data.size()) + " bytes"));
  std::memcpy(copy.get(), data.c_str(), data.size());
  held->model = take(load_model(copy.get(), data.size(), copy, path.empty() ? "model" : path));
  held->path = path;
  held->file_bytes = data.size();
  return held;
}

nb::bytes to_bytes(const PyModel& held) {
  Result<std::vector<uint8_t>> bytes = [&] {
    const WithoutGil released;
    return serialize_model(held.model);
  }();
  const std::vector<uint8_t> file = take(std::move(bytes));
  return nb::bytes(file.data(), file.size());
}

std::unique_ptr<PyModel> create(const std::string& arch, std::optional<int> classes, uint64_t seed) {
  Architecture architecture = take(parse_architecture(arch));
  if (classes) architecture.classes = *classes;
  auto held = std::make_unique<PyModel>();
  held->model.graph = take(build_graph(architecture, seed));
  held->model.metadata.architecture = to_string(architecture);
  held->model.metadata.name = arch.substr(0, arch.find(':'));
  return held;
}

// A network for vectors: fully connected layers with ReLU in between, He-initialised.
std::unique_ptr<PyModel> create_perceptron(int64_t features, const std::vector<int64_t>& hidden, int64_t classes,
                                           uint64_t seed) {
  auto held = std::make_unique<PyModel>();
  Graph& graph = held->model.graph;
  std::mt19937_64 random(seed);
  ValueId x = graph.add_input("input", {1, features});
  int64_t inputs = features;
  std::vector<int64_t> sizes = hidden;
  sizes.push_back(classes);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t outputs = sizes[i];
    constexpr int64_t kMost = int64_t{1} << 20;
    if (outputs < 1 || outputs > kMost || inputs < 1 || inputs > kMost || inputs * outputs > (int64_t{1} << 28)) {
      check(invalid_argument("hidden: expected layers of 1 to 1,048,576 neurons, found " + std::to_string(outputs) +
                             " behind " + std::to_string(inputs)));
    }
    const std::string name = i + 1 < sizes.size() ? "hidden" + std::to_string(i + 1) : "fc";
    std::normal_distribution<float> normal(0.f, std::sqrt(2.f / static_cast<float>(inputs)));
    std::vector<float> weights(static_cast<size_t>(inputs * outputs));
    for (float& weight : weights) weight = normal(random);
    const ValueId weight = graph.add_constant(name + ".weight", Tensor::from({outputs, inputs}, std::move(weights)));
    const ValueId bias = graph.add_constant(name + ".bias", Tensor::filled({outputs}, 0));
    const bool last = i + 1 == sizes.size();
    x = graph.add_node(Op::kFullyConnected, name, {x, weight, bias}, FullyConnectedAttrs{}, last ? "logits" : "");
    if (!last) x = graph.add_node(Op::kRelu, name + ".relu", {x});
    inputs = outputs;
  }
  graph.outputs = {x};
  check(graph.infer_shapes());
  held->model.metadata.name = "perceptron";
  return held;
}

nb::list tensors(const Graph& graph, const std::vector<ValueId>& ids) {
  nb::list list;
  for (const ValueId id : ids) {
    const Value& value = graph.value(id);
    list.append(describe({value.name, value.type, value.shape, value.quantization}));
  }
  return list;
}

nb::dict constants(const PyModel& held) {
  nb::dict all;
  for (const Value& value : held.model.graph.values) {
    if (value.is_constant) all[to_text(value.name)] = view_of(value.constant);
  }
  return all;
}

nb::list test_vectors(const PyModel& held) {
  nb::list all;
  for (const TestVector& vector : held.model.test_vectors) {
    nb::list inputs, outputs;
    for (const Tensor& t : vector.inputs) inputs.append(view_of(t));
    for (const Tensor& t : vector.outputs) outputs.append(view_of(t));
    all.append(nb::make_tuple(inputs, outputs, static_cast<double>(vector.tolerance)));
  }
  return all;
}

nb::list plans(const PyModel& held) {
  nb::list all;
  for (const StoredPlan& plan : held.model.plans) all.append(nb::make_tuple(plan.target, plan.batch, plan.trains));
  return all;
}

std::unique_ptr<PyModel> quantized(const PyModel& held, nb::handle images, const std::string& method,
                                   const std::vector<std::string>& keep_float, int threads, nb::object progress,
                                   nb::dict report) {
  const Graph& graph = held.model.graph;
  if (graph.inputs.size() != 1) check(unsupported("expected a network with one input"));
  Shape shape = graph.shape(graph.inputs[0]);
  const ReadArray pixels(images, DataType::kFloat32, {}, "images");
  const Shape found = pixels.shape();
  const Shape wanted(shape.begin() + 1, shape.end());
  if (found.empty() || Shape(found.begin() + 1, found.end()) != wanted) {
    shape[0] = -1;
    check(invalid_argument("images: expected float32 " + to_string(shape) + " with any number of images (-1), found " +
                           to_string(found)));
  }
  QuantizeOptions options;
  options.method = take(parse_range_method(method));
  options.keep_float = keep_float;
  options.threads = threads;
  // What Python raises ends the engine's work, as any exception of a callback does, and is raised again behind it.
  std::exception_ptr raised;
  options.progress = [&](int64_t done, int64_t all) {
    const nb::gil_scoped_acquire acquire;
    try {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      if (!progress.is_none()) progress(done, all);
    } catch (const nb::python_error&) {
      raised = std::current_exception();
      throw std::runtime_error("interrupted");
    }
  };
  QuantizeReport counts;
  auto made = std::make_unique<PyModel>();
  Result<Model> result = [&] {
    const WithoutGil released;
    return quantize(held.model, pixels.data<float>(), found[0], options, &counts);
  }();
  if (raised) std::rethrow_exception(raised);
  made->model = take(std::move(result));
  Metadata& metadata = made->model.metadata;
  metadata.provenance += (metadata.provenance.empty() ? "" : "; ") + ("quantised to int8, ranges by " + method);
  report["integer_nodes"] = counts.integer_nodes;
  report["float_nodes"] = counts.float_nodes;
  report["kept_float"] = counts.kept_float;
  return made;
}

}  // namespace

void bind_models(nb::module_& module) {
  nb::class_<Metadata>(module, "Metadata")
      .def(nb::init<>())
      .def_prop_rw(
          "name", [](const Metadata& self) { return to_text(self.name); },
          [](Metadata& self, const nb::bytes& text) { self.name = bytes_of(text); })
      .def_prop_rw(
          "architecture", [](const Metadata& self) { return to_text(self.architecture); },
          [](Metadata& self, const nb::bytes& text) { self.architecture = bytes_of(text); })
      .def_prop_rw(
          "provenance", [](const Metadata& self) { return to_text(self.provenance); },
          [](Metadata& self, const nb::bytes& text) { self.provenance = bytes_of(text); })
      .def_prop_rw(
          "license", [](const Metadata& self) { return to_text(self.license); },
          [](Metadata& self, const nb::bytes& text) { self.license = bytes_of(text); })
      .def_prop_rw(
          "labels",
          [](const Metadata& self) {
            nb::list list;
            for (const std::string& label : self.labels) list.append(to_text(label));
            return list;
          },
          [](Metadata& self, const nb::list& labels) {
            self.labels.clear();
            for (const nb::handle label : labels) self.labels.push_back(bytes_of(nb::cast<nb::bytes>(label)));
          })
      .def_prop_rw(
          "color_order", [](const Metadata& self) { return to_text(self.color_order); },
          [](Metadata& self, const nb::bytes& text) { self.color_order = bytes_of(text); })
      .def_rw("mean", &Metadata::mean)
      .def_rw("std", &Metadata::std_dev)
      .def_prop_rw(
          "resize", [](const Metadata& self) { return to_text(self.resize); },
          [](Metadata& self, const nb::bytes& text) { self.resize = bytes_of(text); });

  nb::class_<PyModel>(module, "Model")
      .def("copy", [](const PyModel& self) { return std::make_unique<PyModel>(self); })
      .def_prop_ro("name", [](const PyModel& self) { return to_text(self.name()); })
      .def_prop_ro("path", [](const PyModel& self) { return to_text(self.path); })
      .def_prop_rw(
          "metadata", [](const PyModel& self) { return self.model.metadata; },
          [](PyModel& self, const Metadata& metadata) { self.model.metadata = metadata; })
      .def_prop_ro("inputs", [](const PyModel& self) { return tensors(self.model.graph, self.model.graph.inputs); })
      .def_prop_ro("outputs", [](const PyModel& self) { return tensors(self.model.graph, self.model.graph.outputs); })
      .def_prop_ro("nodes", [](const PyModel& self) { return self.model.graph.nodes.size(); })
      .def_prop_ro("parameters", [](const PyModel& self) { return self.model.graph.parameter_count(); })
      .def_prop_ro("macs", [](const PyModel& self) { return self.model.graph.macs_per_image(); })
      .def_prop_ro("ends_in_softmax", [](const PyModel& self) { return cli::ends_in_softmax(self.model.graph); })
      // 0: the mean and std in the model are used; 1: there are none; 2: they look like those for pixels of 0..1.
      .def_prop_ro("normalisation",
                   [](const PyModel& self) { return static_cast<int>(io::normalisation_of(self.model.metadata)); })
      .def("constants", &constants)
      .def("test_vectors", &test_vectors)
      .def("plans", &plans)
      .def("to_bytes", &to_bytes)
      .def("save",
           [](const PyModel& self, const nb::bytes& where) {
             const std::string path = bytes_of(where);
             Status status;
             {
               const WithoutGil released;
               status = save_model(self.model, path);
             }
             check(status);
           })
      .def("default_memory",
           [](const PyModel& self, int64_t batch) {
             return self.file_bytes == 0 ? size_t{0} : cli::default_memory(self.file_bytes, batch);
           })
      .def("replace_head",
           [](PyModel& self, int64_t classes, uint64_t seed) {
             check(cli::new_head(&self.model, classes, seed));
             self.model.test_vectors.clear();  // their outputs are those of the old layer
             self.model.plans.clear();
           })
      .def("quantize", &quantized, nb::arg("images"), nb::arg("method"), nb::arg("keep_float"), nb::arg("threads"),
           nb::arg("progress").none(), nb::arg("report"));

  module.def("load", &load, nb::arg("path"), nb::arg("copy"));
  module.def("from_bytes", &from_bytes, nb::arg("data"), nb::arg("path"));
  module.def("create", &create, nb::arg("arch"), nb::arg("classes").none(), nb::arg("seed"));
  module.def("create_perceptron", &create_perceptron, nb::arg("features"), nb::arg("hidden"), nb::arg("classes"),
             nb::arg("seed"));
  module.def("architectures", &known_architectures);
}

}  // namespace sparsenet::python
