// Whatever depends on constants alone is computed while converting, as ONNX defines it.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "converter/io/memory_budget.h"
#include "support/imported.h"

namespace sparsenet::converter {
namespace {

using test::Imported;
using test::OnnxFile;
using List = std::vector<int64_t>;

// The constant "c", which the nodes of the file have to make, as the graph stores it: added to an input of its shape.
std::vector<float> folded(OnnxFile file, const List& shape) {
  List batched{1};
  batched.insert(batched.end(), shape.begin(), shape.end());
  file.input("x", batched).output("y").named("Add", "the end", {"x", "c"}, {"y"});
  const Imported imported = test::import_file(file);
  REQUIRE_MESSAGE(imported.report.problems.empty(), imported.text());
  REQUIRE(imported.graph().nodes.size() == 1);
  for (const Value& value : imported.graph().values) {
    if (!value.is_constant) continue;
    return {value.constant.f32(), value.constant.f32() + value.constant.elements()};
  }
  return {};
}

// The same for integers.
std::vector<float> folded_integers(OnnxFile file, const List& shape) {
  return folded(file.named("Cast", "to float", {"i"}, {"c"}, "", {{"to", 1}}), shape);
}

void check_refused(OnnxFile file, const std::string& reason) {
  file.input("x", {1, 4}).output("y").named("Add", "the end", {"x", "c"}, {"y"});
  const Imported imported = test::import_file(file);
  CHECK_MESSAGE(imported.text().find(reason) != std::string::npos, imported.text());
}

TEST_CASE("folding: movement of integers") {
  OnnxFile base(17);
  base.integers("m", {2, 3}, {1, 2, 3, 4, 5, 6}).integers("l", {4}, {10, 20, 30, 40});
  base.integers("zero", {1}, {0}).integers("one", {1}, {1}).integers("minus", {1}, {-1});
  base.integers("far", {1}, {std::numeric_limits<int64_t>::min() + 1});
  SUBCASE("Slice backwards from the end to the beginning") {
    base.node("Slice", {"l", "minus", "far", "zero", "minus"}, {"i"});
    CHECK(folded_integers(base, {4}) == std::vector<float>{40, 30, 20, 10});
  }
  SUBCASE("Slice of rows, with a step") {
    base.integers("two", {1}, {2}).integers("many", {1}, {1000});
    base.node("Slice", {"m", "zero", "many", "one", "two"}, {"i"});
    CHECK(folded_integers(base, {2, 2}) == std::vector<float>{1, 3, 4, 6});
  }
  SUBCASE("Slice of nothing is a constant without elements") {
    base.node("Slice", {"l", "one", "one", "zero"}, {"none"});
    base.node("Concat", {"none", "l"}, {"i"}, {{"axis", 0}});
    CHECK(folded_integers(base, {4}) == std::vector<float>{10, 20, 30, 40});
  }
  SUBCASE("Slice backwards from before the beginning") {
    base.integers("before", {1}, {-6}).integers("none", {1}, {-100});
    base.node("Slice", {"l", "before", "none", "zero", "minus"}, {"i"});
    CHECK(folded_integers(base, {1}) == std::vector<float>{10});
  }
  SUBCASE("Concat along both axes") {
    base.node("Concat", {"m", "m"}, {"i"}, {{"axis", -1}});
    CHECK(folded_integers(base, {2, 6}) == std::vector<float>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
  }
  SUBCASE("Gather of columns") {
    base.integers("at", {2}, {-1, 0}).node("Gather", {"m", "at"}, {"i"}, {{"axis", 1}});
    CHECK(folded_integers(base, {2, 2}) == std::vector<float>{3, 1, 6, 4});
  }
  SUBCASE("Transpose, Reshape and Unsqueeze") {
    base.node("Transpose", {"m"}, {"t"}).node("Reshape", {"t", "minus"}, {"r"}).node("Unsqueeze", {"r", "zero"}, {"i"});
    CHECK(folded_integers(base, {6}) == std::vector<float>{1, 4, 2, 5, 3, 6});
  }
  SUBCASE("Expand and Tile") {
    base.integers("row", {1, 3}, {1, 2, 3}).integers("shape", {2}, {2, 1}).integers("repeats", {2}, {1, 2});
    base.node("Expand", {"row", "shape"}, {"e"}).node("Tile", {"e", "repeats"}, {"i"});
    CHECK(folded_integers(base, {2, 6}) == std::vector<float>{1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3});
  }
  SUBCASE("Split in unequal parts") {
    base.integers("sizes", {2}, {1, 3}).node("Split", {"l", "sizes"}, {"a", "i"}, {{"axis", 0}});
    CHECK(folded_integers(base, {3}) == std::vector<float>{20, 30, 40});
  }
  SUBCASE("ScatterND of rows and NonZero") {
    base.integers("at", {1, 1}, {1}).integers("row", {1, 3}, {0, 7, 0}).node("ScatterND", {"m", "at", "row"}, {"s"});
    base.node("NonZero", {"s"}, {"i"});
    CHECK(folded_integers(base, {2, 4}) == std::vector<float>{0, 0, 0, 1, 0, 1, 2, 1});
  }
  SUBCASE("Size, Range and CumSum") {
    base.integers("start", {}, {0}).integers("step", {}, {2}).integers("axis", {}, {0});
    base.node("Size", {"m"}, {"n"}).node("Range", {"start", "n", "step"}, {"r"});
    base.node("CumSum", {"r", "axis"}, {"i"}, {{"exclusive", 1}});
    CHECK(folded_integers(base, {3}) == std::vector<float>{0, 0, 2});
  }
}

TEST_CASE("folding: arithmetic of integers is ONNX's") {
  OnnxFile base(17);
  base.integers("a", {4}, {7, -7, 7, -7}).integers("b", {4}, {2, 2, -2, -2});
  const struct {
    const char* op;
    std::vector<float> expected;
    std::vector<OnnxFile::Attribute> attributes;
  } rows[] = {
      {"Div", {3, -3, -3, 3}, {}},  // towards zero
      {"Mod", {1, 1, -1, -1}, {}},  // the sign of the divisor
      {"Mod", {1, -1, 1, -1}, {{"fmod", 1}}},
      {"Add", {9, -5, 5, -9}, {}},
      {"Sub", {5, -9, 9, -5}, {}},
      {"Mul", {14, -14, -14, 14}, {}},
      {"Min", {2, -7, -2, -7}, {}},
      {"Max", {7, 2, 7, -2}, {}},
      {"Less", {0, 1, 0, 1}, {}},
      {"GreaterOrEqual", {1, 0, 1, 0}, {}},
      {"Equal", {0, 0, 0, 0}, {}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.op);
    CHECK(folded_integers(OnnxFile(base).node(row.op, {"a", "b"}, {"i"}, row.attributes), {4}) == row.expected);
  }
  SUBCASE("numbers at the ends of the range do not overflow") {
    const int64_t least = std::numeric_limits<int64_t>::min();
    base.integers("least", {4}, {least, least, least, least}).integers("odd", {4}, {-1, 0, 1, -1});
    for (const char* op : {"Div", "Mod", "Mul", "Sub"}) {
      CHECK(folded_integers(OnnxFile(base).node(op, {"least", "odd"}, {"i"}), {4}).size() == 4);
    }
    CHECK(folded_integers(OnnxFile(base).node("Abs", {"least"}, {"i"}), {4}).size() == 4);
  }
  SUBCASE("logic, Where and casts to booleans") {
    base.node("Greater", {"a", "b"}, {"g"}).node("Not", {"g"}, {"n"});
    base.integers("mixed", {4}, {0, 5, 0, -1}).node("Cast", {"mixed"}, {"flags"}, {{"to", 9}});
    base.node("And", {"n", "flags"}, {"both"}).node("Where", {"both", "a", "b"}, {"i"});
    CHECK(folded_integers(base, {4}) == std::vector<float>{2, -7, -2, -7});
  }
  SUBCASE("casts to narrow integers wrap") {
    base.integers("large", {4}, {300, -1, 127, 128});
    CHECK(folded_integers(OnnxFile(base).node("Cast", {"large"}, {"i"}, {{"to", 2}}), {4}) ==
          std::vector<float>{44, 255, 127, 128});
    CHECK(folded_integers(OnnxFile(base).node("Cast", {"large"}, {"i"}, {{"to", 3}}), {4}) ==
          std::vector<float>{44, -1, 127, -128});
  }
}

TEST_CASE("folding: arithmetic of floats broadcasts") {
  OnnxFile base(17);
  base.constant("column", {2, 1}, {1, 4}).constant("row", {3}, {0.5f, 2, -1});
  SUBCASE("two operands") {
    base.node("Mul", {"column", "row"}, {"c"});
    CHECK(folded(base, {2, 3}) == std::vector<float>{0.5f, 2, -1, 2, 8, -4});
  }
  SUBCASE("roots, powers and rounding") {
    base.constant("two", {}, {2}).node("Pow", {"row", "two"}, {"p"}).node("Sqrt", {"column"}, {"s"});
    base.node("Add", {"p", "s"}, {"sum"}).node("Floor", {"sum"}, {"c"});
    CHECK(folded(base, {2, 3}) == std::vector<float>{1, 5, 2, 2, 6, 3});
  }
  SUBCASE("products of matrices, with bounds and padding") {
    base.constant("m", {3, 2}, {1, 0, 0, 1, 1, 1}).constant("low", {}, {-0.25f}).integers("pads", {4}, {1, 0, 0, 1});
    base.node("MatMul", {"row", "m"}, {"v"}).node("Mul", {"column", "v"}, {"w"}).node("Clip", {"w", "low"}, {"b"});
    base.constant("nine", {}, {9}).node("Pad", {"b", "pads", "nine"}, {"c"});
    CHECK(folded(base, {3, 3}) == std::vector<float>{9, 9, 9, -0.25f, 1, 9, -0.25f, 4, 9});
  }
  SUBCASE("means over an axis") {
    base.node("Mul", {"column", "row"}, {"m"}).node("ReduceMean", {"m"}, {"r"}, {{"axes", List{1}}});
    base.node("ReduceMax", {"m"}, {"top"}, {{"axes", List{1}}, {"keepdims", 1}}).node("Sub", {"top", "r"}, {"c"});
    CHECK(folded(base, {2, 1}) == std::vector<float>{1.5f, 6});
  }
}

TEST_CASE("folding: weights that are standardised or stored as integers") {
  SUBCASE("batch normalisation of a weight by its own statistics") {
    OnnxFile file(17);
    file.constant("w", {1, 2, 4}, {1, 2, 3, 4, 0, 0, 2, 2})
        .constant("scale", {2}, {1, 3})
        .constant("shift", {2}, {0, 1});
    file.node("BatchNormalization", {"w", "scale", "shift", "shift", "scale"}, {"c"},
              {{"training_mode", 1}, {"epsilon", 0.f}});
    const std::vector<float> found = folded(file, {2, 4});
    const float unit = 1 / std::sqrt(1.25f);
    const std::vector<float> expected{-1.5f * unit, -0.5f * unit, 0.5f * unit, 1.5f * unit, -2, -2, 4, 4};
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]));
  }
  SUBCASE("one scale, and one for each channel with a zero point") {
    OnnxFile file(13);
    file.int8s("q", {2, 2}, {-128, 127, 1, -2}).constant("s", {}, {0.5f}).constant("each", {2}, {1, 10});
    file.int8s("z", {2}, {1, -1});
    CHECK(folded(OnnxFile(file).node("DequantizeLinear", {"q", "s"}, {"c"}), {2, 2}) ==
          std::vector<float>{-64, 63.5f, 0.5f, -1});
    CHECK(folded(OnnxFile(file).node("DequantizeLinear", {"q", "each", "z"}, {"c"}, {{"axis", 0}}), {2, 2}) ==
          std::vector<float>{-129, 126, 20, -10});
    CHECK(folded(OnnxFile(file).node("DequantizeLinear", {"q", "each", "z"}, {"c"}), {2, 2}) ==
          std::vector<float>{-129, 1280, 0, -10});
  }
}

TEST_CASE("folding: pads that TorchScript computes") {
  OnnxFile file(17);
  file.input("x", {1, 2, 3, 3}).output("y").integers("given", {4}, {0, 1, 0, 2}).integers("rest", {1}, {4});
  file.integers("two columns", {2}, {-1, 2}).integers("flat", {1}, {-1}).integers("zero", {1}, {0});
  file.integers("far", {1}, {-std::numeric_limits<int64_t>::max()});
  file.node("ConstantOfShape", {"rest"}, {"zeros"});
  file.named("Cast", "c0", {"zeros"}, {"int zeros"}, "", {{"to", 7}});
  file.node("Concat", {"given", "int zeros"}, {"all"}, {{"axis", 0}});
  file.named("Reshape", "r1", {"all", "two columns"}, {"pairs"});
  file.node("Slice", {"pairs", "flat", "far", "zero", "flat"}, {"reversed"});
  file.node("Transpose", {"reversed"}, {"t"}, {{"perm", List{1, 0}}});
  file.named("Reshape", "r2", {"t", "flat"}, {"pads"}).node("Pad", {"x", "pads"}, {"y"});
  const Imported imported = test::import_file(file);
  REQUIRE_MESSAGE(imported.report.problems.empty(), imported.text());
  CHECK(imported.graph().shape(imported.graph().outputs[0]) == Shape{1, 2, 5, 4});
}

TEST_CASE("folding: of an If with a known condition one branch is imported") {
  for (const bool condition : {true, false}) {
    OnnxFile yes(17), no(17), file(17);
    yes.output("r").named("Relu", "taken", {"x"}, {"r"});
    no.output("s").integers("axis", {1}, {1}).named("Loop", "never looked at", {"x"}, {"q"});
    no.named("Sigmoid", "else", {"x"}, {"s"});
    file.input("x", {1, 4}).output("y").flag("condition", condition);
    file.node("If", {"condition"}, {"y"}, {{"then_branch", yes}, {"else_branch", no}});
    const Imported imported = test::import_file(file);
    REQUIRE_MESSAGE(imported.report.problems.empty(), imported.text());
    REQUIRE(imported.graph().nodes.size() == 1);
    CHECK(imported.graph().nodes[0].op == (condition ? Op::kRelu : Op::kSigmoid));
  }
  OnnxFile branch(17), file(17);
  branch.output("r").named("Relu", "taken", {"x"}, {"r"});
  file.input("x", {1, 4}).output("y").node("If", {"x"}, {"y"}, {{"then_branch", branch}, {"else_branch", branch}});
  CHECK(test::import_file(file).text().find("If 'If_node': the condition is computed from the network's input") == 0);
}

TEST_CASE("folding: what is wrong or too large is told") {
  OnnxFile base(17);
  base.integers("l", {4}, {1, 2, 3, 4}).constant("f", {4}, {1, 2, 3, 4}).integers("at", {1}, {4});
  check_refused(OnnxFile(base).node("Gather", {"l", "at"}, {"c"}), "index 4 of 4");
  for (const int64_t end : {std::numeric_limits<int64_t>::max(), int64_t{0x7fffffff}}) {
    OnnxFile slice(base);
    slice.integers("start", {1}, {3})
        .integers("end", {1}, {end})
        .integers("axis", {1}, {0})
        .integers("step", {1}, {-1});
    check_refused(slice.node("Slice", {"l", "start", "end", "axis", "step"}, {"c"}), "the specification for the end");
  }
  check_refused(OnnxFile(base).node("Add", {"l", "f"}, {"c"}), "operands of different types");
  check_refused(OnnxFile(base).integers("three", {3}, {1, 2, 3}).node("Mul", {"l", "three"}, {"c"}),
                "do not broadcast");
  check_refused(OnnxFile(base).integers("huge", {2}, {1 << 20, 1 << 20}).node("ConstantOfShape", {"huge"}, {"c"}),
                "too many elements");
  const int64_t most = std::numeric_limits<int64_t>::max();
  OnnxFile range(17);
  range.integers("a", {}, {-most})
      .integers("b", {}, {most})
      .integers("d", {}, {1})
      .node("Range", {"a", "b", "d"}, {"c"});
  check_refused(range, "too many elements");
  // A small file that asks for the same large sum again and again is stopped by the work it makes.
  OnnxFile work(17);
  work.integers("shape", {1}, {int64_t{1} << 25}).node("ConstantOfShape", {"shape"}, {"big"});
  for (int i = 0; i < 100; ++i) {
    work.named("ReduceSum", "sum", {"big"}, {"s" + std::to_string(i)});
    const std::string before = i == 0 ? "s0" : "t" + std::to_string(i - 1);
    work.named("Add", "add", {before, "s" + std::to_string(i)}, {i == 99 ? "c" : "t" + std::to_string(i)});
  }
  check_refused(work, "reads more than");
}

}  // namespace
}  // namespace sparsenet::converter
