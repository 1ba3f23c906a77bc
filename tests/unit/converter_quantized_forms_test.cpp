// Operators of ONNX on integers compute what QuantizeLinear and DequantizeLinear around float operators do; inputs and
// outputs of integers; what is refused, and how.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "converter/image_input.h"
#include "support/imported.h"
#include "support/read_array.h"

namespace sparsenet::converter {
namespace {

using test::import_file;
using test::Imported;
using test::OnnxFile;
using Names = std::vector<std::string>;

constexpr const char* kMicrosoft = "com.microsoft";

// A file with scales s1, s2, ... and zero points z1, z2, ... of uint8, and an input x that is quantised to q.
OnnxFile start() {
  OnnxFile file(17);
  file.input("x", {1, 4, 6, 6}).output("y");
  const std::vector<float> scales{0.016f, 0.02f, 0.01f, 1.f / 256};
  const std::vector<uint8_t> zeros{128, 100, 0, 0};
  for (size_t i = 0; i < scales.size(); ++i) {
    file.constant("s" + std::to_string(i + 1), {}, {scales[i]});
    file.uint8s("z" + std::to_string(i + 1), {}, {zeros[i]});
  }
  return file.named("QuantizeLinear", "quantize", {"x", "s1", "z1"}, {"q"});
}

OnnxFile& dequantise(OnnxFile& file, const std::string& from, const std::string& to, const std::string& scale) {
  return file.named("DequantizeLinear", to + ".dequantize", {from, "s" + scale, "z" + scale}, {to});
}

// What a node on integers computes, and what its float form does between the same scales.
struct Forms {
  OnnxFile file = start();
  Names integers, floats;  // inputs of the two nodes
  std::vector<OnnxFile::Attribute> attributes = {};
};

void check_same(Forms forms, const std::string& op, const std::string& domain, const std::string& real,
                const std::string& scale) {
  OnnxFile other = forms.file;
  forms.file.named(op, "node", forms.integers, {"r"}, domain, forms.attributes);
  dequantise(forms.file, "r", "y", scale);
  dequantise(other, "q", "f", "1").named(real, "node", forms.floats, {"r"}, "", forms.attributes);
  other.named("QuantizeLinear", "again", {"r", "s" + scale, "z" + scale}, {"rq"});
  dequantise(other, "rq", "y", scale);
  const Imported found = import_file(forms.file), expected = import_file(other);
  REQUIRE_MESSAGE(found.ok(), found.text());
  REQUIRE_MESSAGE(expected.ok(), expected.text());
  CHECK(found.graph().nodes.size() == expected.graph().nodes.size());
  std::vector<float> input(4 * 6 * 6);
  for (size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i * 29 % 97) / 24.f - 2.f;
  const std::vector<float> y = test::run_graph(found.graph(), input);
  CHECK(y == test::run_graph(expected.graph(), input));
  CHECK(std::any_of(y.begin(), y.end(), [&](float v) { return v != y[0]; }));
}

TEST_CASE("quantised: operators on integers are their float operators between the same scales") {
  Forms forms;
  OnnxFile& file = forms.file;
  SUBCASE("QLinearConv with a bias") {
    file.int8s("w", {2, 4, 1, 1}, {1, -2, 3, 120, -127, 6, 0, 8}).constant("ws", {2}, {0.01f, 0.02f});
    file.int8s("wz", {2}, {0, 0}).int32s("b", {2}, {1000, -300}).constant("bs", {2}, {0.016f * 0.01f, 0.016f * 0.02f});
    file.named("DequantizeLinear", "w.d", {"w", "ws", "wz"}, {"wf"}, "", {{"axis", 0}});
    file.named("DequantizeLinear", "b.d", {"b", "bs"}, {"bf"}, "", {{"axis", 0}});
    forms.integers = {"q", "s1", "z1", "w", "ws", "wz", "s2", "z2", "b"};
    forms.floats = {"f", "wf", "bf"};
    forms.attributes = {{"strides", std::vector<int64_t>{2, 2}}};
    check_same(forms, "QLinearConv", "", "Conv", "2");
  }
  SUBCASE("QLinearMatMul with a scale for each column") {
    file.int8s("w", {6, 2}, {1, -2, 3, 120, -127, 6, 0, 8, 9, 10, 11, 12}).constant("ws", {1, 2}, {0.01f, 0.02f});
    file.int8s("wz", {1, 2}, {0, 0}).constant("ws.row", {2}, {0.01f, 0.02f});
    file.named("DequantizeLinear", "w.d", {"w", "ws.row"}, {"wf"}, "", {{"axis", 1}});
    forms.integers = {"q", "s1", "z1", "w", "ws", "wz", "s2", "z2"};
    forms.floats = {"f", "wf"};
    check_same(forms, "QLinearMatMul", "", "MatMul", "2");
  }
  SUBCASE("QLinearAdd and QLinearMul") {
    forms.integers = {"q", "s1", "z1", "q", "s1", "z1", "s2", "z2"};
    forms.floats = {"f", "f"};
    check_same(forms, "QLinearAdd", kMicrosoft, "Add", "2");
    check_same(forms, "QLinearMul", kMicrosoft, "Mul", "2");
  }
  SUBCASE("QLinearConcat") {
    forms.integers = {"s2", "z2", "q", "s1", "z1", "q", "s1", "z1"};
    forms.floats = {"f", "f"};
    forms.attributes = {{"axis", 1}};
    check_same(forms, "QLinearConcat", kMicrosoft, "Concat", "2");
  }
  SUBCASE("pools") {
    forms.integers = {"q", "s1", "z1", "s3", "z3"};
    forms.floats = {"f"};
    check_same(forms, "QLinearGlobalAveragePool", kMicrosoft, "GlobalAveragePool", "3");
    forms.attributes = {{"kernel_shape", std::vector<int64_t>{3, 3}}};
    check_same(forms, "QLinearAveragePool", kMicrosoft, "AveragePool", "3");
  }
  SUBCASE("activations, which stay float32") {
    forms.integers = {"q", "s1", "z1", "s4", "z4"};
    forms.floats = {"f"};
    check_same(forms, "QLinearSigmoid", kMicrosoft, "Sigmoid", "4");
    forms.attributes = {{"alpha", 0.3f}};
    check_same(forms, "QLinearLeakyRelu", kMicrosoft, "LeakyRelu", "4");
  }
  SUBCASE("operators that move integers") {
    forms.integers = forms.floats = {"q"};
    forms.floats = {"f"};
    forms.attributes = {{"kernel_shape", std::vector<int64_t>{2, 2}}};
    check_same(forms, "MaxPool", "", "MaxPool", "1");
    forms.attributes = {{"perm", std::vector<int64_t>{0, 3, 1, 2}}};
    check_same(forms, "Transpose", "", "Transpose", "1");
  }
}

TEST_CASE("quantised: QGemm multiplies its weights by alpha, and gives floats where it has no scale for its output") {
  for (const bool transposed : {false, true}) {
    OnnxFile file(17);
    file.input("x", {1, 2})
        .output("y")
        .constant("s", {}, {0.5f})
        .int8s("z", {}, {0})
        .constant("ws", {2}, {0.25f, 0.5f});
    file.int8s("wz", {2}, {0, 0}).int32s("b", {2}, {8, -4});
    file.int8s("w", {2, 2}, transposed ? std::vector<int8_t>{1, 3, 2, 4} : std::vector<int8_t>{1, 2, 3, 4});
    file.named("QuantizeLinear", "quantize", {"x", "s", "z"}, {"q"});
    const bool quantises = !transposed;
    Names inputs{"q", "s", "z", "w", "ws", "wz", "b"};
    if (quantises) inputs.insert(inputs.end(), {"s", "z"});
    const std::vector<OnnxFile::Attribute> attributes{{"alpha", 2.f}, {"transB", transposed ? 1 : 0}};
    file.named("QGemm", "gemm", inputs, {quantises ? "r" : "y"}, kMicrosoft, attributes);
    if (quantises) file.named("DequantizeLinear", "end", {"r", "s", "z"}, {"y"});
    const Imported imported = import_file(file);
    REQUIRE_MESSAGE(imported.ok(), imported.text());
    // 2 (1 * 0.25 + 2 * 0.75) + 8 * 2 * 0.5 * 0.25, and 2 (1 * 1 + 2 * 2) - 4 * 2 * 0.5 * 0.5
    CHECK(test::run_graph(imported.graph(), {1.f, 2.f}) == std::vector<float>{5.5f, 8.f});
  }
}

TEST_CASE("quantised: inputs and outputs of integers") {
  OnnxFile file = OnnxFile(17);
  file.constant("s", {}, {0.5f}).uint8s("z", {}, {100}).constant("t", {}, {0.25f}).uint8s("o", {}, {0});
  file.input("x", {1, 1, 2, 2}, OnnxFile::kUInt8).output("y");
  const auto values = [](const Imported& imported, const std::vector<float>& input) {
    return test::run_graph(imported.graph(), input);
  };
  SUBCASE("an input that is dequantised stays uint8") {
    file.named("DequantizeLinear", "d", {"x", "s", "z"}, {"f"}).named("Relu", "relu", {"f"}, {"r"});
    file.named("QuantizeLinear", "q", {"r", "t", "o"}, {"y"});
    const Imported imported = import_file(file);
    REQUIRE_MESSAGE(imported.ok(), imported.text());
    const Graph& graph = imported.graph();
    CHECK(graph.value(graph.inputs[0]).type == DataType::kUInt8);
    CHECK(graph.value(graph.outputs[0]).type == DataType::kInt8);
    CHECK(graph.value(graph.outputs[0]).name == "y");
    CHECK(imported.tells("input 'x' stays uint8: its integers stand for numbers with scale 0.5 and zero point 100"));
    CHECK(
        imported.tells("output 'y' holds quantised integers: uint8 in the file, in the model int8, the same integers "
                       "and zero point less 128"));
    CHECK(graph.value(graph.outputs[0]).quantization.zero_points == std::vector<int32_t>{-128});
    CHECK(values(imported, {-1.f, 0.f, 1.5f, 20.f}) == std::vector<float>{0.f, 0.f, 1.5f, 20.f});
  }
  SUBCASE("an input that is moved first becomes float32 with the same whole numbers") {
    file.named("Transpose", "t", {"x"}, {"m"}, "", {{"perm", std::vector<int64_t>{0, 1, 3, 2}}});
    file.named("DequantizeLinear", "d", {"m", "s", "z"}, {"y"});
    const Imported imported = import_file(file);
    REQUIRE_MESSAGE(imported.ok(), imported.text());
    CHECK(imported.tells("input 'x' is uint8 and becomes float32, with the same whole numbers"));
    CHECK(values(imported, {0.f, 100.f, 255.f, 101.f}) == std::vector<float>{-50.f, 77.5f, 0.f, 0.5f});
  }
  SUBCASE("an output of int8") {
    OnnxFile signed_file = OnnxFile(17);
    signed_file.constant("s", {}, {0.5f}).int8s("z", {}, {3}).input("x", {1, 4}).output("y");
    signed_file.named("QuantizeLinear", "q", {"x", "s", "z"}, {"y"});
    const Imported imported = import_file(signed_file);
    REQUIRE_MESSAGE(imported.ok(), imported.text());
    CHECK(imported.tells("output 'y' holds quantised integers of int8"));
    CHECK(values(imported, {0.25f, -0.75f, 1.f, 100.f}) == std::vector<float>{0.f, -1.f, 1.f, 62.f});
  }
}

TEST_CASE("quantised: images [N, H, W, C] become [N, C, H, W], and bytes of pixels stay bytes") {
  OnnxFile file(17);
  file.constant("s", {}, {0.0078125f}).uint8s("z", {}, {128}).int8s("w", {2, 3, 1, 1}, {1, 2, 3, -4, 5, -6});
  file.int8s("wz", {}, {0}).input("x", {1, 4, 4, 3}, OnnxFile::kUInt8).output("y");
  file.named("DequantizeLinear", "d", {"x", "s", "z"}, {"f"})
      .named("DequantizeLinear", "w.d", {"w", "s", "wz"}, {"wf"});
  file.named("Transpose", "t", {"f"}, {"m"}, "", {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  file.named("Conv", "c", {"m", "wf"}, {"r"}).named("QuantizeLinear", "q", {"r", "s", "z"}, {"y"});
  Imported imported = import_file(file);
  REQUIRE_MESSAGE(imported.ok(), imported.text());
  settle_image_input(&imported.model, &imported.report);
  const Graph& graph = imported.graph();
  CHECK(graph.shape(graph.inputs[0]) == Shape{1, 3, 4, 4});
  CHECK(graph.nodes.size() == 2);
  CHECK(imported.model.metadata.mean == std::vector<float>{128, 128, 128});
  CHECK(imported.model.metadata.std_dev == std::vector<float>{128, 128, 128});
  CHECK(imported.tells("images go in as their bytes, which the network takes for numbers with mean 128 and std 128"));
  CHECK(test::run_graph(graph, std::vector<float>(48, 0.9921875f))[0] == 0.046875f);
}

TEST_CASE("quantised: refusals name node and tensor, expected and found, and the way out") {
  OnnxFile file = start();
  const auto check_refused = [&](const std::string& line) { CHECK(import_file(file).first_problem() == line); };
  SUBCASE("activations with a scale per channel") {
    file.constant("many", {4}, {1, 2, 3, 4}).named("QuantizeLinear", "node", {"x", "many"}, {"y"});
    check_refused(
        "QuantizeLinear 'node': scale: expected one number for computed values, found [4]: quantise activations per "
        "tensor");
  }
  SUBCASE("activations of 32 bits") {
    file.int32s("z", {}, {0}).named("QuantizeLinear", "node", {"x", "s1", "z"}, {"y"});
    check_refused(
        "QuantizeLinear 'node': zero point: expected int8 or uint8, found int32: quantise activations to 8 bits");
  }
  SUBCASE("integers read at another scale") {
    file.named("DequantizeLinear", "node", {"q", "s2", "z2"}, {"y"});
    check_refused(
        "DequantizeLinear 'node': expected the scale 0.0160000008 and zero point 128 with which 'q' was quantised, "
        "found scale 0.0199999996 and zero point 100");
  }
  SUBCASE("a zero point of another type") {
    file.int8s("z", {}, {0}).named("DequantizeLinear", "node", {"q", "s1", "z"}, {"y"});
    check_refused("DequantizeLinear 'node': zero point: expected uint8 as the integers are, found int8");
  }
  SUBCASE("arithmetic with quantised integers") {
    file.named("Relu", "node", {"q"}, {"y"});
    check_refused("Relu 'node': it reads quantised integers: expected a DequantizeLinear in front of it");
  }
  SUBCASE("channels last") {
    file.named("QLinearGlobalAveragePool", "node", {"q", "s1", "z1", "s2", "z2"}, {"y"}, kMicrosoft,
               {{"channels_last", 1}});
    check_refused(
        "QLinearGlobalAveragePool 'node': channels_last 1: expected images [N, C, H, W], as exporters write them");
  }
  SUBCASE("a scale of zero in an operator") {
    file.constant("none", {}, {0.f})
        .named("QLinearSigmoid", "node", {"q", "none", "z1", "s4", "z4"}, {"y"}, kMicrosoft);
    check_refused("QLinearSigmoid 'node': input 0: scale: expected a positive number, found 0");
  }
  SUBCASE("all at once") {
    file.named("Relu", "one", {"q"}, {"a"}).named("ConvInteger", "two", {"q", "z1"}, {"b"}).output("a").output("b");
    file.named("QuantizeLinear", "three", {"x", "none", "z1"}, {"y"}).constant("none", {}, {-1.f});
    CHECK(import_file(file).report.problems.size() == 3);
  }
}

// converter_data/make_quantized_goldens.py: what quantize_static of ONNX Runtime writes.
TEST_CASE("quantised: files of ONNX Runtime compute what it does, within a step of the output here and there") {
  const std::string data = std::string(SPARSENET_SOURCE_DIR) + "/tests/unit/converter_data/quantized";
  const test::Array images = test::read_array(data + ".input.npy");
  const std::vector<float> input(images.data.begin(), images.data.end());
  for (const std::string form : {"qdq_uint8", "qdq_int8", "qoperator_uint8", "qoperator_int8"}) {
    CAPTURE(form);
    Report report;
    const std::vector<uint8_t> file = test::read_bytes(data + "_" + form + ".onnx");
    Graph graph = import_onnx(file.data(), file.size(), "", &report);
    REQUIRE_MESSAGE(report.problems.empty(), test::problems_of(report));
    const auto layers = std::count_if(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
      return !node.inputs.empty() && graph.value(node.inputs[0]).type == DataType::kInt8 &&
             (node.op == Op::kConv || node.op == Op::kFullyConnected);
    });
    CHECK(layers == 6);
    const float scale = graph.value(graph.nodes.back().inputs[0]).quantization.scales[0];
    CHECK(graph.nodes.back().op == Op::kDequantize);
    REQUIRE(graph.set_batch(images.shape[0]).ok());
    const test::Array expected = test::read_array(data + "_" + form + ".out0.npy");
    const std::vector<float> found = test::run_graph(graph, input);
    REQUIRE(found.size() == expected.size());
    int apart = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      const auto steps = std::lround(std::fabs(static_cast<double>(found[i]) - expected.data[i]) / scale);
      CHECK(steps <= 1);
      apart += steps > 0 ? 1 : 0;
    }
    CHECK(apart <= static_cast<int>(found.size()) / 4);
  }
}

}  // namespace
}  // namespace sparsenet::converter
