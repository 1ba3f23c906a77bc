// Small models for the tests of the file format, and what these compare.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/model.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "graph/activations.h"

namespace sparsenet::test {

inline Tensor ramp(Shape shape, float start = 0.f) {
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = start + 0.25f * static_cast<float>(i);
  return Tensor::from(std::move(shape), std::move(values));
}

// A graph with every op that a file may hold and attributes that differ from their defaults.
inline Graph graph_of_all_ops() {
  Graph g;
  const float infinity = std::numeric_limits<float>::infinity();
  ValueId x = g.add_input("image", {2, 4, 9, 11});
  const ValueId other = g.add_input("other", {2, 6});

  ConvAttrs conv;
  conv.kernel = {3, 2};
  conv.stride = {2, 1};
  conv.dilation = {1, 2};
  conv.pads = {1, 0, 1, 2};
  conv.groups = 2;
  conv.activation = {Activation::Kind::kClip, 0.f, 6.f};
  x = g.add_node(Op::kConv, "conv", {x, g.add_constant("w", ramp({6, 2, 3, 2})), g.add_constant("b", ramp({6}, 1.f))},
                 conv);
  ConvAttrs point;
  x = g.add_node(Op::kConv, "point", {x, g.add_constant("w1", ramp({6, 6, 1, 1})), kNoValue, x}, point);
  const ValueId one = g.add_constant("one", Tensor::filled({6}, 1.f));
  const ValueId scale = g.add_constant("scale", Tensor::filled({6}, 1.f));  // the same bytes
  x = g.add_node(Op::kBatchNorm, "bn",
                 {x, scale, g.add_constant("shift", ramp({6})), g.add_constant("mean", ramp({6}, 2.f)), one},
                 BatchNormAttrs{1e-3f});
  for (const ActivationRow& row : kActivationTable) {
    const Activation with{row.kind, -0.5f, row.parameters == ActivationParameters::kBounds ? infinity : 0.25f};
    x = g.add_node(row.op.op, row.op.name, {x}, attrs_of(row, with));
  }
  const std::vector<ValueId> parts =
      g.add_node_multi(Op::kSplit, "split", {x}, SplitAttrs{1, {2, 4}}, {"left", "right"});
  x = g.add_node(Op::kConcat, "concat", {parts[1], parts[0], parts[0]}, AxisAttrs{1});
  x = g.add_node(Op::kSlice, "slice", {x}, SliceAttrs{{1, 3}, {1, 0}, {7, 9}, {1, 2}});
  x = g.add_node(Op::kPad, "pad", {x}, PadAttrs{{0, 0, 1, 2}, {0, 0, 3, 1}, -infinity});
  PoolAttrs pool;
  pool.kernel = {3, 2};
  pool.stride = {2, 2};
  pool.pads = {1, 0, 1, 1};
  pool.ceil_mode = true;
  x = g.add_node(Op::kMaxPool, "max pool", {x}, pool);
  pool.ceil_mode = false;
  pool.count_include_pad = true;
  x = g.add_node(Op::kAveragePool, "average pool", {x}, pool);
  const ValueId y = g.add_node(Op::kGlobalAveragePool, "global", {x});
  ReduceAttrs reduce;
  reduce.axes = {2, 3};
  reduce.keep_dims = false;
  x = g.add_node(Op::kReduceMean, "reduce", {x}, reduce);
  x = g.add_node(Op::kReshape, "reshape", {x}, ReshapeAttrs{{0, 1, -1}});
  x = g.add_node(Op::kTranspose, "transpose", {x}, TransposeAttrs{{0, 2, 1}});
  x = g.add_node(Op::kReshape, "flatten", {x}, ReshapeAttrs{{0, -1}});
  x = g.add_node(Op::kAdd, "add", {x, other});
  x = g.add_node(Op::kSub, "sub", {x, one});
  x = g.add_node(Op::kMul, "mul", {x, g.add_constant("factor", Tensor::filled({}, 3.f))});
  x = g.add_node(Op::kDiv, "div", {x, one});
  x = g.add_node(Op::kFullyConnected, "fc",
                 {x, g.add_constant("fc.weight", ramp({3, 6})), g.add_constant("fc.bias", ramp({3}))},
                 FullyConnectedAttrs{{Activation::Kind::kHardSigmoid, 0.2f, 0.5f}});
  x = g.add_node(Op::kIdentity, "identity", {x});
  x = g.add_node(Op::kLayerNorm, "norm", {x, g.add_constant("norm.scale", ramp({3})), kNoValue}, BatchNormAttrs{1e-3f});
  x = g.add_node(Op::kMax, "max", {x, g.add_constant("least", ramp({3}))});
  x = g.add_node(Op::kMin, "min", {x, g.add_constant("most", ramp({3}, 1.f))});
  x = g.add_node(Op::kPrelu, "prelu", {x, g.add_constant("slope", ramp({3}))});
  x = g.add_node(Op::kMatMul, "product", {x, g.add_constant("matrix", ramp({3, 3}))});
  x = g.add_node(Op::kExp, "exp", {x});
  x = g.add_node(Op::kPow, "pow", {x}, AlphaBetaAttrs{-0.5f, 0.f});
  x = g.add_node(Op::kLog, "log", {x});
  Tensor half;
  to_float16(ramp({3}), &half);
  x = g.add_node(Op::kAdd, "add half", {x, g.add_constant("half", half)});
  static const int8_t kIntegers[6] = {-127, 0, 127, 1, 2, 3};  // nothing reads them
  const ValueId q = g.add_constant("integers", Tensor{DataType::kInt8, {3, 2}, nullptr, kIntegers});
  g.value(q).quantization = {{0.5f, 0.25f, 2.f}, {0, -128, 127}, 0};
  x = g.add_node(Op::kSoftmax, "softmax", {x}, AxisAttrs{1}, "probabilities");
  g.outputs = {x, y};
  return g;
}

// A graph of integers: the ops between types, both roundings, weights, and every kind of quantisation.
inline Graph graph_of_integers() {
  static const int8_t kWeights[6] = {-127, 5, 127, 1, -2, 3};
  static const int32_t kBiases[3] = {100, -200, 300};
  Graph g;
  const auto integers = [&](ValueId id, Quantization q, Rounding rounding) {
    g.value(id).type = DataType::kInt8;
    g.value(id).quantization = std::move(q);
    g.nodes.back().rounding = rounding;
    return id;
  };
  const ValueId pixels = g.add_input("pixels", {2, 2, 3, 4}, DataType::kUInt8);
  g.value(pixels).quantization = {{0.5f}, {128}, 0};
  const ValueId real = g.add_input("real", {2, 2, 3, 4});
  const ValueId a = integers(g.add_node(Op::kQuantize, "from uint8", {pixels}), {{0.25f}, {-3}, 0}, Rounding::kDouble);
  const ValueId b = integers(g.add_node(Op::kQuantize, "from float", {real}), {{0.125f}, {127}, 0}, Rounding::kSingle);
  ValueId x = integers(g.add_node(Op::kAdd, "add", {a, b}), {{0.5f}, {-128}, 0}, Rounding::kDouble);
  const ValueId w = g.add_constant("weight", Tensor{DataType::kInt8, {3, 2, 1, 1}, nullptr, kWeights});
  g.value(w).quantization = {{0.5f, 0.25f, 2.f}, {0, 0, 0}, 0};
  const ValueId bias = g.add_constant("bias", Tensor{DataType::kInt32, {3}, nullptr, kBiases});
  g.value(bias).quantization = {{0.25f}, {0}, 0};
  ConvAttrs conv;
  conv.activation = {Activation::Kind::kRelu, 0, 0};
  x = integers(g.add_node(Op::kConv, "conv", {x, w, bias}, conv), {{8.f}, {-20}, 0}, Rounding::kSingle);
  const ValueId scale = g.add_constant("scale", Tensor::from({3}, {0.5f, -2.f, 1.f}));
  const ValueId shift = g.add_constant("shift", Tensor::from({3}, {0.f, 3.f, -1.f}));
  x = integers(g.add_node(Op::kScale, "scales", {x, scale, shift}), {{4.f}, {-7}, 0}, Rounding::kSingle);
  g.outputs = {g.add_node(Op::kDequantize, "to float", {x}), x};
  return g;
}

inline Model model_of_all_ops() {
  Model model;
  model.graph = graph_of_all_ops();
  Metadata& m = model.metadata;
  m.name = "all ops";
  m.architecture = "sparsenet-abc-v0";
  m.provenance = "made by a test\nin two lines";
  m.license = "Apache-2.0";
  m.labels = {"cat", "Ente \xc3\xbc", ""};
  m.color_order = "BGR";
  m.mean = {125.3f, 123.f, 113.9f, 0.f};
  m.std_dev = {63.f, 62.1f, 66.7f, 1.f};
  m.resize = "bilinear-crop";
  TestVector vector;
  vector.inputs = {ramp({1, 4, 9, 11}), ramp({1, 6})};
  vector.outputs = {ramp({1, 3}), ramp({1, 6, 1, 1})};
  vector.tolerance = 2e-4f;
  model.test_vectors = {vector, vector};
  return model;
}

// A few hundred bytes of structure: for tests that try every byte.
inline Model tiny_model() {
  Model model;
  Graph& g = model.graph;
  ConvAttrs conv;
  conv.kernel = {3, 3};
  conv.pads = {1, 1, 1, 1};
  ValueId x = g.add_input("x", {1, 2, 4, 4});
  x = g.add_node(Op::kConv, "conv", {x, g.add_constant("w", ramp({2, 2, 3, 3}))}, conv);
  x = g.add_node(Op::kReshape, "flat", {x}, ReshapeAttrs{{0, -1}});
  x = g.add_node(Op::kFullyConnected, "fc", {x, g.add_constant("v", ramp({2, 32}))}, FullyConnectedAttrs{});
  g.outputs = {x};
  model.metadata.labels = {"no", "yes"};
  model.metadata.mean = {1.f, 2.f};
  return model;
}

inline std::vector<uint8_t> bytes_of(const Model& model) {
  Result<std::vector<uint8_t>> bytes = serialize_model(model);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
  return *std::move(bytes);
}

inline Result<Model> load(const std::vector<uint8_t>& bytes) {
  return load_model(bytes.data(), bytes.size(), nullptr, "test.snet");
}

// Makes the checksum match the present bytes.
inline void seal(std::vector<uint8_t>* bytes) {
  if (bytes->size() < 8) return;
  const uint64_t sum = xxh64(bytes->data(), bytes->size() - 8);
  std::memcpy(bytes->data() + bytes->size() - 8, &sum, 8);
}

}  // namespace sparsenet::test
