// ONNX nodes that could silently become something other than the file means: training modes, roundings, attributes of
// other opsets. They are computed according to the specification or rejected; and what is imported can be run.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <cmath>
#include <limits>

#include "converter/check_model.h"
#include "converter/importers.h"
#include "converter/io/memory_budget.h"
#include "converter/io/numeric.h"
#include "support/imported.h"

namespace sparsenet::converter {
namespace {

using test::import_file;
using test::Imported;
using test::OnnxFile;

// The outputs for one input, from the kernels available on every machine.
std::vector<float> run(const Imported& imported, const std::vector<float>& input) {
  REQUIRE_MESSAGE(imported.ok(), imported.text());
  return test::run_graph(imported.graph(), input);
}

void check_refused(const Imported& imported, const std::string& reason) {
  REQUIRE(imported.report.problems.size() == 1);
  const std::string why = test::problems_of(imported.report);
  CHECK_MESSAGE(why.find(reason) != std::string::npos, why);
}

OnnxFile normalization(int64_t opset, const std::vector<int64_t>& shape, const std::vector<std::string>& outputs,
                       const std::vector<OnnxFile::Attribute>& attributes = {}) {
  OnnxFile file(opset);
  file.input("x", shape).output("y");
  file.constant("scale", {2}, {2, 3}).constant("bias", {2}, {0.5f, -1});
  file.constant("mean", {2}, {1, -2}).constant("variance", {2}, {4, 0.25f});
  file.node("BatchNormalization", {"x", "scale", "bias", "mean", "variance"}, outputs, attributes);
  return file;
}

TEST_CASE("onnx: batch normalisation in training mode is refused, however a file says so") {
  const std::vector<int64_t> image{1, 2, 3, 3};
  for (int64_t opset : {7, 8, 9, 13}) {
    CAPTURE(opset);
    check_refused(import_file(normalization(opset, image, {"y", "m", "v", "sm", "sv"})), "means training mode");
    check_refused(import_file(normalization(opset, image, {"y", "", "", "sm"})), "means training mode");
    CHECK(import_file(normalization(opset, image, {"y"})).ok());
    CHECK(import_file(normalization(opset, image, {"y", "", ""})).ok());  // omitted outputs do not count
  }
  check_refused(import_file(normalization(14, image, {"y"}, {{"training_mode", 1}})), "training_mode 1");
  check_refused(import_file(normalization(15, image, {"y", "m", "v"}, {{"training_mode", 1}})), "training_mode 1");
  CHECK(import_file(normalization(15, image, {"y"}, {{"training_mode", 0}})).ok());
  check_refused(import_file(normalization(7, image, {"y"}, {{"spatial", 0}})), "spatial 0");
  CHECK(import_file(normalization(7, image, {"y"}, {{"spatial", 1}})).ok());
}

TEST_CASE("onnx: batch normalisation of any rank runs") {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1, 2}, {1, 2, 5}, {1, 2, 3, 2}, {1, 2, 2, 2, 3}}) {
    CAPTURE(to_string(shape));
    const Imported imported = import_file(normalization(17, shape, {"y"}, {{"epsilon", 0.f}}));
    const auto count = static_cast<size_t>(element_count(shape)), plane = count / 2;
    std::vector<float> input(count);
    for (size_t i = 0; i < count; ++i) input[i] = static_cast<float>(i) - 3.f;
    const std::vector<float> output = run(imported, input);
    REQUIRE(output.size() == count);
    CHECK(imported.model.graph.shape(imported.model.graph.outputs[0]) == shape);
    for (size_t i = 0; i < count; ++i) {
      const float expected = i < plane ? (input[i] - 1.f) / 2.f * 2.f + 0.5f : (input[i] + 2.f) / 0.5f * 3.f - 1.f;
      CHECK(output[i] == doctest::Approx(expected));
    }
  }
}

TEST_CASE("onnx: a node without outputs is a problem, whatever its operator") {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{1, 2, 5}, {1, 2, 3, 2}}) {
    const Imported imported = import_file(normalization(17, shape, {}));
    REQUIRE_FALSE(imported.ok());
    CHECK_MESSAGE(imported.text().find("the node has no output") != std::string::npos, imported.text());
  }
}

TEST_CASE("onnx: inputs that an operator needs are there, of constants too") {
  for (const std::vector<std::string>& inputs : {std::vector<std::string>{"c"}, {"c", ""}}) {
    for (const char* op : {"Add", "Sub", "Mul", "Div", "Concat", "Gather", "Reshape", "MatMul", "PRelu"}) {
      CAPTURE(op);
      if (inputs.size() == 1 && std::string(op) == "Concat") continue;  // one input is enough
      OnnxFile file(17);
      file.input("x", {1, 2}).output("y").constant("c", {2}, {1, 2});
      file.node(op, inputs, {"d"}, {}).node("Add", {"x", "d"}, {"y"});
      const Imported imported = import_file(file);
      CHECK_MESSAGE(imported.text().find("input 1 is missing") != std::string::npos, imported.text());
    }
  }
}

OnnxFile cast_and_back(OnnxFile::Type type, OnnxFile::Type input = OnnxFile::kFloat) {
  OnnxFile file(17);
  file.input("x", {1, 4}, input).output("y");
  file.node("Cast", {"x"}, {"narrow"}, {{"to", int64_t{type}}}).node("Cast", {"narrow"}, {"y"}, {{"to", 1}});
  return file;
}

TEST_CASE("onnx: casts of activations that round are refused, those that keep every value pass") {
  check_refused(import_file(cast_and_back(OnnxFile::kFloat16)), "rounded to float16");
  check_refused(import_file(cast_and_back(OnnxFile::kBFloat16)), "rounded to bfloat16");
  for (OnnxFile::Type type : {OnnxFile::kInt32, OnnxFile::kInt64, OnnxFile::kBool}) {
    check_refused(import_file(cast_and_back(type)), "integer");
  }
  CHECK(run(import_file(cast_and_back(OnnxFile::kDouble)), {1.1f, 2, 3, 4}) == std::vector<float>{1.1f, 2, 3, 4});
  // A network that is entirely float16 is computed entirely in float32, and this is reported.
  const Imported half = import_file(cast_and_back(OnnxFile::kFloat16, OnnxFile::kFloat16));
  CHECK_MESSAGE(half.ok(), half.text());
  REQUIRE(half.report.notes.size() == 1);
  CHECK(half.report.notes[0].find("float16") != std::string::npos);
}

TEST_CASE("onnx: casts of constants round") {
  for (const auto& [type, expected] : {std::pair<OnnxFile::Type, float>{OnnxFile::kFloat16, 1.f + 0x1.8p-9f},
                                       {OnnxFile::kBFloat16, 1.f},
                                       {OnnxFile::kDouble, 1.f + 0x1.9p-9f}}) {
    OnnxFile file(17);
    file.input("x", {1, 1}).output("y").constant("c", {1}, {1.f + 0x1.9p-9f});
    file.node("Cast", {"c"}, {"n"}, {{"to", int64_t{type}}}).node("Cast", {"n"}, {"w"}, {{"to", 1}});
    file.node("Mul", {"x", "w"}, {"y"});
    CHECK(run(import_file(file), {1.f})[0] == expected);
  }
}

TEST_CASE("rounding to the narrow float types") {
  // Every half-precision number is kept; between two neighbours the nearer one is taken, in the middle the even one.
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = half_to_float(static_cast<uint16_t>(bits)), high = half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = (low + high) / 2;  // exact
    const float even = bits % 2 == 0 ? low : high;
    const bool right = round_to_half(low) == low && round_to_half(-low) == -low && round_to_half(middle) == even &&
                       round_to_half(std::nextafter(middle, 0.f)) == low &&
                       round_to_half(std::nextafter(middle, 1e9f)) == high;
    if (!right) FAIL("half " << bits << ", " << low);
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  CHECK(round_to_half(65519.99f) == 65504.f);
  CHECK(round_to_half(65520.f) == kInfinity);
  CHECK(round_to_half(-1e30f) == -kInfinity);
  CHECK(std::isnan(round_to_half(std::numeric_limits<float>::quiet_NaN())));
  CHECK(round_to_bfloat16(1.f + 0x1p-8f) == 1.f);  // the middle: even
  CHECK(round_to_bfloat16(1.f + 0x1.8p-7f) == 1.f + 0x1p-6f);
  CHECK(round_to_bfloat16(1.f + 0x1.02p-8f) == 1.f + 0x1p-7f);
  CHECK(round_to_bfloat16(std::numeric_limits<float>::max()) == kInfinity);
}

TEST_CASE("onnx: dropout passes its input on only where it certainly does not train") {
  const auto dropout = [](const std::vector<std::string>& inputs) {
    OnnxFile file(13);
    file.input("x", {1, 4}).output("y").constant("ratio", {}, {0.5f}).flag("on", true).flag("off", false);
    file.node("Relu", {"x"}, {"computed"});
    file.node("Dropout", inputs, {"y"});
    return file;
  };
  CHECK(import_file(dropout({"x"})).ok());
  CHECK(import_file(dropout({"x", "ratio", "off"})).ok());
  CHECK(import_file(dropout({"x", "", "off"})).ok());
  check_refused(import_file(dropout({"x", "ratio", "on"})), "training_mode is true");
  check_refused(import_file(dropout({"x", "ratio", "computed"})), "training_mode (input 2) is computed");
}

TEST_CASE("onnx: an attribute or input that the operator does not have is a problem, not passed over") {
  const auto one_node = [](int64_t opset, const std::string& op, const std::vector<std::string>& inputs,
                           const std::vector<OnnxFile::Attribute>& attributes) {
    OnnxFile file(opset);
    file.input("x", {1, 2, 8, 8}).output("y").constant("c", {1}, {0.5f});
    file.node(op, inputs, {"y"}, attributes);
    return import_file(file);
  };
  check_refused(one_node(11, "Add", {"x", "c"}, {{"axis", 1}}), "attribute axis: Add has it until opset 6");
  check_refused(one_node(11, "Sub", {"x", "c"}, {{"axes", 1}}), "attribute axes: Sub has none of this name");
  check_refused(one_node(11, "Clip", {"x"}, {{"max", 6.f}}), "attribute max: Clip has it until opset 10");
  check_refused(one_node(8, "MaxPool", {"x"}, {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"ceil_mode", 1}}),
                "attribute ceil_mode: MaxPool has it from opset 10 on, the file has opset 8");
  check_refused(one_node(17, "Relu", {"x", "c"}, {}), "inputs: expected at most 1, found 2");
  CHECK(one_node(10, "Clip", {"x"}, {{"max", 6.f}}).ok());
  CHECK(one_node(11, "Clip", {"x", "", "c"}, {}).ok());
}

TEST_CASE("onnx: SAME padding where the specification and its implementations disagree") {
  const auto pool = [](const std::string& op, const OnnxFile::Attribute& attribute) {
    OnnxFile file(19);
    file.input("x", {1, 2, 8, 8}).output("y");
    file.node(op, {"x"}, {"y"}, {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"auto_pad", "SAME_UPPER"}, attribute});
    return import_file(file);
  };
  check_refused(pool("MaxPool", {"dilations", std::vector<int64_t>{2, 2}}), "auto_pad SAME together with dilations");
  check_refused(pool("MaxPool", {"ceil_mode", 1}), "auto_pad SAME together with ceil_mode");
  check_refused(pool("AveragePool", {"ceil_mode", 1}), "auto_pad SAME together with ceil_mode");
  CHECK(pool("AveragePool", {"count_include_pad", 1}).ok());
}

TEST_CASE("what the engine cannot run is found before a file is written") {
  Model model;
  Graph& graph = model.graph;
  const ValueId x = graph.add_input("x", {1, 2, 5});
  std::vector<ValueId> inputs{x};
  for (const char* name : {"scale", "shift", "mean", "variance"}) {
    inputs.push_back(graph.add_constant(name, Tensor::filled({2}, 1.f)));
  }
  graph.outputs = {graph.add_node(Op::kBatchNorm, "a signal's", inputs, BatchNormAttrs{})};
  REQUIRE(graph.infer_shapes().ok());  // well formed, but only images and vectors are normalised
  const Status status = check_runs(model, false);
  REQUIRE(!status.ok());
  CHECK(status.message().find("the network cannot be run") == 0);
  CHECK(status.message().find("'a signal's'") != std::string::npos);
}

TEST_CASE("a network too large to try is measured alone") {
  OnnxFile file(17);
  file.input("x", {1, 1, 20000, 20000}).output("y").node("Sigmoid", {"x"}, {"y"});
  Imported imported = import_file(file);
  REQUIRE_MESSAGE(imported.ok(), imported.text());
  CHECK(check_runs(imported.model, false).ok());
  // Running it here would take 1.6 GB or more.
  const UseBudget budget(std::make_shared<MemoryBudget>());
  const Status here = check_runs(imported.model, true);
  REQUIRE(!here.ok());
  CHECK(here.message().find("--max-memory") != std::string::npos);
}

}  // namespace
}  // namespace sparsenet::converter
