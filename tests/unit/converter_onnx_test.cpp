// ONNX import: what is rejected, how it is reported, and how the importer treats batches and names. That operators
// compute the right result is tested in converter_goldens_test.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "converter/convert.h"
#include "converter/importers.h"
#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "support/read_array.h"

namespace sparsenet::converter {
namespace {

const std::string kGraphs = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/graphs/";
const std::string kNets = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/nets/";

// Replaces a text by one of equal length everywhere, so that protobuf's lengths stay correct.
size_t replace(std::vector<uint8_t>* bytes, const std::string& from, const std::string& to) {
  REQUIRE(from.size() == to.size());
  size_t count = 0;
  for (size_t i = 0; i + from.size() <= bytes->size(); ++i) {
    if (std::memcmp(bytes->data() + i, from.data(), from.size()) != 0) continue;
    std::memcpy(bytes->data() + i, to.data(), to.size());
    ++count;
  }
  return count;
}

Report report_of(const std::vector<uint8_t>& bytes, const std::string& folder = "") {
  Report report;
  (void)import_onnx(bytes.data(), bytes.size(), folder, &report);
  return report;
}

bool tells(const Report& report, const std::string& text) {
  for (const Problem& problem : report.problems) {
    if (to_line(problem).find(text) != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("activations that exporters write as several nodes become one") {
  const std::vector<uint8_t> bytes = test::read_bytes(kGraphs + "activations-spelled-out.onnx");
  Report report;
  const Graph graph = import_onnx(bytes.data(), bytes.size(), "", &report);
  CHECK(report.problems.empty());
  const auto count = [&](Op op) {
    return std::count_if(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) { return node.op == op; });
  };
  CHECK(count(Op::kSilu) == 2);
  CHECK(count(Op::kMish) == 1);
  CHECK(count(Op::kGelu) == 2);
  CHECK(count(Op::kGeluTanh) == 2);
  CHECK(count(Op::kSoftplus) == 0);
  CHECK(count(Op::kTanh) == 0);
  CHECK(count(Op::kErf) == 1);      // of an argument that Gelu does not have
  CHECK(count(Op::kSigmoid) == 1);  // of another value than it gates
  std::vector<float> alphas;
  for (const Node& node : graph.nodes) {
    if (node.op == Op::kSilu) alphas.push_back(std::get<AlphaBetaAttrs>(node.attrs).alpha);
  }
  CHECK(alphas == std::vector<float>{1.f, 1.702f});
}

TEST_CASE("forms of Gelu that do not exist are told, and a power that is no product is an op of its own") {
  std::vector<uint8_t> bytes = test::read_bytes(kGraphs + "smooth-activations.onnx");
  CHECK(replace(&bytes, "none", "fast") > 0);
  CHECK(tells(report_of(bytes), "approximate: expected none or tanh, found fast"));
  bytes = test::read_bytes(kGraphs + "activations-spelled-out.onnx");
  const float three = 3.f, half = 2.5f;
  std::string from(4, 0), to(4, 0);
  std::memcpy(&from[0], &three, 4);
  std::memcpy(&to[0], &half, 4);
  CHECK(replace(&bytes, from, to) > 0);
  Report report;
  const Graph graph = import_onnx(bytes.data(), bytes.size(), "", &report);
  CHECK(report.problems.empty());
  CHECK(std::any_of(graph.nodes.begin(), graph.nodes.end(), [](const Node& node) { return node.op == Op::kPow; }));
}

TEST_CASE("all unsupported nodes are told at once, with op, name and reason") {
  std::vector<uint8_t> bytes = test::read_bytes(kGraphs + "activations.onnx");
  CHECK(replace(&bytes, "HardSwish", "HardSwosh") > 0);
  CHECK(replace(&bytes, "LeakyRelu", "LeakyRulu") > 0);
  const Report report = report_of(bytes);
  // Two LeakyRelu, one HardSwish; the names contain the op as well.
  CHECK(report.problems.size() == 3);
  CHECK(tells(report, "HardSwosh '"));
  CHECK(tells(report, "LeakyRulu '"));
  CHECK(tells(report, "this operator is not supported"));
}

TEST_CASE("quantised operators are named as such") {
  std::vector<uint8_t> bytes = test::read_bytes(kGraphs + "tiny-resnet.onnx");
  CHECK(replace(&bytes, "GlobalAveragePool", "QLinearAveragePoo") > 0);
  const Report report = report_of(bytes);
  REQUIRE(grouped_problems(report).size() == 1);
  CHECK(grouped_problems(report)[0].line.find("the network has quantised operators that are not supported (") == 0);
}

TEST_CASE("attributes of the wrong kind or value") {
  std::vector<uint8_t> bytes = test::read_bytes(kGraphs + "conv-auto-pad.onnx");
  CHECK(replace(&bytes, "SAME_LOWER", "SAME_LOVER") == 1);
  const Report report = report_of(bytes);
  CHECK(report.problems.size() == 1);
  CHECK(tells(report, "auto_pad"));
  CHECK(tells(report, "'SAME_LOVER'"));
}

TEST_CASE("data outside the file: read from the model's folder, never from elsewhere") {
  const std::vector<uint8_t> bytes = test::read_bytes(kNets + "abc-opset20-dynamo.onnx");
  CHECK(report_of(bytes, kNets).problems.empty());
  CHECK(tells(report_of(bytes), "stored outside the file"));
  CHECK(tells(report_of(bytes, kGraphs), "tensor '"));
  std::vector<uint8_t> escaping = bytes;
  CHECK(replace(&escaping, "abc-opset20-dynamo.onnx.data", "../nets/bc-opset9.onnx.dataa") > 0);
  CHECK(tells(report_of(escaping, kNets), "not inside the model's folder"));
}

TEST_CASE("a dynamic batch becomes 1 and may be set to any other") {
  Options options;
  options.input = kNets + "densenet-opset13-dynamic-batch.onnx";
  Report report;
  Result<Model> model = import_model(options, &report);
  REQUIRE(model.ok());
  CHECK(model->graph.shape(model->graph.inputs[0]) == Shape{1, 3, 32, 32});
  CHECK(model->graph.set_batch(5).ok());
  CHECK(model->graph.shape(model->graph.outputs[0]) == Shape{5, 10});
}

TEST_CASE("every imported golden works for other batches") {
  for (const char* name : {"shape-changes-opset11", "shape-changes-opset13", "nhwc-input", "tiny-shufflenet",
                           "softmax-opset11", "gemm-forms", "reduce-mean-inputs", "max-pool"}) {
    CAPTURE(name);
    Options options;
    options.input = kGraphs + name + ".onnx";
    Report report;
    Result<Model> model = import_model(options, &report);
    REQUIRE(model.ok());
    const Status status = model->graph.set_batch(3);
    CHECK_MESSAGE(status.ok(), status.message());
    CHECK(model->graph.shape(model->graph.outputs[0])[0] == 3);
  }
}

// converter_data/make_onnx_goldens.py: shapes computed by the graph, batch normalisation spelled out, and similar.
TEST_CASE("what exporters compute from constants and shapes is folded, for any batch") {
  const std::string data = std::string(SPARSENET_SOURCE_DIR) + "/tests/unit/converter_data/exporter_habits";
  Options options;
  options.input = data + ".onnx";
  Report report;
  Result<Model> model = import_model(options, &report);
  REQUIRE_MESSAGE(model.ok(), (report.problems.empty() ? "" : to_line(report.problems[0])));
  CHECK(report.operators.count("Sigmoid") == 0);  // its output is not read by anything
  const test::Array input = test::read_array(data + ".input.npy"), expected = test::read_array(data + ".out0.npy");
  REQUIRE(input.shape[0] == 2);
  REQUIRE(model->graph.set_batch(2).ok());
  const Result<std::vector<test::Array>> found = test::evaluate(model->graph, {input});
  REQUIRE_MESSAGE(found.ok(), found.status().message());
  REQUIRE((*found)[0].shape == expected.shape);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(expected.data[i]));
    difference = std::max(difference, std::fabs(expected.data[i] - (*found)[0].data[i]));
  }
  CHECK(difference <= 1e-5 * largest);
}

TEST_CASE("names of inputs and outputs are the file's") {
  Options options;
  options.input = kGraphs + "two-inputs-two-outputs.onnx";
  Report report;
  const Result<Model> model = import_model(options, &report);
  REQUIRE(model.ok());
  REQUIRE(model->graph.inputs.size() == 2);
  CHECK(model->graph.value(model->graph.inputs[0]).name == "left");
  CHECK(model->graph.value(model->graph.inputs[1]).name == "right");
  CHECK(model->graph.outputs.size() == 2);
  CHECK(model->metadata.provenance.find("two-inputs-two-outputs.onnx") != std::string::npos);
  CHECK(model->metadata.provenance.find("sparsenet-goldens") != std::string::npos);
}

TEST_CASE("a constant that BatchNorm reads twice becomes two, so that training can move them apart") {
  std::vector<uint8_t> bytes = test::read_bytes(kGraphs + "tiny-resnet.onnx");
  // The node's variance is also its scale: exporters store equal tensors once. (Before a name: protobuf's tag and
  // length.)
  CHECK(replace(&bytes, "\n\aconst_7", "\n\aconst_4") == 1);
  Report report;
  const Graph graph = import_onnx(bytes.data(), bytes.size(), "", &report);
  REQUIRE(report.problems.empty());
  const auto found =
      std::find_if(graph.nodes.begin(), graph.nodes.end(), [](const Node& node) { return node.op == Op::kBatchNorm; });
  REQUIRE(found != graph.nodes.end());
  const Value& scale = graph.value(found->inputs[1]);
  const Value& variance = graph.value(found->inputs[4]);
  CHECK(found->inputs[1] != found->inputs[4]);
  REQUIRE(scale.constant.bytes() == variance.constant.bytes());
  CHECK(std::memcmp(scale.constant.data, variance.constant.data, scale.constant.bytes()) == 0);
}

TEST_CASE("every initializer is reported") {
  Options options;
  options.input = kGraphs + "gemm-forms.onnx";
  Report report;
  REQUIRE(import_model(options, &report).ok());
  CHECK(report.tensors.size() > 5);
  for (const TensorRecord& tensor : report.tensors) {
    CAPTURE(tensor.source);
    CHECK(!tensor.how.empty());
    if (tensor.how != "unused" && tensor.how.find("read as") == std::string::npos) CHECK(!tensor.target.empty());
  }
}

TEST_CASE("weights formats and graph formats take their own options") {
  Options options;
  options.input = kGraphs + "gemm-forms.onnx";
  options.architecture = "resnet20";
  Report with_arch;
  CHECK(!import_model(options, &with_arch).ok());
  CHECK(tells(with_arch, "--arch"));
  options.input = kNets + "basic.npz";
  options.architecture.clear();
  Report without_arch;
  CHECK(!import_model(options, &without_arch).ok());
  CHECK(tells(without_arch, "sparsenet-abc-v1"));
}

}  // namespace
}  // namespace sparsenet::converter
