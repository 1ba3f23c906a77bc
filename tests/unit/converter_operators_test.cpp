// ONNX operators that have no op of their own, with values computed by hand; what they refuse, and nodes that mix the
// images of a batch.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/imported.h"
#include "support/train_helpers.h"

namespace sparsenet::converter {
namespace {

using test::Imported;
using test::OnnxFile;
using List = std::vector<int64_t>;
using Floats = std::vector<float>;

// The outputs of one node on an input of this shape with the elements 1, 2, 3, ...
struct OneNode {
  int64_t opset;
  List shape;
  std::string op;
  std::vector<OnnxFile::Attribute> attributes = {};
  std::vector<std::string> more = {};
  OnnxFile file = OnnxFile(opset);

  Imported import() {
    std::vector<std::string> inputs = more;
    inputs.insert(inputs.begin(), "x");
    file.input("x", shape).output("y").named(op, "node", inputs, {"y"}, "", attributes);
    return test::import_file(file);
  }
};

Floats counted(const Shape& shape) {
  Floats values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  return values;
}

void check(OneNode node, const Shape& shape, const Floats& expected) {
  CAPTURE(node.op);
  const Floats input = counted(node.shape);
  const Imported imported = node.import();
  REQUIRE_MESSAGE(imported.report.problems.empty(), imported.text());
  CHECK(imported.graph().shape(imported.graph().outputs[0]) == shape);
  const Floats found = test::run_graph(imported.graph(), input);
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-5));
  }
}

OnnxFile with(int64_t opset, const std::string& name, const List& values) {
  return OnnxFile(opset).ints(name, values);
}

TEST_CASE("onnx: a fixed batch of several images may be mixed, and stays as it is") {
  check({13, {2, 3}, "Softmax", {{"axis", 0}}}, {2, 3},
        {0.0474259f, 0.0474259f, 0.0474259f, 0.9525741f, 0.9525741f, 0.9525741f});
  check({13, {2, 3}, "ReduceMax", {{"axes", List{0}}, {"keepdims", 0}}}, {3}, {4, 5, 6});
  check({13, {2, 3}, "ReduceMax", {{"keepdims", 0}}}, {1}, {6});
  check({11, {2, 3}, "ReduceMean", {{"keepdims", 0}}}, {1}, {3.5f});
  check({13, {2, 3}, "Gather", {{"axis", 0}}, {"i"}, with(13, "i", {1})}, {1, 3}, {4, 5, 6});
  check({13, {2, 3}, "Tile", {}, {"twice"}, with(13, "twice", {2, 1})}, {4, 3}, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6});
  check({13, {2, 2}, "Pad", {}, {"pads"}, with(13, "pads", {1, 0, 0, 0})}, {3, 2}, {0, 0, 1, 2, 3, 4});
  check({17, {2, 1}, "LayerNormalization", {{"axis", 0}}, {"s"}, OnnxFile(17).constant("s", {2, 1}, {1, 1})}, {2, 1},
        {-0.99998f, 0.99998f});
  Imported fixed = OneNode{13, {2, 3}, "Softmax", {{"axis", 0}}}.import();
  CHECK(fixed.tells("the network works for a batch of 2 alone"));
  CHECK_FALSE(fixed.model.graph.set_batch(3).ok());
  CHECK(OneNode{13, {0, 3}, "Softmax", {{"axis", 0}}}.import().tells("axis 0 is the batch"));  // 0: left open
  CHECK(OneNode{13, {1, 3}, "Softmax", {{"axis", 0}}}.import().tells("axis 0 is the batch"));
}

TEST_CASE("onnx: ArgMax and ArgMin give indices as whole numbers") {
  for (const bool last : {false, true}) {
    for (const char* op : {"ArgMax", "ArgMin"}) {
      CAPTURE(op);
      const Imported found =
          OneNode{13, {1, 5, 2}, op, {{"axis", 1}, {"keepdims", last ? 1 : 0}, {"select_last_index", last ? 1 : 0}}}
              .import();
      REQUIRE_MESSAGE(found.report.problems.empty(), found.text());
      CHECK(found.graph().shape(found.graph().outputs[0]) == (last ? Shape{1, 1, 2} : Shape{1, 2}));
      CHECK(found.tells("output 'y' holds integers: in the model it is float32"));
      const Floats columns{3, -1, 7, -1, 7, INFINITY, -2, 0, -2, INFINITY};
      const Floats expected =
          op == std::string("ArgMax") ? (last ? Floats{2, 4} : Floats{1, 2}) : (last ? Floats{4, 1} : Floats{3, 0});
      CHECK(test::run_graph(found.graph(), columns) == expected);
    }
  }
  OnnxFile file(13);
  file.input("x", {1, 3}).output("y").node("ArgMax", {"x"}, {"i"}, {{"axis", 1}}).node("Add", {"i", "x"}, {"y"});
  CHECK(test::import_file(file).tells("Add 'Add_node': it computes with integers"));
}

TEST_CASE("onnx: an index has no slope: what only its scores depend on stays as it is in training") {
  OnnxFile file(13);
  file.input("x", {1, 2})
      .output("y")
      .constant("of_index", {3, 2}, {1, 0, 0, 1, 2, 1})
      .constant("of_scores", {3, 2}, {1, 2, -1, 0.5f, 0.25f, 1});
  file.node("Gemm", {"x", "of_index"}, {"s"}, {{"transB", 1}}).node("ArgMax", {"s"}, {"i"}, {{"axis", 1}});
  file.node("Cast", {"i"}, {"f"}, {{"to", 1}}).node("Gemm", {"x", "of_scores"}, {"z"}, {{"transB", 1}});
  const Imported found = test::import_file(file.node("Mul", {"z", "f"}, {"y"}));
  REQUIRE_MESSAGE(found.ok(), found.text());
  TrainOptions options;
  options.batch = 1;
  options.weight_decay = 0.f;
  Trainer trainer = test::make_trainer(found.graph(), options);
  const test::Parameters before = test::parameters_of(trainer);
  const float x[] = {1, 2};  // of_index makes 1, 2 and 4 of it
  const int32_t label = 1;   // far from the answer, so that slopes are large
  REQUIRE(trainer.step(x, &label, 0.1f).ok());
  const test::Parameters after = test::parameters_of(trainer);
  int compared = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const std::string& name = trainer.parameters()[i].name;
    CAPTURE(name);
    if (name == "of_index") CHECK((++compared, test::same_bits(before[i], after[i])));
    if (name == "of_scores") CHECK((++compared, !test::same_bits(before[i], after[i])));
  }
  CHECK(compared == 2);
}

TEST_CASE("onnx: TopK gives the largest elements and their indices, of equal ones the first") {
  const float most = std::numeric_limits<float>::max() / 4;  // what larger ones count as
  struct Row {
    Floats elements, largest, smallest, where_largest, where_smallest;
  };
  const Row rows[] = {{{3, -1, 7, 7, 0}, {7, 7, 3}, {-1, 0, 3}, {2, 3, 0}, {1, 4, 0}},
                      {{-INFINITY, -2, 5, INFINITY, 5}, {most, 5, 5}, {-most, -2, 5}, {3, 2, 4}, {0, 1, 2}}};
  for (const bool largest : {true, false}) {
    CAPTURE(largest);
    OnnxFile file(13);
    file.input("x", {1, 5}).ints("k", {3}).output("values").output("indices");
    file.named("TopK", "top", {"x", "k"}, {"values", "indices"}, "", {{"axis", 1}, {"largest", largest ? 1 : 0}});
    const Imported found = test::import_file(file);
    REQUIRE_MESSAGE(found.report.problems.empty(), found.text());
    CHECK(found.graph().shape(found.graph().outputs[1]) == Shape{1, 3});
    CHECK(found.tells("output 'indices' holds integers"));
    const auto& values = found.graph().values;
    const auto positions = [](const Value& v) { return v.is_constant && v.constant.elements() == 5; };
    CHECK(std::count_if(values.begin(), values.end(), positions) == 1);  // not one in each round
    for (const Row& row : rows) {
      CHECK(test::run_graph(found.graph(), row.elements) == (largest ? row.largest : row.smallest));
      CHECK(test::run_graph(found.graph(), row.elements, 1) == (largest ? row.where_largest : row.where_smallest));
    }
  }
  CHECK(OneNode{13, {1, 4}, "TopK", {}, {"k"}, with(13, "k", {5})}.import().tells("k: expected 1 to 4, found 5"));
  CHECK(OneNode{13, {1, 99}, "TopK", {}, {"k"}, with(13, "k", {65})}.import().tells("k: expected at most 64"));
  check({9, {1, 4}, "TopK", {{"k", 2}}}, {1, 2}, {4, 3});
  check({11, {1, 2, 3}, "Hardmax"}, {1, 2, 3}, {0, 0, 0, 0, 0, 1});
  check({13, {1, 2, 3}, "Hardmax"}, {1, 2, 3}, {0, 0, 1, 0, 0, 1});
}

TEST_CASE("onnx: pools of three dimensions, and with gaps") {
  check({13, {1, 1, 2, 2, 3}, "MaxPool", {{"kernel_shape", List{2, 2, 2}}}}, {1, 1, 1, 1, 2}, {11, 12});
  check({13, {1, 1, 2, 2, 3}, "AveragePool", {{"kernel_shape", List{2, 2, 2}}}}, {1, 1, 1, 1, 2}, {6, 7});
  // Windows of 1 and 3, 2 and 4 of a row, and of the padding in front of it.
  check({19, {1, 1, 4}, "AveragePool", {{"kernel_shape", List{2}}, {"dilations", List{2}}}}, {1, 1, 2}, {2, 3});
  check({19, {1, 1, 4}, "AveragePool", {{"kernel_shape", List{2}}, {"dilations", List{2}}, {"pads", List{1, 0}}}},
        {1, 1, 3}, {2, 2, 3});
  check({19,
         {1, 1, 4},
         "AveragePool",
         {{"kernel_shape", List{2}}, {"dilations", List{2}}, {"pads", List{1, 0}}, {"count_include_pad", 1}}},
        {1, 1, 3}, {1, 2, 3});
  check({13, {1, 1, 4}, "MaxPool", {{"kernel_shape", List{2}}, {"dilations", List{3}}}}, {1, 1, 1}, {4});
}

TEST_CASE("onnx: powers with an exponent for each element") {
  check({13, {1, 4}, "Pow", {}, {"e"}, OnnxFile(13).constant("e", {4}, {3, 0, 2, 5})}, {1, 4}, {1, 1, 9, 1024});
  check({13, {1, 2}, "Pow", {}, {"e"}, OnnxFile(13).constant("e", {2}, {0.5f, -1.5f})}, {1, 2}, {1, 0.3535534f});
  const auto refused = [](const Floats& exponents) {
    return OneNode{13, {1, 2}, "Pow", {}, {"e"}, OnnxFile(13).constant("e", {2}, exponents)}.import();
  };
  CHECK(refused({1, 0.5f}).tells("expected whole numbers alone, or none"));
  CHECK(refused({-1, 2}).tells("expected 0 to 64"));
}

TEST_CASE("onnx: the newer forms of Resize") {
  const auto sized = [](const List& sizes) { return OnnxFile(19).ints("sizes", sizes); };
  check({19, {1, 1, 1, 4}, "Resize", {{"mode", "linear"}, {"antialias", 1}}, {"", "", "sizes"}, sized({1, 1, 1, 2})},
        {1, 1, 1, 2}, {1.625f, 3.375f});
  check({19,
         {1, 1, 2, 4},
         "Resize",
         {{"keep_aspect_ratio_policy", "not_larger"}, {"axes", List{2, 3}}},
         {"", "", "sizes"},
         sized({4, 2})},
        {1, 1, 1, 2}, {1, 3});
  OnnxFile crop = sized({1, 1, 1, 3}).constant("roi", {8}, {0, 0, 0, 0, 1, 1, 1, 2});
  check({19,
         {1, 1, 1, 4},
         "Resize",
         {{"mode", "linear"}, {"coordinate_transformation_mode", "tf_crop_and_resize"}, {"extrapolation_value", 10.f}},
         {"roi", "", "sizes"},
         crop},
        {1, 1, 1, 3}, {1, 4, 10});
  OnnxFile bad = sized({1, 1, 1, 3}).constant("roi", {8}, {0, 0, 0, 0, 1, 1, 1, NAN});
  CHECK(OneNode{
      19, {1, 1, 1, 4}, "Resize", {{"coordinate_transformation_mode", "tf_crop_and_resize"}}, {"roi", "", "sizes"}, bad}
            .import()
            .tells("roi: expected -10000 to 10000"));
}

// (x - mean) / sqrt(variance + epsilon) over the last `axes` as exporters write it before opset 17.
Imported spelled_out(const List& shape, const List& axes, const List& parameters, bool by_product) {
  OnnxFile file(13);
  const auto count = static_cast<size_t>(element_count(parameters));
  file.input("x", shape).output("y").constant("eps", {}, {0.5f}).constant("two", {}, {2.f});
  file.constant("scale", parameters, Floats(count, 2.f)).constant("shift", parameters, Floats(count, 10.f));
  file.node("ReduceMean", {"x"}, {"m"}, {{"axes", axes}}).node("Sub", {"x", "m"}, {"d"});
  file.node("Pow", {"d", "two"}, {"q"}).node("ReduceMean", {"q"}, {"v"}, {{"axes", axes}});
  file.node("Add", {"v", "eps"}, {"e"}).node("Sqrt", {"e"}, {"r"});
  if (by_product) {
    file.node("Reciprocal", {"r"}, {"i"}).node("Mul", {"d", "i"}, {"n"});
  } else {
    file.node("Div", {"d", "r"}, {"n"});
  }
  return test::import_file(file.node("Mul", {"n", "scale"}, {"s"}).node("Add", {"s", "shift"}, {"y"}));
}

TEST_CASE("onnx: LayerNorm written as arithmetic becomes one op, with its scale and shift") {
  struct Form {
    List shape, axes, parameters;
  };
  for (const Form& form : {Form{{1, 2}, {1}, {2}}, Form{{1, 1, 2}, {-1}, {2}}, Form{{1, 1, 1, 2}, {3}, {1, 2}},
                           Form{{1, 2, 1, 1}, {1}, {2, 1, 1}}, Form{{1, 1, 2, 1}, {2, 3}, {2, 1}}}) {
    for (const bool by_product : {false, true}) {
      CAPTURE(to_string(form.shape));
      Imported found = spelled_out(form.shape, form.axes, form.parameters, by_product);
      REQUIRE_MESSAGE(found.report.problems.empty(), found.text());
      CHECK(found.count(Op::kLayerNorm) == 1);
      CHECK(found.count(Op::kSub) + found.count(Op::kMul) + found.count(Op::kAdd) + found.count(Op::kPow) == 0);
      const Floats y = test::run_graph(found.graph(), {1, 3});  // variance 1, so over the root of 1.5
      CHECK(y[0] == doctest::Approx(10 - 2 / std::sqrt(1.5)));
      CHECK(y[1] == doctest::Approx(10 + 2 / std::sqrt(1.5)));
      CHECK(found.model.graph.set_batch(2).ok());
    }
  }
}

TEST_CASE("onnx: statistics of LayerNormalization as outputs") {
  OnnxFile file(17);
  file.input("x", {1, 2}).output("y").output("mean").output("inverse").constant("s", {2}, {1, 1});
  file.node("LayerNormalization", {"x", "s"}, {"y", "mean", "inverse"}, {{"epsilon", 0.f}});
  const Imported found = test::import_file(file);
  REQUIRE_MESSAGE(found.report.problems.empty(), found.text());
  CHECK(test::run_graph(found.graph(), {1, 5}, 1) == Floats{3});
  CHECK(test::run_graph(found.graph(), {1, 5}, 2)[0] == doctest::Approx(0.5));
}

TEST_CASE("onnx: operators that are a few ops") {
  check({13, {1, 2}, "Mean", {}, {"x"}}, {1, 2}, {1, 2});
  check({24, {1, 2}, "Swish", {{"alpha", 2.f}}}, {1, 2}, {0.8807971f, 1.9640276f});
  check({13, {1, 2}, "ReduceLogSum", {{"axes", List{1}}}}, {1, 1}, {1.0986123f});
  check({13, {1, 2}, "ReduceLogSumExp", {{"axes", List{1}}}}, {1, 1}, {2.3132617f});
  check({23, {1, 2}, "RMSNormalization", {{"epsilon", 0.f}}, {"s"}, OnnxFile(23).constant("s", {2}, {1, 2})}, {1, 2},
        {0.6324555f, 2.5298221f});
  check({28, {1, 1, 2, 2}, "SpaceToDepth", {{"blocksize", 2}, {"mode", "CRD"}}}, {1, 4, 1, 1}, {1, 2, 3, 4});
  check({13, {1, 2}, "Clip", {}, {"low", "high"}, OnnxFile(13).constant("low", {}, {5}).constant("high", {}, {1.5f})},
        {1, 2}, {1.5f, 1.5f});
}

TEST_CASE("onnx: all elements of a flattened value in their order") {
  OnnxFile file(13);
  file.input("x", {1, 2, 2}).output("y").ints("flat", {-1}).integers("all", {1, 4}, {0, 1, 2, 3});
  file.node("Reshape", {"x", "flat"}, {"f"}).node("Gather", {"f", "all"}, {"y"});
  Imported found = test::import_file(file);
  REQUIRE_MESSAGE(found.report.problems.empty(), found.text());
  CHECK(test::run_graph(found.graph(), {1, 2, 3, 4}) == Floats{1, 2, 3, 4});
  CHECK(found.model.graph.set_batch(2).ok());
  CHECK(found.graph().shape(found.graph().outputs[0]) == Shape{2, 4});
}

TEST_CASE("onnx: Einsum is matrix products, sums and a transposition") {
  const auto einsum = [](const char* equation, const std::vector<std::string>& more, const Shape& shape,
                         const Floats& expected) {
    CAPTURE(equation);
    check({13, {1, 2, 2}, "Einsum", {{"equation", equation}}, more, OnnxFile(13).constant("w", {2, 2}, {1, 0, 1, 1})},
          shape, expected);
  };
  einsum("bij,jk->bik", {"w"}, {1, 2, 2}, {3, 2, 7, 4});
  einsum("b i j, j k", {"w"}, {1, 2, 2}, {3, 2, 7, 4});
  einsum("bij,bkj->bik", {"x"}, {1, 2, 2}, {5, 11, 11, 25});
  einsum("...ij,...jk->...ik", {"x"}, {1, 2, 2}, {7, 10, 15, 22});
  einsum("bij->bji", {}, {1, 2, 2}, {1, 3, 2, 4});
  einsum("bij->bj", {}, {1, 2}, {4, 6});
  einsum("bij,kl->b", {"w"}, {1}, {30});
  einsum("bij,jk,bil->bkl", {"w", "x"}, {1, 2, 2}, {3 * 1 + 7 * 3, 3 * 2 + 7 * 4, 2 * 1 + 4 * 3, 2 * 2 + 4 * 4});
  const auto refused = [](const char* equation) {
    return OneNode{13, {1, 2, 2}, "Einsum", {{"equation", equation}}}.import();
  };
  CHECK(refused("bij->ij").tells("sums over the batch"));
  CHECK(refused("bii->bi").tells("an index twice"));
  CHECK(refused("bij->bik").tells("the result's indices"));
  CHECK(refused("bij,bjk->bik").tells("expected 1 operands, found 2"));
  CHECK(refused("b.ij->bij").tells("expected 3 indices"));
}

TEST_CASE("onnx: what is not supported says what to do") {
  CHECK(OneNode{13, {1, 4}, "Unique"}.import().tells("--outputs"));
  CHECK(OneNode{13, {1, 4}, "RandomNormalLike"}.import().tells("export the network in evaluation mode"));
  CHECK(OneNode{13, {1, 4}, "Floor"}.import().tells("only where all that it reads is constant"));
}

}  // namespace
}  // namespace sparsenet::converter
