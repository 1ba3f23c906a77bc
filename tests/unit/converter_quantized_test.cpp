// Quantised ONNX networks: which nodes become int8, which stay float32, and that they compute what the file says. The
// oracle is the same file with the results of its float operators as outputs: then none of these may become int8.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "support/imported.h"

namespace sparsenet::converter {
namespace {

using test::import_file;
using test::Imported;
using test::OnnxFile;
using Names = std::vector<std::string>;

// Numbers of -2 to 2.
std::vector<float> some_numbers(size_t count, uint32_t seed = 1) {
  std::vector<float> out(count);
  for (float& x : out) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(seed >> 8) / static_cast<float>(1u << 22) - 2.f;
  }
  return out;
}

// Writes files whose activations are quantised to uint8 or int8.
struct Quantised {
  bool bytes;  // uint8
  OnnxFile file = OnnxFile(17);
  Names real = {};  // values between a DequantizeLinear and a QuantizeLinear

  // A scale and zero point called NAME.s and NAME.z; the zero point as int8.
  Quantised& scale(const std::string& name, float value, int zero) {
    file.constant(name + ".s", {}, {value});
    if (bytes) file.uint8s(name + ".z", {}, {static_cast<uint8_t>(zero + 128)});
    if (!bytes) file.int8s(name + ".z", {}, {static_cast<int8_t>(zero)});
    return *this;
  }
  // `x` as integers NAME.q and as numbers NAME again, with that scale.
  Quantised& quantise(const std::string& x, const std::string& name, float value, int zero) {
    scale(name, value, zero);
    file.named("QuantizeLinear", name + ".quantize", {x, name + ".s", name + ".z"}, {name + ".q"});
    return dequantise(name);
  }
  Quantised& dequantise(const std::string& name) {
    file.named("DequantizeLinear", name + ".dequantize", {name + ".q", name + ".s", name + ".z"}, {name});
    return *this;
  }
  // An operator whose result NAME.r is quantised to NAME.
  Quantised& op(const std::string& type, const Names& inputs, const std::string& name, float value, int zero,
                const std::vector<OnnxFile::Attribute>& attributes = {}) {
    file.named(type, name + ".op", inputs, {name + ".r"}, "", attributes);
    real.push_back(name + ".r");
    return quantise(name + ".r", name, value, zero);
  }
  // Weights of int8 with a scale for each output, called NAME.
  Quantised& weights(const std::string& name, const std::vector<int64_t>& shape, int64_t axis = 0) {
    std::vector<int8_t> values(static_cast<size_t>(element_count(shape)));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int8_t>(static_cast<int>(i * 37 % 255) - 127);
    const auto outputs = static_cast<size_t>(shape[static_cast<size_t>(axis)]);
    std::vector<float> scales(outputs);
    for (size_t o = 0; o < outputs; ++o) scales[o] = 0.002f + 0.0003f * static_cast<float>(o);
    const std::vector<int64_t> each{static_cast<int64_t>(outputs)};
    file.int8s(name + ".q", shape, values).constant(name + ".s", each, scales);
    file.int8s(name + ".z", each, std::vector<int8_t>(outputs, 0));
    file.named("DequantizeLinear", name + ".dequantize", {name + ".q", name + ".s", name + ".z"}, {name}, "",
               {{"axis", axis}});
    return *this;
  }
};

// How far two results of one scale are apart, in its steps.
int steps_apart(const std::vector<float>& a, const std::vector<float>& b, float scale) {
  REQUIRE(a.size() == b.size());
  float most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(a[i] - b[i]) / scale);
  return static_cast<int>(std::lround(most));
}

// Imports the file, whose output is y, and compares with the float form. Returns the import.
Imported check(const Quantised& net, float scale, int most_steps = 1) {
  OnnxFile file = net.file;
  file.output("y");
  Imported imported = import_file(file);
  REQUIRE_MESSAGE(imported.ok(), imported.text());
  GraphOptions options;
  options.outputs = {"y"};
  options.outputs.insert(options.outputs.end(), net.real.begin(), net.real.end());
  const Imported oracle = import_file(file, options);
  REQUIRE_MESSAGE(oracle.ok(), oracle.text());
  const auto count = static_cast<size_t>(element_count(imported.graph().shape(imported.graph().inputs[0])));
  const std::vector<float> input = some_numbers(count);
  const std::vector<float> found = test::run_graph(imported.graph(), input);
  CHECK(steps_apart(found, test::run_graph(oracle.graph(), input), scale) <= most_steps);
  CHECK(std::any_of(found.begin(), found.end(), [&](float x) { return x != found[0]; }));
  return imported;
}

// How many nodes of an op make int8.
int count_int8(const Imported& imported, Op op) {
  const Graph& graph = imported.graph();
  return static_cast<int>(std::count_if(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
    return node.op == op && graph.value(node.outputs[0]).type == DataType::kInt8;
  }));
}

TEST_CASE("quantised: a small network of layers is int8 from end to end") {
  for (const bool bytes : {true, false}) {
    CAPTURE(bytes);
    Quantised net{bytes};
    net.file.input("x", {1, 3, 8, 8}).int32s("b.q", {4}, {100, -200, 3000, 0});
    net.file.constant("b.s", {4}, {2e-5f, 2.3e-5f, 2.6e-5f, 2.9e-5f});
    net.file.named("DequantizeLinear", "b.dequantize", {"b.q", "b.s"}, {"b"}, "", {{"axis", 0}});
    net.quantise("x", "in", 0.016f, 3).weights("w", {4, 3, 3, 3}).weights("m", {16, 5}, 1);
    net.file.named("Conv", "conv", {"in", "w", "b"}, {"c"}, "", {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
    net.real = {"c"};
    net.op("Relu", {"c"}, "relu", 0.012f, -128);
    net.op("MaxPool", {"relu"}, "pool", 0.012f, -128,
           {{"kernel_shape", std::vector<int64_t>{4, 4}}, {"strides", std::vector<int64_t>{4, 4}}});
    net.op("Flatten", {"pool"}, "flat", 0.012f, -128).op("MatMul", {"flat", "m"}, "y", 0.02f, 10);
    const Imported imported = check(net, 0.02f);
    CHECK(count_int8(imported, Op::kConv) == 1);
    CHECK(count_int8(imported, Op::kMaxPool) == 1);
    CHECK(count_int8(imported, Op::kFullyConnected) == 1);
    CHECK(imported.count(Op::kRelu) == 0);
    CHECK(imported.count(Op::kQuantize) == 1);
    CHECK(imported.count(Op::kDequantize) == 1);
    CHECK(imported.tells("the network is quantised: 4 nodes compute with int8"));
    for (const Node& node : imported.graph().nodes) {
      CHECK(node.rounding == Rounding::kSingle);
      if (node.op != Op::kConv) continue;
      CHECK(std::get<ConvAttrs>(node.attrs).activation.kind == Activation::Kind::kRelu);
      CHECK(imported.graph().value(node.inputs[1]).type == DataType::kInt8);
      CHECK(imported.graph().value(node.inputs[2]).type == DataType::kInt32);
    }
  }
}

TEST_CASE("quantised: operators that become int8") {
  Quantised net{true};
  net.file.input("x", {1, 4, 6, 6});
  net.file.constant("low", {}, {-0.5f}).constant("high", {}, {1.f});
  net.quantise("x", "a", 0.016f, 0).op("Clip", {"a", "low", "high"}, "b", 0.01f, -20);
  const auto pool = [](int64_t size, int64_t stride) {
    return std::vector<OnnxFile::Attribute>{{"kernel_shape", std::vector<int64_t>{size, size}},
                                            {"strides", std::vector<int64_t>{stride, stride}}};
  };
  SUBCASE("Add, with a Relu that its scale does not hold") {
    net.file.named("Add", "add", {"a", "b"}, {"sum"});
    net.real.push_back("sum");
    net.op("Relu", {"sum"}, "y", 0.03f, 0);
    const Imported imported = check(net, 0.03f);
    CHECK(count_int8(imported, Op::kAdd) == 1);
    CHECK(count_int8(imported, Op::kRelu) == 1);
  }
  SUBCASE("Mul by one number for each channel") {
    net.op("GlobalAveragePool", {"b"}, "g", 0.005f, -5).op("Mul", {"a", "g"}, "y", 0.01f, 7);
    const Imported imported = check(net, 0.01f);
    CHECK(count_int8(imported, Op::kGlobalAveragePool) == 1);
    CHECK(count_int8(imported, Op::kMul) == 1);
  }
  SUBCASE("Concat of two scales") {
    net.op("Concat", {"a", "b", "a"}, "y", 0.02f, 1, {{"axis", 1}});
    const Imported imported = check(net, 0.02f);
    CHECK(count_int8(imported, Op::kConcat) == 1);
    CHECK(count_int8(imported, Op::kClip) == 1);
    CHECK(imported.count(Op::kQuantize) == 3);  // of the input, and of each operand once
  }
  SUBCASE("ReduceMean over height and width, and an AveragePool of the whole image") {
    net.op("ReduceMean", {"a"}, "m", 0.004f, 2, {{"axes", std::vector<int64_t>{2, 3}}, {"keepdims", 0}});
    net.op("AveragePool", {"b"}, "p", 0.003f, 4, pool(6, 1)).op("Flatten", {"p"}, "f", 0.003f, 4);
    net.op("Add", {"m", "f"}, "y", 0.01f, 0);
    CHECK(count_int8(check(net, 0.01f), Op::kGlobalAveragePool) == 2);
  }
  SUBCASE("AveragePool whose averages are never half-way between integers") {
    net.op("AveragePool", {"a"}, "y", 0.016f, 0, pool(3, 3));
    CHECK(count_int8(check(net, 0.016f), Op::kAveragePool) == 1);
  }
  SUBCASE("Softmax of the scale that it has with integers") {
    net.op("Flatten", {"a"}, "f", 0.016f, 0).op("Softmax", {"f"}, "y", 1.f / 256, -128, {{"axis", -1}});
    CHECK(count_int8(check(net, 1.f / 256), Op::kSoftmax) == 1);
  }
  SUBCASE("what moves integers, also to another scale") {
    net.file.ints("pads", {0, 0, 1, 1, 0, 0, 1, 1}).ints("halves", {2, 2});
    net.op("Pad", {"a", "pads"}, "p", 0.016f, 0)
        .op("Transpose", {"p"}, "t", 0.016f, 0, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    net.file.named("Split", "split", {"t", "halves"}, {"left", "right"}, "", {{"axis", 3}});
    net.op("Identity", {"right"}, "y", 0.02f, 3);
    const Imported imported = check(net, 0.02f);
    CHECK(count_int8(imported, Op::kPad) == 1);
    CHECK(count_int8(imported, Op::kTranspose) == 1);
    CHECK(count_int8(imported, Op::kSplit) == 1);
    CHECK(imported.count(Op::kDequantize) == 1);
  }
}

TEST_CASE("quantised: weights") {
  Quantised net{true};
  net.file.input("x", {1, 2, 4, 4}).constant("w.s", {}, {0.01f});
  net.quantise("x", "a", 0.016f, 0);
  SUBCASE("of uint8 are int8 less their zero point") {
    net.file.uint8s("w.q", {1, 2, 1, 1}, {0, 255}).uint8s("w.z", {}, {128});
    net.file.named("DequantizeLinear", "w.d", {"w.q", "w.s", "w.z"}, {"w"});
    const Imported imported = check(net.op("Conv", {"a", "w"}, "y", 0.02f, 0), 0.02f);
    REQUIRE(count_int8(imported, Op::kConv) == 1);
    for (const Value& value : imported.graph().values) {
      if (!value.is_constant) continue;
      CHECK(static_cast<const int8_t*>(value.constant.data)[0] == -128);
      CHECK(static_cast<const int8_t*>(value.constant.data)[1] == 127);
      CHECK(value.quantization.zero_points == std::vector<int32_t>{0});
    }
  }
  SUBCASE("farther from their zero point stay float32") {
    net.file.uint8s("w.q", {1, 2, 1, 1}, {0, 255}).uint8s("w.z", {}, {100});
    net.file.named("DequantizeLinear", "w.d", {"w.q", "w.s", "w.z"}, {"w"});
    const Imported imported = check(net.op("Conv", {"a", "w"}, "y", 0.02f, 0), 0.02f, 0);
    CHECK(count_int8(imported, Op::kConv) == 0);
    CHECK(imported.tells("Conv 'y.op' computes in float32: its weight 'w.q' is no constant of int8 or uint8"));
  }
  SUBCASE("that two layers share") {
    net.file.int8s("w.q", {2, 2, 1, 1}, {1, 2, 30, 40}).int8s("w.z", {}, {0}).constant("b", {2}, {0.5f, 0.f});
    net.file.named("DequantizeLinear", "w.d", {"w.q", "w.s", "w.z"}, {"w"});
    net.op("Conv", {"a", "w", "b"}, "c", 0.01f, 0).op("Conv", {"c", "w", "b"}, "y", 0.02f, 0);
    CHECK(count_int8(check(net, 0.02f), Op::kConv) == 2);
  }
  SUBCASE("that the file quantises, and a bias of floats") {
    net.file.constant("w", {1, 2, 1, 1}, {-0.4f, 1.f}).constant("b", {1}, {0.25f}).int8s("w.z", {}, {0});
    net.file.named("QuantizeLinear", "w.quantize", {"w", "w.s", "w.z"}, {"w.q"});
    net.file.named("DequantizeLinear", "w.d", {"w.q", "w.s", "w.z"}, {"w.r"});
    CHECK(count_int8(check(net.op("Conv", {"a", "w.r", "b"}, "y", 0.02f, 0), 0.02f), Op::kConv) == 1);
  }
}

TEST_CASE("quantised: what stays float32 between Dequantize and Quantize, and says why") {
  Quantised net{false};
  net.file.input("x", {1, 2, 4, 4});
  net.quantise("x", "a", 0.016f, 0);
  const auto refused = [&](float scale, Op op, const std::string& reason) {
    const Imported imported = check(net, scale, 0);
    CHECK(count_int8(imported, op) == 0);
    CHECK_MESSAGE(imported.tells("computes in float32: " + reason), imported.text());
  };
  SUBCASE("an op without a form with integers") {
    net.op("Sigmoid", {"a"}, "y", 1.f / 256, -128);
    refused(1.f / 256, Op::kSigmoid, "it has no form with integers");
  }
  SUBCASE("Softmax of another scale") {
    net.op("Softmax", {"a"}, "y", 0.01f, 0);
    refused(0.01f, Op::kSoftmax, "with integers the scale of its output is 1/256");
  }
  SUBCASE("AveragePool of two by two") {
    net.op("AveragePool", {"a"}, "y", 0.016f, 0, {{"kernel_shape", std::vector<int64_t>{2, 2}}});
    refused(0.016f, Op::kAveragePool, "averages half-way between two integers");
  }
  SUBCASE("a layer whose result is not quantised") {
    net.weights("w", {2, 2, 1, 1}).file.named("Conv", "conv", {"a", "w"}, {"y"});
    refused(0.01f, Op::kConv, "its output is not quantised");
  }
  SUBCASE("a constant operand") {
    net.file.constant("c", {1}, {0.5f});
    net.op("Add", {"a", "c"}, "y", 0.02f, 0);
    refused(0.02f, Op::kAdd, "one of its operands is constant or not quantised");
  }
}

TEST_CASE("quantised: integers between two scales") {
  Quantised net{true};
  net.file.input("x", {1, 2, 4, 4});
  net.quantise("x", "a", 0.016f, 0);
  SUBCASE("the same one: nothing is left") {
    CHECK(check(net.quantise("a", "y", 0.016f, 0), 0.016f, 0).graph().nodes.size() == 2);
  }
  SUBCASE("another one: one node of integers") {
    const Imported imported = check(net.quantise("a", "y", 0.02f, 5), 0.02f);
    CHECK(imported.graph().nodes.size() == 3);
    CHECK(imported.count(Op::kDequantize) == 1);
  }
}

}  // namespace
}  // namespace sparsenet::converter
