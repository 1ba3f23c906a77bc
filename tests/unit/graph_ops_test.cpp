// Shape rules of every op: what they infer, and that violating a rule is rejected with a message that names the node,
// what was expected and what was found.
#include <doctest/doctest.h>
#include <sparsenet/graph.h>

#include <limits>

#include "support/graph_maker.h"

using namespace sparsenet;
using sparsenet::test::GraphMaker;
using sparsenet::test::Random;

namespace {

// A graph of one node on inputs and constants of given shapes; set `attrs` anew to break one rule at a time.
struct OneNode {
  Op op = Op::kIdentity;
  std::vector<Shape> inputs;     // graph inputs come first
  std::vector<Shape> constants;  // then the node's constants; an empty shape means an absent one
  Attrs attrs = NoAttrs{};
  size_t outputs = 1;

  Graph graph() const {
    Graph g;
    std::vector<ValueId> operands;
    for (size_t i = 0; i < inputs.size(); ++i) operands.push_back(g.add_input("x" + std::to_string(i), inputs[i]));
    for (size_t i = 0; i < constants.size(); ++i) {
      operands.push_back(
          constants[i].empty() ? kNoValue : g.add_constant("c" + std::to_string(i), Tensor::filled(constants[i], 1)));
    }
    std::vector<std::string> names;
    for (size_t i = 0; i < outputs; ++i) names.push_back("y" + std::to_string(i));
    g.outputs = g.add_node_multi(op, "the-node", operands, attrs, names);
    return g;
  }
};

Shape inferred(const OneNode& node, size_t output = 0) {
  Graph g = node.graph();
  const Status status = g.infer_shapes();
  CHECK_MESSAGE(status.ok(), status.message());
  return status.ok() ? g.shape(g.outputs[output]) : Shape{};
}

// The message of a rejection. Each names the node and is one line long.
std::string refusal(const OneNode& node) {
  Graph g = node.graph();
  const Status status = g.infer_shapes();
  CHECK(status.code() == StatusCode::kInvalidModel);
  CHECK(status.message().find("'the-node'") != std::string::npos);
  CHECK(status.message().find('\n') == std::string::npos);
  return status.message();
}

bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE("'" << part << "' is not in '" << text << "'");
  return found;
}

ConvAttrs conv_attrs(int32_t kh, int32_t kw) {
  ConvAttrs a;
  a.kernel = {kh, kw};
  return a;
}

}  // namespace

TEST_CASE("Conv: output size from kernel, stride, dilation and asymmetric padding") {
  ConvAttrs a = conv_attrs(3, 5);
  a.stride = {2, 1};
  a.dilation = {1, 2};
  a.pads = {1, 0, 2, 3};
  const OneNode node{Op::kConv, {{2, 6, 11, 13}}, {{4, 3, 3, 5}, {4}}, [&] {
                       a.groups = 2;
                       return a;
                     }()};
  // (11 + 3 - 3) / 2 + 1 = 6; (13 + 3 - 9) / 1 + 1 = 8
  CHECK(inferred(node) == Shape{2, 4, 6, 8});
}

TEST_CASE("Conv: each broken rule is refused") {
  const OneNode good{Op::kConv, {{1, 4, 8, 8}}, {{6, 4, 3, 3}, {6}}, conv_attrs(3, 3)};
  CHECK(inferred(good) == Shape{1, 6, 6, 6});
  OneNode bad = good;
  SUBCASE("rank of the input") {
    bad.inputs[0] = {1, 4, 8};
    CHECK(contains(refusal(bad), "input: expected rank 4, found [1, 4, 8]"));
  }
  SUBCASE("rank of the weight") {
    bad.constants[0] = {6, 4};
    CHECK(contains(refusal(bad), "weight: expected rank 4, found [6, 4]"));
  }
  SUBCASE("kernel unlike the weight's") {
    bad.attrs = conv_attrs(3, 1);
    CHECK(contains(refusal(bad), "expected kernel 3x1, found [6, 4, 3, 3]"));
  }
  SUBCASE("input channels") {
    bad.constants[0] = {6, 5, 3, 3};
    CHECK(contains(refusal(bad), "expected 4 input channels per group, found [6, 5, 3, 3]"));
  }
  SUBCASE("groups that do not divide") {
    ConvAttrs a = conv_attrs(3, 3);
    a.groups = 3;
    bad.attrs = a;
    CHECK(contains(refusal(bad), "groups: expected a divisor of 4 input and 6 output channels, found 3"));
  }
  SUBCASE("no groups at all") {
    ConvAttrs a = conv_attrs(3, 3);
    a.groups = 0;
    bad.attrs = a;
    CHECK(contains(refusal(bad), "found 0"));
  }
  SUBCASE("bias size") {
    bad.constants[1] = {5};
    CHECK(contains(refusal(bad), "bias: expected [6], found [5]"));
  }
  SUBCASE("window larger than the padded image") {
    bad.inputs[0] = {1, 4, 8, 2};
    CHECK(contains(refusal(bad), "at least 3 rows and columns with padding, found [1, 4, 8, 2]"));
  }
  SUBCASE("stride 0") {
    ConvAttrs a = conv_attrs(3, 3);
    a.stride = {1, 0};
    bad.attrs = a;
    CHECK(contains(refusal(bad), "stride: expected 1 to"));
  }
  SUBCASE("dilation 0") {
    ConvAttrs a = conv_attrs(3, 3);
    a.dilation = {0, 1};
    bad.attrs = a;
    CHECK(contains(refusal(bad), "dilation: expected 1 to"));
  }
  SUBCASE("negative padding") {
    ConvAttrs a = conv_attrs(3, 3);
    a.pads = {0, 0, -1, 0};
    bad.attrs = a;
    CHECK(contains(refusal(bad), "padding: expected 0 to"));
  }
  SUBCASE("padding beyond reason") {
    ConvAttrs a = conv_attrs(3, 3);
    a.pads = {std::numeric_limits<int32_t>::max(), 0, 0, 0};
    bad.attrs = a;
    CHECK(contains(refusal(bad), "padding"));
  }
  SUBCASE("residual of another shape") {
    bad.constants.push_back({1, 6, 8, 8});
    CHECK(contains(refusal(bad), "residual: expected [1, 6, 6, 6], found [1, 6, 8, 8]"));
  }
  SUBCASE("weight missing") {
    bad.constants = {};
    CHECK(contains(refusal(bad), "inputs, found 1"));
  }
  SUBCASE("weight absent") {
    bad.constants[0] = {};
    CHECK(contains(refusal(bad), "input 1 is required but absent"));
  }
  SUBCASE("attributes of another op") {
    bad.attrs = PoolAttrs{};
    CHECK(contains(refusal(bad), "attributes of another op"));
  }
  SUBCASE("two outputs") {
    bad.outputs = 2;
    CHECK(contains(refusal(bad), "expected 1 output, found 2"));
  }
}

TEST_CASE("FullyConnected") {
  const OneNode good{Op::kFullyConnected, {{3, 8}}, {{5, 8}, {5}}, FullyConnectedAttrs{}};
  CHECK(inferred(good) == Shape{3, 5});
  OneNode bad = good;
  SUBCASE("an image") {
    bad.inputs[0] = {3, 8, 1, 1};
    CHECK(contains(refusal(bad), "input: expected rank 2, found [3, 8, 1, 1]"));
  }
  SUBCASE("columns") {
    bad.constants[0] = {5, 9};
    CHECK(contains(refusal(bad), "weight: expected 8 columns, found [5, 9]"));
  }
  SUBCASE("bias") {
    bad.constants[1] = {1, 5};
    CHECK(contains(refusal(bad), "bias: expected [5], found [1, 5]"));
  }
}

TEST_CASE("BatchNorm") {
  const OneNode good{Op::kBatchNorm, {{2, 7, 3, 3}}, {{7}, {7}, {7}, {7}}, BatchNormAttrs{}};
  CHECK(inferred(good) == Shape{2, 7, 3, 3});
  OneNode bad = good;
  static const char* const kNames[] = {"scale", "shift", "mean", "variance"};
  for (size_t i = 0; i < 4; ++i) {
    bad = good;
    bad.constants[i] = {6};
    CHECK(contains(refusal(bad), std::string(kNames[i]) + ": expected [7], found [6]"));
    bad.constants[i] = {};
    CHECK(contains(refusal(bad), "required but absent"));
  }
  bad = good;
  bad.attrs = BatchNormAttrs{-1e-5f};
  CHECK(contains(refusal(bad), "epsilon: expected 0 to 1000"));
  bad.attrs = BatchNormAttrs{std::numeric_limits<float>::quiet_NaN()};
  CHECK(contains(refusal(bad), "epsilon"));
  bad = good;
  bad.inputs[0] = {2};
  CHECK(contains(refusal(bad), "rank 2 or more"));
}

TEST_CASE("Elementwise ops keep the shape and check their attributes") {
  for (Op op : {Op::kRelu, Op::kSigmoid, Op::kHardSwish, Op::kTanh, Op::kGelu, Op::kIdentity}) {
    CHECK(inferred({op, {{2, 3, 4, 5}}, {}, NoAttrs{}}) == Shape{2, 3, 4, 5});
    CHECK(contains(refusal({op, {{2, 3}, {2, 3}}, {}, NoAttrs{}}), "inputs, found 2"));
  }
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  CHECK(inferred({Op::kClip, {{2, 3}}, {}, ClipAttrs{0, infinity}}) == Shape{2, 3});
  CHECK(contains(refusal({Op::kClip, {{2, 3}}, {}, ClipAttrs{1, 0}}), "bounds: expected low <= high"));
  CHECK(contains(refusal({Op::kClip, {{2, 3}}, {}, ClipAttrs{nan, 0}}), "bounds"));
  CHECK(inferred({Op::kLeakyRelu, {{2, 3}}, {}, AlphaBetaAttrs{0.1f, 0}}) == Shape{2, 3});
  CHECK(contains(refusal({Op::kLeakyRelu, {{2, 3}}, {}, AlphaBetaAttrs{nan, 0}}), "finite"));
  CHECK(contains(refusal({Op::kSilu, {{2, 3}}, {}, AlphaBetaAttrs{infinity, 0}}), "finite"));
  CHECK(contains(refusal({Op::kSilu, {{2, 3}}, {}, NoAttrs{}}), "attributes of another op"));
  CHECK(contains(refusal({Op::kHardSigmoid, {{2, 3}}, {}, AlphaBetaAttrs{0.2f, infinity}}), "finite"));
  CHECK(inferred({Op::kSoftmax, {{2, 3}}, {}, AxisAttrs{1}}) == Shape{2, 3});
  CHECK(contains(refusal({Op::kSoftmax, {{2, 3}}, {}, AxisAttrs{2}}), "axis"));
  CHECK(contains(refusal({Op::kSoftmax, {{2, 3}}, {}, AxisAttrs{-1}}), "axis"));
}

TEST_CASE("Binary ops broadcast as NumPy does") {
  const auto shape = [](const Shape& a, const Shape& b) { return inferred({Op::kAdd, {a}, {b}, NoAttrs{}}); };
  CHECK(shape({2, 3, 4, 5}, {3, 1, 1}) == Shape{2, 3, 4, 5});
  CHECK(shape({2, 3, 4, 5}, {5}) == Shape{2, 3, 4, 5});
  CHECK(shape({2, 3, 1, 1}, {1, 1, 4, 5}) == Shape{2, 3, 4, 5});
  CHECK(shape({2, 3}, {4, 1, 1}) == Shape{4, 2, 3});
  for (Op op : {Op::kAdd, Op::kSub, Op::kMul, Op::kDiv}) {
    CHECK(contains(refusal({op, {{2, 3, 4, 5}}, {{3}}, NoAttrs{}}), "expected shapes that broadcast"));
    CHECK(contains(refusal({op, {{2, 3}}, {}, NoAttrs{}}), "inputs, found 1"));
  }
}

TEST_CASE("Pools: floor and ceil sizes, and the last window must touch the image") {
  PoolAttrs a;
  a.kernel = {3, 2};
  a.stride = {2, 2};
  OneNode node{Op::kMaxPool, {{1, 4, 8, 7}}, {}, a};
  CHECK(inferred(node) == Shape{1, 4, 3, 3});
  a.ceil_mode = true;
  node.attrs = a;
  CHECK(inferred(node) == Shape{1, 4, 4, 4});
  a.pads = {0, 0, 0, 1};  // the window of column 8 would see only padding
  node.attrs = a;
  CHECK(inferred(node) == Shape{1, 4, 4, 4});
  a.kernel = {1, 1};  // a stride larger than the kernel: no window starts beyond the image
  a.stride = {3, 3};
  a.pads = {0, 0, 0, 0};
  node.attrs = a;
  CHECK(inferred(node) == Shape{1, 4, 3, 3});
}

TEST_CASE("Pools: each broken rule is refused") {
  PoolAttrs a;
  a.kernel = {2, 2};
  a.stride = {2, 2};
  for (Op op : {Op::kMaxPool, Op::kAveragePool}) {
    OneNode bad{op, {{1, 4, 8, 8}}, {}, a};
    CHECK(inferred(bad) == Shape{1, 4, 4, 4});
    bad.inputs[0] = {4, 8, 8};
    CHECK(contains(refusal(bad), "input: expected rank 4, found [4, 8, 8]"));
    bad.inputs[0] = {1, 4, 1, 8};
    CHECK(contains(refusal(bad), "at least 2 rows and columns with padding, found [1, 4, 1, 8]"));
    bad.inputs[0] = {1, 4, 8, 8};
    PoolAttrs b = a;
    b.pads = {0, 2, 0, 0};
    bad.attrs = b;
    CHECK(contains(refusal(bad), "padding: expected 0 to kernel - 1"));
    b = a;
    b.stride = {0, 1};
    bad.attrs = b;
    CHECK(contains(refusal(bad), "kernel and stride"));
    b = a;
    b.kernel = {0, 1};
    bad.attrs = b;
    CHECK(contains(refusal(bad), "kernel and stride"));
  }
  CHECK(inferred({Op::kGlobalAveragePool, {{2, 4, 3, 9}}, {}, NoAttrs{}}) == Shape{2, 4, 1, 1});
  CHECK(contains(refusal({Op::kGlobalAveragePool, {{2, 4}}, {}, NoAttrs{}}), "rank 4"));
}

TEST_CASE("ReduceMean") {
  CHECK(inferred({Op::kReduceMean, {{2, 4, 3, 9}}, {}, ReduceAttrs{{2, 3}, false}}) == Shape{2, 4});
  CHECK(inferred({Op::kReduceMean, {{2, 4, 3, 9}}, {}, ReduceAttrs{{1, 3}, true}}) == Shape{2, 1, 3, 1});
  CHECK(contains(refusal({Op::kReduceMean, {{2, 4}}, {}, ReduceAttrs{{}, true}}), "no axes"));
  CHECK(contains(refusal({Op::kReduceMean, {{2, 4, 3, 9}}, {}, ReduceAttrs{{3, 2}, true}}), "ascending axes"));
  CHECK(contains(refusal({Op::kReduceMean, {{2, 4}}, {}, ReduceAttrs{{2}, true}}), "axes"));
  CHECK(contains(refusal({Op::kReduceMean, {{2, 4}}, {}, ReduceAttrs{{1, 1}, true}}), "axes"));
  CHECK(contains(refusal({Op::kReduceMean, {{2, 4}}, {}, ReduceAttrs{{-1}, true}}), "axes"));
}

TEST_CASE("Concat") {
  CHECK(inferred({Op::kConcat, {{2, 3, 4, 4}, {2, 5, 4, 4}, {2, 1, 4, 4}}, {}, AxisAttrs{1}}) == Shape{2, 9, 4, 4});
  CHECK(inferred({Op::kConcat, {{2, 3}}, {}, AxisAttrs{1}}) == Shape{2, 3});
  CHECK(contains(refusal({Op::kConcat, {{2, 3, 4, 4}, {2, 5, 4, 3}}, {}, AxisAttrs{1}}),
                 "input 1: expected [2, 3, 4, 4] but for axis 1, found [2, 5, 4, 3]"));
  CHECK(contains(refusal({Op::kConcat, {{2, 3, 4, 4}, {2, 5}}, {}, AxisAttrs{1}}), "found [2, 5]"));
  CHECK(contains(refusal({Op::kConcat, {{2, 3}}, {}, AxisAttrs{2}}), "axis: expected 0 to 1, found 2"));
  CHECK(contains(refusal({Op::kConcat, {{2, 3}}, {}, AxisAttrs{-1}}), "axis"));
  CHECK(contains(refusal({Op::kConcat, {{2, 3}}, {{}}, AxisAttrs{1}}), "required but absent"));
  OneNode none{Op::kConcat, {}, {{2, 3}}, AxisAttrs{1}};
  Graph g = none.graph();
  g.add_input("x", {1, 2});
  g.nodes[0].inputs.clear();
  CHECK(contains(g.infer_shapes().message(), "inputs, found 0"));
}

TEST_CASE("Split") {
  const OneNode good{Op::kSplit, {{2, 9, 4, 4}}, {}, SplitAttrs{1, {4, 2, 3}}, 3};
  CHECK(inferred(good, 0) == Shape{2, 4, 4, 4});
  CHECK(inferred(good, 2) == Shape{2, 3, 4, 4});
  OneNode bad = good;
  bad.attrs = SplitAttrs{1, {4, 2, 2}};
  CHECK(contains(refusal(bad), "sizes: expected a sum of 9, found 8"));
  bad.attrs = SplitAttrs{1, {4, 5}};
  CHECK(contains(refusal(bad), "sizes: expected 3 (one per output), found 2"));
  bad.attrs = SplitAttrs{1, {9, 0, 0}};
  CHECK(contains(refusal(bad), "sizes: expected 1 to 9, found 0"));
  bad.attrs = SplitAttrs{4, {4, 2, 3}};
  CHECK(contains(refusal(bad), "axis"));
}

TEST_CASE("Slice") {
  const OneNode good{Op::kSlice, {{2, 9, 7, 4}}, {}, SliceAttrs{{3, 1}, {0, 2}, {4, 9}, {2, 3}}};
  CHECK(inferred(good) == Shape{2, 3, 7, 2});
  OneNode bad = good;
  bad.attrs = SliceAttrs{{1}, {2}, {10}, {1}};
  CHECK(contains(refusal(bad), "range of axis 1: expected 0 <= start < end <= 9, step >= 1, found 2..10 step 1"));
  bad.attrs = SliceAttrs{{1}, {-1}, {9}, {1}};
  CHECK(contains(refusal(bad), "range of axis 1"));
  bad.attrs = SliceAttrs{{1}, {3}, {3}, {1}};
  CHECK(contains(refusal(bad), "range of axis 1"));
  bad.attrs = SliceAttrs{{1}, {0}, {3}, {0}};
  CHECK(contains(refusal(bad), "range of axis 1"));
  bad.attrs = SliceAttrs{{1, 1}, {0, 0}, {3, 3}, {1, 1}};
  CHECK(contains(refusal(bad), "axis 1 is sliced twice"));
  bad.attrs = SliceAttrs{{1, 2}, {0}, {3, 3}, {1, 1}};
  CHECK(contains(refusal(bad), "as many starts, ends and steps as axes"));
  bad.attrs = SliceAttrs{{4}, {0}, {3}, {1}};
  CHECK(contains(refusal(bad), "axis: expected 0 to 3, found 4"));
}

TEST_CASE("Pad") {
  CHECK(inferred({Op::kPad, {{2, 3, 4, 4}}, {}, PadAttrs{{0, 1, 0, 2}, {0, 0, 3, 1}, 0}}) == Shape{2, 4, 7, 7});
  CHECK(
      contains(refusal({Op::kPad, {{2, 3}}, {}, PadAttrs{{0}, {0}, 0}}), "one pair per dimension of [2, 3], found 1"));
  CHECK(contains(refusal({Op::kPad, {{2, 3}}, {}, PadAttrs{{0, -1}, {0, 0}, 0}}), "padding: expected 0 or more"));
  CHECK(contains(refusal({Op::kPad, {{2, 3}}, {}, PadAttrs{{1, 0}, {0, 0}, 0}}), "padding of the batch"));
  const int64_t huge = std::numeric_limits<int64_t>::max();
  CHECK(contains(refusal({Op::kPad, {{2, 3}}, {}, PadAttrs{{0, huge}, {0, 0}, 0}}), "padding"));
}

TEST_CASE("Reshape") {
  const auto shape = [](std::vector<int64_t> dims) {
    return inferred({Op::kReshape, {{2, 6, 4, 4}}, {}, ReshapeAttrs{std::move(dims)}});
  };
  CHECK(shape({0, -1}) == Shape{2, 96});
  CHECK(shape({0, 3, 2, 16}) == Shape{2, 3, 2, 16});
  CHECK(shape({2, 0, -1, 1}) == Shape{2, 6, 16, 1});
  const auto message = [](std::vector<int64_t> dims) {
    return refusal({Op::kReshape, {{2, 6, 4, 4}}, {}, ReshapeAttrs{std::move(dims)}});
  };
  CHECK(contains(message({0, 95}), "expected 192 elements of [2, 6, 4, 4], found [0, 95]"));
  CHECK(contains(message({-1, -1}), "at most one -1"));
  CHECK(contains(message({0, -2}), "-1, 0 or a size"));
  CHECK(contains(message({2, 6, 4, 4, 0}), "0 only where the input has a dimension"));
  CHECK(contains(message({5, -1}), "a divisor of [2, 6, 4, 4]"));
  const int64_t huge = std::numeric_limits<int64_t>::max();
  CHECK(contains(message({huge, huge}), "too large"));
}

TEST_CASE("Transpose") {
  CHECK(inferred({Op::kTranspose, {{2, 3, 4, 5}}, {}, TransposeAttrs{{0, 2, 3, 1}}}) == Shape{2, 4, 5, 3});
  CHECK(contains(refusal({Op::kTranspose, {{2, 3, 4}}, {}, TransposeAttrs{{0, 1}}}), "perm: expected 3 axes, found 2"));
  CHECK(contains(refusal({Op::kTranspose, {{2, 3, 4}}, {}, TransposeAttrs{{0, 1, 1}}}), "each axis once"));
  CHECK(contains(refusal({Op::kTranspose, {{2, 3, 4}}, {}, TransposeAttrs{{0, 1, 3}}}), "axis"));
}

TEST_CASE("Affine and Attention, which passes make") {
  CHECK(inferred({Op::kAffine, {{2, 3, 4, 4}}, {{3}, {3}}, AffineAttrs{}}) == Shape{2, 3, 4, 4});
  CHECK(contains(refusal({Op::kAffine, {{2, 3, 4, 4}}, {{3}, {4}}, AffineAttrs{}}), "shift: expected [3], found [4]"));
  const OneNode paper{Op::kAttention, {{2, 3, 4, 4}}, {{3}, {3}, {3, 3}, {3}, {6}, {6}, {3, 6}, {3}}, AttentionAttrs{}};
  CHECK(inferred(paper) == Shape{2, 3, 4, 4});
  static const char* const kNames[] = {"s1", "t1", "W1", "b1", "s2", "t2", "W2", "b2"};
  for (size_t i = 0; i < 8; ++i) {
    OneNode bad = paper;
    bad.constants[i][0] += 1;
    CHECK(contains(refusal(bad), std::string(kNames[i]) + ": expected"));
    bad.constants[i] = {};
    refusal(bad);
  }
  AttentionAttrs se;
  se.kind = AttentionAttrs::Kind::kSqueezeExcite;
  const OneNode gate{Op::kAttention, {{2, 3, 4, 4}}, {{2, 3}, {2}, {3, 2}, {3}}, se};
  CHECK(inferred(gate) == Shape{2, 3, 4, 4});
  OneNode bad = gate;
  bad.constants[2] = {3, 3};
  CHECK(contains(refusal(bad), "W2: expected [3, 2], found [3, 3]"));
  bad = gate;
  bad.attrs = AttentionAttrs{};
  CHECK(contains(refusal(bad), "inputs: expected 9, found 5"));
}

TEST_CASE("An unknown op number is refused") {
  CHECK(contains(refusal({static_cast<Op>(77), {{1, 2}}, {}, NoAttrs{}}), "unknown op number 77"));
}
