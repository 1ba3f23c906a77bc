// ONNX operators that are written as several ops: what they must not mix, what they refuse, and how the batch stays
// free. That they compute the right result is tested in converter_goldens_test.
#include <doctest/doctest.h>

#include <algorithm>

#include "converter/convert.h"
#include "converter/importers.h"
#include "support/imported.h"
#include "support/reference.h"

namespace sparsenet::converter {
namespace {

using test::import_file;
using test::Imported;
using test::OnnxFile;

// One node on an input [1, 4, 6, 6]; `more` are the names of its other inputs.
OnnxFile one_node(int64_t opset, const std::string& op, const std::vector<OnnxFile::Attribute>& attributes,
                  std::vector<std::string> more = {}) {
  OnnxFile file(opset);
  more.insert(more.begin(), "x");
  file.input("x", {1, 4, 6, 6}).output("y").ints("zero", {0}).ints("pads", {0, 0, 0, 0, 1, 0, 0, 0});
  file.ints("twice", {2, 1, 1, 1}).ints("seven", {7}).ints("huge", {1, 4, 6, int64_t{1} << 60});
  file.named(op, "node", more, {"y"}, "", attributes);
  return file;
}

TEST_CASE("composed: what would mix the images of a batch is refused") {
  const auto refused = [](const OnnxFile& file, const char* why) {
    const Imported found = import_file(file);
    CAPTURE(found.first_problem());
    CHECK(found.first_problem().find(why) != std::string::npos);
    CHECK(found.first_problem().find("'node'") != std::string::npos);
  };
  for (const char* op : {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"}) {
    refused(one_node(11, op, {{"axes", std::vector<int64_t>{0, 2}}}), "over the batch");
  }
  refused(one_node(13, "ReduceSum", {}), "over the batch");
  refused(one_node(13, "Softmax", {{"axis", 0}}), "is the batch");
  refused(one_node(13, "LogSoftmax", {{"axis", 0}}), "over the batch");
  refused(one_node(17, "LayerNormalization", {{"axis", 0}}, {"x"}), "the batch");
  refused(one_node(13, "Gather", {{"axis", 0}}, {"zero"}), "picks images of the batch");
  refused(one_node(13, "Pad", {}, {"pads"}), "pads the batch");
  refused(one_node(13, "Tile", {}, {"twice"}), "repeats the batch");
}

TEST_CASE("composed: what is out of range is refused") {
  const auto problem = [](const OnnxFile& file) { return import_file(file).first_problem(); };
  CHECK(problem(one_node(13, "Gather", {{"axis", 1}}, {"seven"})).find("expected -4 to 3, found 7") !=
        std::string::npos);
  CHECK(problem(one_node(13, "Expand", {}, {"huge"})).find("shape") != std::string::npos);
  CHECK(problem(one_node(13, "DepthToSpace", {{"blocksize", 3}})).find("blocksize") != std::string::npos);
  CHECK(problem(one_node(13, "SpaceToDepth", {{"blocksize", 0}})).find("blocksize") != std::string::npos);
  CHECK(problem(one_node(13, "LRN", {{"size", 9}})).find("size") != std::string::npos);
  CHECK(problem(one_node(18, "GroupNormalization", {{"num_groups", 3}}, {"x", "x"})).find("num_groups") !=
        std::string::npos);
  CHECK(problem(one_node(13, "Resize", {}, {"", "", "huge"})).find("size of dimension 3") != std::string::npos);
}

TEST_CASE("composed: the batch stays free, also behind Transpose and Reshape") {
  OnnxFile file(13);
  file.input("x", {1, 6, 4}).output("y").ints("to heads", {1, 6, 2, 2}).ints("first", {0}).ints("back", {1, 6, 4});
  file.zeros("w", {4, 3});
  file.named("Reshape", "split", {"x", "to heads"}, {"a"});
  file.named("Transpose", "heads first", {"a"}, {"b"}, "", {{"perm", std::vector<int64_t>{2, 0, 1, 3}}});
  file.named("Exp", "exp", {"b"}, {"c"}).named("Log", "log", {"c"}, {"d"});
  file.named("Transpose", "heads last", {"d"}, {"e"}, "", {{"perm", std::vector<int64_t>{1, 2, 0, 3}}});
  file.named("Reshape", "join", {"e", "back"}, {"f"}).named("MatMul", "layer", {"f", "w"}, {"y"});
  Imported found = import_file(file);
  REQUIRE_MESSAGE(found.ok(), found.first_problem());
  CHECK(found.count(Op::kFullyConnected) > 0);
  const Status status = found.model.graph.set_batch(3);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(found.graph().shape(found.graph().outputs[0]) == Shape{3, 6, 3});
}

TEST_CASE("composed: a matrix product over the channels of transposed images is a convolution") {
  OnnxFile file(13);
  file.input("x", {1, 4, 6, 6}).output("y").zeros("w", {4, 3}).zeros("bias", {3});
  file.named("Relu", "front", {"x"}, {"a"});
  file.named("Transpose", "channels last", {"a"}, {"b"}, "", {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
  file.named("MatMul", "layer", {"b", "w"}, {"c"}).named("Add", "bias of it", {"c", "bias"}, {"d"});
  file.named("Relu", "behind", {"d"}, {"e"});
  file.named("Transpose", "channels first", {"e"}, {"y"}, "", {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  const Imported found = import_file(file);
  REQUIRE_MESSAGE(found.ok(), found.first_problem());
  CHECK(found.count(Op::kConv) > 0);
  CHECK(found.count(Op::kTranspose) == 0);
  CHECK(found.count(Op::kAdd) == 0);
}

}  // namespace
}  // namespace sparsenet::converter
