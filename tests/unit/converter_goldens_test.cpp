// Every golden file can be imported, and the imported graph computes the same as its framework. It is evaluated in
// double precision directly from the graph, so that none of the engine's execution is involved.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "converter/convert.h"
#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "support/read_array.h"

namespace sparsenet::converter {
namespace {

const std::string kManifestFolder = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/";

std::string first_problem(const Report& report) {
  return report.problems.empty() ? "" : to_line(report.problems[0]);
}

TEST_CASE("goldens import and compute what their framework did") {
  std::ifstream file(kManifestFolder + "manifest.json");
  REQUIRE(file.good());
  const nlohmann::json manifest = nlohmann::json::parse(file, nullptr, false);
  REQUIRE(manifest.contains("cases"));
  REQUIRE(manifest["cases"].size() > 40);
  for (const auto& entry : manifest["cases"]) {
    const std::string name = entry["name"];
    CAPTURE(name);
    Options options;
    options.input = kManifestFolder + entry["model"].get<std::string>();
    if (entry["kind"] == "weights") options.architecture = entry["arch"];
    std::vector<test::Array> inputs;
    for (const auto& input : entry["inputs"])
      inputs.push_back(test::read_array(kManifestFolder + input["file"].get<std::string>()));
    if (name == "imagenet-stem") options.architecture += ",image-size=" + std::to_string(inputs[0].shape[2]);
    Report report;
    Result<Model> model = import_model(options, &report);
    CHECK_MESSAGE(model.ok(), first_problem(report));
    if (!model.ok()) continue;
    if (entry["kind"] == "weights") CHECK(model->graph.parameter_count() == entry["parameters"].get<int64_t>());
    if (entry.contains("macs")) CHECK(model->graph.macs_per_image() == entry["macs"].get<int64_t>());
    REQUIRE(model->graph.inputs.size() == inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = test::as_input(inputs[i], model->graph.shape(model->graph.inputs[i]));
    }
    const Status batch = model->graph.set_batch(inputs[0].shape[0]);
    CHECK_MESSAGE(batch.ok(), batch.message());
    const Result<std::vector<test::Array>> outputs = test::evaluate(model->graph, inputs);
    CHECK_MESSAGE(outputs.ok(), outputs.status().message());
    if (!outputs.ok()) continue;
    REQUIRE(outputs->size() == entry["outputs"].size());
    for (size_t i = 0; i < outputs->size(); ++i) {
      const test::Array expected = test::read_array(kManifestFolder + entry["outputs"][i]["file"].get<std::string>());
      const test::Array& found = (*outputs)[i];
      CHECK(found.shape == expected.shape);
      double largest = 0, difference = 0;
      for (size_t k = 0; k < found.size() && k < expected.size(); ++k) {
        largest = std::max(largest, std::fabs(expected.data[k]));
        difference = std::max(difference, std::fabs(expected.data[k] - found.data[k]));
      }
      // Exact arithmetic on the same numbers: must be ten times closer than a float32 run.
      CHECK(difference <= 0.1 * entry["tolerance"].get<double>() * largest);
    }
  }
}

}  // namespace
}  // namespace sparsenet::converter
