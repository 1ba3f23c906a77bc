// TensorFlow Lite import, compared with outputs of LiteRT's plain kernels (converter_data/make_tflite_goldens.py).
#include <doctest/doctest.h>

#include <cmath>

#include "converter/convert.h"
#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "support/read_array.h"
#include "support/skip.h"

namespace sparsenet::converter {
namespace {

const std::string kTflite = std::string(SPARSENET_SOURCE_DIR) + "/tests/unit/converter_data/";

void check_network(const std::string& model_path, const std::string& name, size_t outputs, int64_t input_rank = 4) {
  CAPTURE(name);
  Options options;
  options.input = model_path;
  Report report;
  const Result<Model> model = import_model(options, &report);
  REQUIRE_MESSAGE(model.ok(), (report.problems.empty() ? "" : to_line(report.problems[0])));
  CHECK(static_cast<int64_t>(model->graph.shape(model->graph.inputs[0]).size()) == input_rank);
  CHECK(report.format == "TensorFlow Lite");
  const Result<std::vector<test::Array>> found =
      test::evaluate(model->graph, {test::read_array(kTflite + name + ".input.npy")});
  REQUIRE_MESSAGE(found.ok(), found.status().message());
  REQUIRE(found->size() == outputs);
  for (size_t i = 0; i < outputs; ++i) {
    const test::Array expected = test::read_array(kTflite + name + ".out" + std::to_string(i) + ".npy");
    CHECK((*found)[i].shape == expected.shape);
    double largest = 0, difference = 0;
    for (size_t k = 0; k < expected.size() && k < (*found)[i].size(); ++k) {
      largest = std::max(largest, std::fabs(expected.data[k]));
      difference = std::max(difference, std::fabs(expected.data[k] - (*found)[i].data[k]));
    }
    CHECK(difference <= 1e-5 * largest);
  }
}

TEST_CASE("tflite operators compute what LiteRT does") {
  check_network(kTflite + "convolutions.tflite", "convolutions", 1);
  check_network(kTflite + "flatten_orders.tflite", "flatten_orders", 1);
  check_network(kTflite + "pools_and_means.tflite", "pools_and_means", 2);
  check_network(kTflite + "elementwise.tflite", "elementwise", 2);
  check_network(kTflite + "smooth_activations.tflite", "smooth_activations", 2);
  check_network(kTflite + "data_movement.tflite", "data_movement", 2);
  check_network(kTflite + "half_weights_and_shape_chain.tflite", "half_weights_and_shape_chain", 1);
}

TEST_CASE("tflite: a flattened image costs no transpose") {
  Options options;
  options.input = kTflite + "half_weights_and_shape_chain.tflite";
  Report report;
  const Result<Model> model = import_model(options, &report);
  REQUIRE(model.ok());
  CHECK(report.operators.count("Transpose") == 0);
  bool reordered = false;
  for (const TensorRecord& tensor : report.tensors)
    reordered = reordered || tensor.how.find("HWC to CHW") != std::string::npos;
  CHECK(reordered);
}

TEST_CASE("tflite: MLPerf Tiny's ResNet8") {
  const std::string path = test::shared_file("models/mlperf-tiny-resnet8/pretrainedResnet.tflite");
  if (path.empty()) return test::skip("tflite ResNet8", "the shared models");
  check_network(path, "resnet8", 1);
}

TEST_CASE("tflite: MLPerf Tiny's ResNet8 of int8 stays int8") {
  Options options;
  options.input = test::shared_file("models/mlperf-tiny-resnet8/pretrainedResnet_quant.tflite");
  if (options.input.empty()) return test::skip("quantised tflite", "the shared models");
  Report report;
  const Result<Model> model = import_model(options, &report);
  REQUIRE(model.ok());
  CHECK(model->graph.value(model->graph.inputs[0]).type == DataType::kInt8);
}

}  // namespace
}  // namespace sparsenet::converter
