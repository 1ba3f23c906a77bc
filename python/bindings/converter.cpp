// The converter: files of other frameworks become models.
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "bindings/arrays.h"
#include "bindings/core.h"
#include "bindings/python_parts.h"
#include "bindings/status.h"
#include "converter/convert.h"
#include "converter/io/memory_budget.h"
#include "converter/weights/hdf5_tree.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

using converter::Options;
using converter::Report;

Result<converter::Precision> parse_stored_precision(const std::string& text) {
  if (text.empty()) return converter::Precision::kAsItIs;
  if (text == "f32") return converter::Precision::kFloat32;
  if (text == "f16") return converter::Precision::kFloat16;
  return invalid_argument("precision: expected f32 or f16, found '" + text + "'");
}

Options read_options(nb::dict given) {
  const auto text = [&](const char* key) { return bytes_of(nb::cast<nb::bytes>(given[key])); };
  const auto texts = [&](const char* key) {
    std::vector<std::string> list;
    for (const nb::handle item : nb::cast<nb::list>(given[key])) list.push_back(bytes_of(nb::cast<nb::bytes>(item)));
    return list;
  };
  const auto reals = [&](const char* key) { return nb::cast<std::vector<double>>(given[key]); };
  Options options;
  options.input = text("input");
  options.output = text("output");
  options.format = take(converter::parse_format(text("from")));
  options.architecture = text("arch");
  options.rules = text("map");
  options.graph.outputs = texts("outputs");
  for (const nb::handle item : nb::cast<nb::list>(given["input_shapes"])) {
    const nb::tuple entry = nb::cast<nb::tuple>(item);
    options.graph.input_shapes.emplace_back(bytes_of(nb::cast<nb::bytes>(entry[0])), nb::cast<Shape>(entry[1]));
  }
  options.labels = texts("labels");
  options.normalisation.mean = reals("mean");
  options.normalisation.std_dev = reals("std");
  options.normalisation.pixel_scale = nb::cast<int>(given["pixel_scale"]);
  options.normalisation.preset = text("normalize");
  check(converter::check_normalisation(options.normalisation));
  options.name = text("name");
  options.license = text("license");
  options.precision = take(parse_stored_precision(text("precision")));
  options.test_vectors = nb::cast<int>(given["test_vectors"]);
  options.check = texts("check");
  options.check_tolerance = static_cast<float>(nb::cast<double>(given["tolerance"]));
  options.plan = text("plan");
  options.training_plan = nb::cast<bool>(given["training_plan"]);
  options.max_memory = nb::cast<uint64_t>(given["max_memory"]);
  options.c_array = text("c_array");
  options.select_ops = text("select_ops");
  return options;
}

// Returns the model, or None after a failure, and the report as JSON; the failure's lines come last.
nb::tuple convert(nb::object model, nb::dict given) {
  Options options = read_options(std::move(given));
  const PyModel* const held = model.is_none() ? nullptr : nb::cast<const PyModel*>(model);
  if (held != nullptr) options.model = &held->model;
  Report report;
  Result<Model> result = [&] {
    const WithoutGil released;
    return converter::convert_model(options, &report);
  }();
  nb::list lines;
  for (const converter::ProblemGroup& group : converter::grouped_problems(report)) lines.append(to_text(group.line));
  const nb::str json = to_text(converter::to_json(report));
  if (!result.ok()) return nb::make_tuple(nb::none(), json, lines);
  auto made = std::make_unique<PyModel>();
  made->model = std::move(*result);
  made->path = options.output;
  made->file_bytes = report.file_bytes;
  return nb::make_tuple(nb::cast(std::move(made)), json, lines);
}

// Keras files are read by Python's own package h5py (sparsenet._hdf5.read), so that wheels need no libhdf5.
Result<converter::Hdf5Tree> read_with_h5py(const converter::FileBytes& file, const converter::Hdf5Wanted& wanted) {
  const nb::gil_scoped_acquire acquire;
  try {
    const nb::bytes bytes(file.data, file.size);
    const nb::tuple found = nb::cast<nb::tuple>(
        python_part("_hdf5", "read")(bytes, wanted.attributes, wanted.attribute_series, wanted.skipped_groups,
                                     converter::MemoryBudget::current()->left()));
    const std::string problem = nb::cast<std::string>(found[0]);
    if (!problem.empty()) return unsupported(problem);
    converter::Hdf5Tree tree;
    for (const nb::handle item : nb::cast<nb::list>(found[1])) {
      const nb::tuple entry = nb::cast<nb::tuple>(item);
      converter::Hdf5Dataset set;
      set.path = nb::cast<std::string>(entry[0]);
      set.shape = nb::cast<Shape>(entry[1]);
      const std::string type = nb::cast<std::string>(entry[2]);
      set.type = type == "float16"   ? converter::ElementType::kFloat16
                 : type == "float64" ? converter::ElementType::kFloat64
                 : type == "float32" ? converter::ElementType::kFloat32
                                     : converter::ElementType::kInt64;
      const nb::bytes data = nb::cast<nb::bytes>(entry[3]);
      uint8_t* writable = nullptr;
      SPARSENET_ASSIGN_OR_RETURN(set.data, converter::make_bytes(data.size(), &writable));
      if (data.size() > 0) std::memcpy(writable, data.c_str(), data.size());
      tree.datasets.push_back(std::move(set));
    }
    for (const nb::handle item : nb::cast<nb::list>(found[2])) {
      const nb::tuple entry = nb::cast<nb::tuple>(item);
      tree.attributes[{nb::cast<std::string>(entry[0]), nb::cast<std::string>(entry[1])}] =
          nb::cast<std::vector<std::string>>(entry[2]);
    }
    return tree;
  } catch (const nb::python_error& error) {
    if (!error.matches(PyExc_Exception)) throw;  // such as KeyboardInterrupt
    return invalid_model(std::string("reading with h5py: ") + error.what());
  }
}

}  // namespace

void bind_converter(nb::module_& module) {
  converter::set_hdf5_reader(&read_with_h5py);
  module.def("convert", &convert, nb::arg("model").none(), nb::arg("options"));
}

}  // namespace sparsenet::python
