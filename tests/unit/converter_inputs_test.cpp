// Which part of an ONNX graph is converted, in which order, and what becomes of the images that it reads.
#include <doctest/doctest.h>

#include <algorithm>

#include "converter/image_input.h"
#include "support/imported.h"

namespace sparsenet::converter {
namespace {

using test::Imported;
using test::OnnxFile;
using List = std::vector<int64_t>;

Imported settled(const OnnxFile& file, const GraphOptions& options = {}) {
  Imported out = test::import_file(file, options);
  if (out.report.problems.empty()) settle_image_input(&out.model, &out.report);
  return out;
}

Imported converted(const OnnxFile& file, const GraphOptions& options = {}) {
  Imported out = settled(file, options);
  REQUIRE_MESSAGE(out.report.problems.empty(), out.text());
  return out;
}

TEST_CASE("onnx: nodes may be in any order, but not in a cycle") {
  OnnxFile file(13);
  file.input("x", {1, 4}).output("y").named("Relu", "second", {"a"}, {"y"}).named("Flatten", "first", {"x"}, {"a"});
  CHECK(converted(file).count(Op::kRelu) == 1);
  OnnxFile cycle(13);
  cycle.input("x", {1, 4}).output("y").named("Add", "one", {"x", "b"}, {"a"}).named("Relu", "two", {"a"}, {"b"});
  CHECK(settled(cycle.named("Tanh", "behind", {"b"}, {"y"})).tells("it depends on its own output"));
  OnnxFile nothing(13);
  nothing.input("x", {1, 4}).output("y").named("Add", "one", {"x", "b"}, {"y"});
  CHECK(settled(nothing).tells("Add 'one': input 'b' is made by no node"));
}

OnnxFile two_heads() {
  OnnxFile file(13);
  file.input("x", {1, 4}).output("y").output("label").named("Relu", "a", {"x"}, {"y"});
  return file.named("NoSuchOperator", "of labels", {"y"}, {"label"});
}

TEST_CASE("onnx: --outputs chooses what is computed; nothing else is looked at") {
  const Imported all = settled(two_heads());
  CHECK(all.tells("NoSuchOperator 'of labels': this operator is not supported"));
  CHECK(all.tells("--outputs y leaves them out"));
  const Imported one = converted(two_heads(), {{"y"}, {}});
  CHECK(one.graph().outputs.size() == 1);
  CHECK(one.graph().value(one.graph().outputs[0]).name == "y");
  CHECK(settled(two_heads(), {{"z"}, {}}).tells("--outputs: no node of the file makes 'z'; its outputs are y, label"));
  SUBCASE("values inside the network, in any order; inputs that they do not need are left out") {
    OnnxFile file(13);
    file.input("x", {1, 4}).input("text", {1, 4}, OnnxFile::kString).output("y");
    file.named("Relu", "a", {"x"}, {"inside"}).named("NoSuchOperator", "b", {"inside", "text"}, {"c"});
    file.named("Tanh", "t", {"inside"}, {"d"}).named("Add", "e", {"c", "d"}, {"y"});
    const Imported inner = converted(file, {{"d", "inside"}, {}});
    CHECK(inner.graph().inputs.size() == 1);
    REQUIRE(inner.graph().outputs.size() == 2);
    CHECK(inner.graph().value(inner.graph().outputs[0]).name == "d");
  }
  SUBCASE("a node that nothing reads") {
    OnnxFile file(13);
    file.input("x", {1, 4}).output("y").named("Relu", "a", {"x"}, {"y"}).named("NoSuchOperator", "b", {"y"}, {"c"});
    CHECK(converted(file).graph().nodes.size() == 1);
  }
}

TEST_CASE("onnx: sizes that the file leaves open are given by --input-shape, which the message spells out") {
  OnnxFile file(13);
  file.constant("w", {1, 3, 1, 1}, {1, 1, 1}).input("x", {0, 3, 0, 0}).output("y").node("Conv", {"x", "w"}, {"y"});
  CHECK(
      settled(file).tells("input 'x': its shape [?, 3, ?, ?] leaves sizes open; only the batch may be: give them, for "
                          "example --input-shape x=1,3,224,224"));
  const Imported given = converted(file, {{}, {{"x", {4, 3, 48, 192}}}});
  CHECK(given.graph().shape(given.graph().inputs[0]) == Shape{1, 3, 48, 192});  // the batch may be set later
  CHECK(settled(file, {{}, {{"x", {1, 4, 48, 48}}}}).tells("--input-shape: the file has the shape [?, 3, ?, ?]"));
  CHECK(settled(file, {{}, {{"z", {1, 3, 48, 48}}}}).tells("--input-shape: the file has no input 'z'; it has x"));
  CHECK(parse_input_shape("a=b=1,3,4")->first == "a=b");
  CHECK(parse_input_shape("a=b=1,3,4")->second == Shape{1, 3, 4});
  for (const char* wrong : {"x", "x=", "=1,2", "x=1,,2", "x=1,2,", "x=0,1", "x=-1", "x=1e3", "x=1,1,1,1,1,1,1,1,1"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_input_shape(wrong).ok());
  }
}

// A 1 x 1 convolution of three channels with the weights 1, 10, 100.
OnnxFile with_convolution(int64_t opset = 13) {
  OnnxFile file(opset);
  file.constant("w", {1, 3, 1, 1}, {1, 10, 100}).output("y");
  return file;
}

TEST_CASE("onnx: an input of bytes") {
  OnnxFile file = with_convolution();
  file.input("x", {1, 3, 1, 2}, OnnxFile::kUInt8)
      .constant("s", {}, {255})
      .constant("m", {3, 1, 1}, {0.5f, 0.5f, 0.25f});
  SUBCASE("with the normalisation inside takes pixels as they are") {
    file.node("Cast", {"x"}, {"f"}, {{"to", 1}}).node("Div", {"f", "s"}, {"d"}).node("Sub", {"d", "m"}, {"n"});
    const Imported imported = converted(file.node("Conv", {"n", "w"}, {"y"}));
    CHECK(imported.model.metadata.mean == std::vector<float>{0, 0, 0});
    CHECK(imported.model.metadata.std_dev == std::vector<float>{1, 1, 1});
    CHECK(imported.report.normalises_itself);
    CHECK(imported.tells("with mean 127.5,127.5,63.75 and std 255,255,255"));
    CHECK(test::run_graph(imported.graph(), {255, 0, 0, 255, 0, 0})[0] == doctest::Approx(0.5 - 5 - 25));
  }
  SUBCASE("may be moved before it is cast, but not computed with") {
    file.node("Transpose", {"x"}, {"t"}, {{"perm", List{0, 1, 3, 2}}}).node("Cast", {"t"}, {"f"}, {{"to", 1}});
    CHECK(converted(OnnxFile(file).node("Conv", {"f", "w"}, {"y"})).model.metadata.std_dev.size() == 3);
    CHECK(settled(file.node("Add", {"t", "t"}, {"y"})).tells("it computes with integers of the input"));
  }
}

TEST_CASE("onnx: normalisation inside a network of floats tells which pixels it takes") {
  const auto std_of = [](const std::vector<float>& mean, const std::vector<float>& std_dev) {
    OnnxFile file = with_convolution();
    file.input("x", {1, 3, 1, 1}).constant("m", {1, 3, 1, 1}, mean).constant("s", {1, 3, 1, 1}, std_dev);
    file.node("Sub", {"x", "m"}, {"a"}).node("Div", {"a", "s"}, {"n"}).node("Conv", {"n", "w"}, {"y"});
    return converted(file).model.metadata.std_dev;
  };
  CHECK(std_of({123.7f, 116.3f, 103.5f}, {58.4f, 57.1f, 57.4f}) == std::vector<float>{1, 1, 1});
  CHECK(std_of({0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}) == std::vector<float>{255, 255, 255});
  CHECK(std_of({5, 5, 5}, {0.5f, 0.5f, 0.5f}).empty());  // no usual form
}

TEST_CASE("onnx: images [N, H, W, C] that are transposed at once become [N, C, H, W]") {
  OnnxFile file = with_convolution();
  file.input("x", {1, 1, 2, 3});
  SUBCASE("at once") {
    file.node("Transpose", {"x"}, {"t"}, {{"perm", List{0, 3, 1, 2}}}).node("Conv", {"t", "w"}, {"y"});
  }
  SUBCASE("behind arithmetic and a slice") {
    file.constant("shift", {3}, {0, 0, 0}).constant("one", {}, {1}).node("Sub", {"x", "shift"}, {"a"});
    file.node("Mul", {"a", "one"}, {"b"}).node("Transpose", {"b"}, {"t"}, {{"perm", List{0, 3, 1, 2}}});
    file.node("Conv", {"t", "w"}, {"y"});
  }
  const Imported imported = converted(file);
  CHECK(imported.graph().shape(imported.graph().inputs[0]) == Shape{1, 3, 1, 2});
  CHECK(imported.count(Op::kTranspose) == 0);
  CHECK(imported.tells("images [N, H, W, C] = [1, 1, 2, 3] become [N, C, H, W]"));
  CHECK(test::run_graph(imported.graph(), {1, 2, 3, 4, 5, 6}) == std::vector<float>{1 + 30 + 500, 2 + 40 + 600});
}

TEST_CASE("onnx: images [N, H, W, C] whose channels are reversed and centred before they are transposed") {
  OnnxFile file = with_convolution();
  file.input("x", {1, 1, 2, 3}).integers("last", {1}, {-1}).integers("far", {1}, {-100}).integers("axis", {1}, {3});
  file.constant("m", {3}, {1, 2, 3}).node("Slice", {"x", "last", "far", "axis", "last"}, {"r"});
  file.node("Sub", {"r", "m"}, {"n"}).node("Transpose", {"n"}, {"t"}, {{"perm", List{0, 3, 1, 2}}});
  const Imported imported = converted(file.node("Conv", {"t", "w"}, {"y"}));
  CHECK(imported.graph().shape(imported.graph().inputs[0]) == Shape{1, 3, 1, 2});
  CHECK(imported.graph().nodes.size() == 2);  // Sub and Conv
  CHECK(test::run_graph(imported.graph(), {5, 0, 6, 0, 7, 0})[0] == (7 - 1) + 10 * (6 - 2) + 100 * (5 - 3));
}

TEST_CASE("onnx: images [N, H, W, C] that something else reads stay as they are") {
  OnnxFile file = with_convolution();
  file.input("x", {1, 1, 2, 3}).output("z").node("Transpose", {"x"}, {"t"}, {{"perm", List{0, 3, 1, 2}}});
  file.node("Conv", {"t", "w"}, {"y"}).node("Flatten", {"x"}, {"z"});
  const Imported imported = converted(file);
  CHECK(imported.graph().shape(imported.graph().inputs[0]) == Shape{1, 1, 2, 3});
}

TEST_CASE("onnx: channels in another order are folded into the first convolution") {
  OnnxFile file = with_convolution();
  file.input("x", {1, 3, 1, 1})
      .integers("reversed", {3}, {2, 1, 0})
      .integers("last", {1}, {-1})
      .integers("one", {1}, {1});
  file.integers("far", {1}, {-100});
  SUBCASE("Gather") {
    file.node("Gather", {"x", "reversed"}, {"r"}, {{"axis", 1}}).node("Conv", {"r", "w"}, {"y"});
  }
  SUBCASE("Slice backwards") {
    file.node("Slice", {"x", "last", "far", "one", "last"}, {"r"}).node("Conv", {"r", "w"}, {"y"});
  }
  SUBCASE("Split and Concat") {
    file.node("Split", {"x"}, {"a", "b", "c"}, {{"axis", 1}}).node("Concat", {"c", "b", "a"}, {"r"}, {{"axis", 1}});
    file.node("Conv", {"r", "w"}, {"y"});
  }
  SUBCASE("with numbers per channel in between") {
    file.constant("m", {3, 1, 1}, {0, 0, 0}).node("Gather", {"x", "reversed"}, {"r"}, {{"axis", 1}});
    file.node("Sub", {"r", "m"}, {"n"}).node("Conv", {"n", "w"}, {"y"});
  }
  const Imported imported = converted(file);
  CHECK(imported.count(Op::kConcat) == 0);
  CHECK(imported.count(Op::kSlice) == 0);
  CHECK(imported.count(Op::kSplit) == 0);
  CHECK(test::run_graph(imported.graph(), {1, 2, 3}) == std::vector<float>{100 + 20 + 3});
}

TEST_CASE("onnx: numbers per channel follow the order of the channels") {
  OnnxFile file = with_convolution();
  file.input("x", {1, 3, 1, 1}).integers("turned", {3}, {1, 2, 0}).constant("m", {3, 1, 1}, {1, 2, 3});
  file.node("Gather", {"x", "turned"}, {"r"}, {{"axis", 1}}).node("Sub", {"r", "m"}, {"n"});
  const Imported imported = converted(file.node("Conv", {"n", "w"}, {"y"}));
  CHECK(imported.count(Op::kSlice) == 0);
  CHECK(test::run_graph(imported.graph(), {7, 8, 9}) == std::vector<float>{(8 - 1) + 10 * (9 - 2) + 100 * (7 - 3)});
}

TEST_CASE("onnx: picked elements that are no image's channels") {
  OnnxFile file(13);
  file.input("x", {1, 4})
      .output("y")
      .integers("order", {4}, {3, 0, 1, 1})
      .node("Gather", {"x", "order"}, {"y"}, {{"axis", 1}});
  CHECK(test::run_graph(converted(file).graph(), {1, 2, 3, 4}) == std::vector<float>{4, 1, 2, 2});
  OnnxFile scalar(13);
  scalar.input("x", {1, 2, 3}).output("y").integers("i", {}, {1}).node("Gather", {"x", "i"}, {"y"}, {{"axis", 2}});
  const Imported one = converted(scalar);
  CHECK(one.graph().shape(one.graph().outputs[0]) == Shape{1, 2});
  CHECK(test::run_graph(one.graph(), {1, 2, 3, 4, 5, 6}) == std::vector<float>{2, 5});
  OnnxFile batch(13);
  batch.input("x", {1, 2, 3}).output("y").integers("i", {}, {0}).node("Gather", {"x", "i"}, {"y"});
  CHECK(settled(batch).tells("picks images of the batch"));
}

TEST_CASE("onnx: opset 6 broadcasts along a stated axis and says whether it trains") {
  OnnxFile file = with_convolution(6);
  file.input("x", {1, 3, 1, 1})
      .constant("m", {3}, {1, 2, 3})
      .constant("v", {3}, {1, 1, 1})
      .constant("zero", {3}, {0, 0, 0});
  SUBCASE("an operand per channel") {
    file.node("Mul", {"x", "m"}, {"n"}, {{"broadcast", 1}, {"axis", 1}}).node("Conv", {"n", "w"}, {"y"});
    CHECK(test::run_graph(converted(file).graph(), {1, 1, 1}) == std::vector<float>{1 + 20 + 300});
  }
  SUBCASE("shapes that differ without broadcast") {
    CHECK(settled(file.node("Mul", {"x", "m"}, {"y"})).tells("without broadcast expected equal shapes"));
  }
  SUBCASE("training mode") {
    const std::vector<std::string> inputs{"x", "v", "zero", "m", "v"};
    CHECK(settled(OnnxFile(file).node("BatchNormalization", inputs, {"y"})).tells("is_test 0 means training mode"));
    const Imported test = converted(OnnxFile(file).node("BatchNormalization", inputs, {"y"}, {{"is_test", 1}}));
    CHECK(test::run_graph(test.graph(), {1, 1, 1})[2] == doctest::Approx(-2));
  }
}

TEST_CASE("onnx: opset 28 is read") {
  OnnxFile file = with_convolution(28);
  file.input("x", {1, 3, 1, 1}).node("Conv", {"x", "w"}, {"y"});
  CHECK(test::run_graph(converted(file).graph(), {1, 1, 1}) == std::vector<float>{111});
  OnnxFile later(99);
  later.input("x", {1, 3}).output("y").node("Relu", {"x"}, {"y"});
  CHECK(settled(later).tells("opset: expected 6 to 28, found 99"));
}

}  // namespace
}  // namespace sparsenet::converter
