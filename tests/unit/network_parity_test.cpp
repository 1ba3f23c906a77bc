// Goldens: networks and corner cases of operators with outputs computed by other frameworks (tests/goldens), converted
// by sparsenet-convert and run on every backend.
//
// Each is also evaluated by the double-precision reference: if that differs as well, the importer is wrong, not a
// kernel.
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/npy.h"
#include "support/check_session.h"
#include "support/convert.h"
#include "support/describe.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const std::string kFolder = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/";

nlohmann::json manifest() {
  std::ifstream file(kFolder + "manifest.json");
  REQUIRE_MESSAGE(file.good(), "no " << kFolder << "manifest.json");
  return nlohmann::json::parse(file);
}

std::vector<Array> arrays(const nlohmann::json& list) {
  std::vector<Array> result;
  for (const auto& entry : list) {
    const auto npy = io::read_npy(kFolder + entry.at("file").get<std::string>());
    REQUIRE_MESSAGE(npy.ok(), npy.status().message());
    Array array(npy->shape);
    array.data.assign(npy->values.begin(), npy->values.end());
    result.push_back(std::move(array));
  }
  return result;
}

void check_case(const nlohmann::json& entry) {
  const auto name_of_case = entry.at("name").get<std::string>();
  std::vector<std::string> arguments{kFolder + entry.at("model").get<std::string>()};
  const bool weights = entry.at("kind") == "weights";
  if (weights) {
    arguments.emplace_back("--arch");
    arguments.push_back(entry.at("arch").get<std::string>());
  }
  auto model = convert(arguments);
  if (!model.ok()) {
    FAIL_CHECK(name_of_case, ": ", model.status().message());
    return;
  }
  Graph& graph = model->graph;
  std::vector<Array> inputs = arrays(entry.at("inputs"));
  const std::vector<Array> expected = arrays(entry.at("outputs"));
  const auto tolerance = entry.at("tolerance").get<double>();
  REQUIRE(graph.inputs.size() == inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i] = as_input(inputs[i], graph.shape(graph.inputs[i]));
  // The goldens' images may be smaller than an architecture's own (64 x 64 for the ImageNet stem), or a batch.
  for (size_t i = 0; i < inputs.size(); ++i) graph.value(graph.inputs[i]).shape = inputs[i].shape;
  const Status shapes = graph.infer_shapes();
  if (!shapes.ok()) {
    FAIL_CHECK(name_of_case, ": ", shapes.message());
    return;
  }
  if (entry.contains("parameters")) {
    // Exporters fold norms into convolutions, so the count of parameters is kept only for weights without a graph.
    if (weights) CHECK_MESSAGE(graph.parameter_count() == entry.at("parameters").get<int64_t>(), name_of_case);
    CHECK_MESSAGE(graph.macs_per_image() == entry.at("macs").get<int64_t>(), name_of_case);
  }

  const auto reference = evaluate(graph, inputs);
  if (!reference.ok()) {
    FAIL_CHECK(name_of_case, ": ", reference.status().message());
    return;
  }
  REQUIRE(reference->size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK_MESSAGE((*reference)[i].shape == expected[i].shape, name_of_case);
    const double error = relative_error(expected[i].data, (*reference)[i].data);
    CHECK_MESSAGE(error <= tolerance, name_of_case, ": the imported graph means something else, error ", error, "\n",
                  describe_graph(graph));
  }
  for (Backend backend : cpu_backends()) {
    for (int threads : {1, 2}) {
      SessionOptions options;
      options.backend = backend;
      options.threads = threads;
      options.batch = inputs[0].shape[0];
      auto session = Session::create(graph, options);
      const std::string where = name_of_case + " on " + text(backend) + ", " + std::to_string(threads) + " threads: ";
      if (!session.ok()) {
        FAIL_CHECK(where, session.status().message());
        continue;
      }
      const auto outputs = run_session(*session, inputs);
      REQUIRE_MESSAGE(outputs.ok(), where, outputs.status().message());
      for (size_t i = 0; i < expected.size(); ++i) {
        const double error = relative_error(expected[i].data, (*outputs)[i]);
        CHECK_MESSAGE(error <= tolerance, where, "output ", i, " error ", error);
      }
    }
  }
}

void check_kind(const std::string& kind) {
  int cases = 0;
  const nlohmann::json document = manifest();
  for (const auto& entry : document.at("cases")) {
    if (entry.at("kind") != kind) continue;
    check_case(entry);
    ++cases;
  }
  CHECK(cases > 10);
}

}  // namespace

TEST_CASE("weights in every format give the logits that PyTorch gives") {
  if (!can_convert()) return skip("goldens of weights", "sparsenet-convert");
  check_kind("weights");
}

TEST_CASE("ONNX files give the outputs that ONNX Runtime gives") {
  if (!can_convert()) return skip("goldens of ONNX", "sparsenet-convert");
  check_kind("onnx");
}
