#include "support/random_integers.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sparsenet::test {
namespace {

int64_t channels(Random& random) {
  static const std::vector<int64_t> kAround{1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65};
  return random.chance(0.6) ? random.pick(kAround) : random.integer(1, 70);
}

// [N, C, H, W], not too large.
Shape image(Random& random, int64_t c) {
  const int largest = c > 24 ? 9 : 20;
  return {random_batch(random), c, random.integer(1, largest), random.integer(1, largest)};
}

Shape image(Random& random) {
  return image(random, channels(random));
}

ConvAttrs window(Random& random, int32_t kernel_h, int32_t kernel_w) {
  ConvAttrs a;
  a.kernel = {kernel_h, kernel_w};
  if (random.chance(0.4)) a.stride = {random.integer(1, 3), random.integer(1, 3)};
  if (random.chance(0.2)) a.dilation = {random.integer(1, 3), random.integer(1, 3)};
  if (random.chance(0.7)) {
    const int32_t h = (kernel_h - 1) * a.dilation[0], w = (kernel_w - 1) * a.dilation[1];
    a.pads = {random.integer(0, h), random.integer(0, w), random.integer(0, h), random.integer(0, w)};
    if (random.chance(0.5)) a.pads = {h / 2, w / 2, h - h / 2, w - w / 2};
  }
  return a;
}

// An image that is large enough for the window.
Shape image_for(Random& random, int64_t c, const ConvAttrs& a) {
  Shape shape = image(random, c);
  for (size_t d = 0; d < 2; ++d) {
    const int64_t reach = (a.kernel[d] - 1) * a.dilation[d] + 1 - a.pads[d] - a.pads[d + 2];
    shape[d + 2] = std::max(shape[d + 2], reach);
  }
  return shape;
}

Graph conv_point(Random& random) {
  IntegerMaker g(random);
  const ConvAttrs a = window(random, 1, 1);
  const int64_t c = channels(random);
  const ValueId x = g.input(image_for(random, c, a));
  return g.finish({g.layer(x, {channels(random), c, 1, 1}, a)});
}

Graph conv_square(Random& random) {
  IntegerMaker g(random);
  const int32_t k = random.pick(std::vector<int32_t>{2, 3, 3, 3, 5});
  const ConvAttrs a = window(random, k, k);
  const int64_t c = random.chance(0.2) ? random.integer(1, 4) : channels(random);
  const ValueId x = g.input(image_for(random, c, a));
  return g.finish({g.layer(x, {channels(random), c, k, k}, a)});
}

// What minimal filtering is for, with as many channels as its sums have room for, or one more.
Graph conv_filters(Random& random) {
  IntegerMaker g(random);
  ConvAttrs a;
  a.kernel = {3, 3};
  const bool same = random.chance(0.5);
  a.pads = {1, 1, 1, 1};
  if (!same) a.pads = {random.integer(0, 2), random.integer(0, 2), random.integer(0, 2), random.integer(0, 2)};
  static const std::vector<int64_t> kInputs{8, 15, 16, 17, 32, 33, 64, 65, 114, 115, 116},
      kOutputs{4, 8, 9, 15, 16, 17, 24};
  const int64_t c = random.pick(kInputs), outputs = random.chance(0.3) && c < 65 ? c : random.pick(kOutputs);
  const int largest = c > 64 ? 10 : 21;
  const ValueId x = g.input({random_batch(random), c, random.integer(4, largest), random.integer(4, largest)});
  const ValueId y = g.layer(x, {outputs, c, 3, 3}, a);
  return g.finish({same && outputs == c ? g.node(Op::kAdd, {y, x}, NoAttrs{}, g.for_sums(g.scale(y), 300)) : y});
}

// Rows so long that tiles of pixels go across their ends.
Graph conv_wide(Random& random) {
  IntegerMaker g(random);
  ConvAttrs a;
  a.kernel = {random.integer(1, 3), random.integer(2, 4)};
  a.stride = {random.integer(1, 2), 1};
  a.dilation = {1, random.integer(1, 2)};
  for (int& pad : a.pads) pad = random.integer(0, 2);
  const int64_t c = channels(random), outputs = channels(random);
  const ValueId x = g.input({random_batch(random), c, random.integer(5, 8), random.integer(30, 70)});
  const ValueId y = g.layer(x, {outputs, c, a.kernel[0], a.kernel[1]}, a);
  if (random.chance(0.5)) return g.finish({y});
  const ValueId other = g.layer(x, {outputs, c, a.kernel[0], a.kernel[1]}, a);
  return g.finish({g.node(Op::kAdd, {y, other}, NoAttrs{}, g.for_sums(std::max(g.scale(y), g.scale(other)), 300))});
}

// 1x1, of whole cache lines of channels, which need not be gathered: also where a pixel's channels are between others'.
Graph conv_lines(Random& random) {
  IntegerMaker g(random);
  const ConvAttrs a;
  const int64_t c = 64 * random.integer(1, 3);
  const std::vector<int64_t> outputs{16, 17, 32, 47, 64, 80, 96, 100};
  const int64_t more = random.chance(0.4) ? channels(random) : 0, h = random.integer(1, 13), w = random.integer(1, 13);
  const Quantization q = g.quantization();
  ValueId x = g.input({random_batch(random), c + more, h, w}, q);
  if (more > 0) x = g.multi(Op::kSplit, {x}, SplitAttrs{1, {more, c}}, q, 2)[1];
  const int64_t of_sum = random.pick(outputs);
  const ValueId y = g.layer(x, {of_sum, c, 1, 1}, a);
  if (random.chance(0.5)) return g.finish({y});
  const ValueId other = g.layer(x, {of_sum, c, 1, 1}, a);
  return g.finish({g.node(Op::kAdd, {y, other}, NoAttrs{}, g.for_sums(std::max(g.scale(y), g.scale(other)), 300))});
}

Graph conv_oblong(Random& random) {
  IntegerMaker g(random);
  const ConvAttrs a = window(random, random.integer(1, 10), random.integer(1, 4));
  const int64_t c = random.integer(1, 9);
  const ValueId x = g.input(image_for(random, c, a));
  return g.finish({g.layer(x, {channels(random), c, a.kernel[0], a.kernel[1]}, a)});
}

Graph conv_groups(Random& random) {
  IntegerMaker g(random);
  const int32_t k = random.pick(std::vector<int32_t>{1, 3});
  ConvAttrs a = window(random, k, k);
  a.groups = random.integer(2, 5);
  const int64_t in = random.integer(1, 17), out = random.integer(1, 17);
  const ValueId x = g.input(image_for(random, in * a.groups, a));
  return g.finish({g.layer(x, {out * a.groups, in, k, k}, a)});
}

// Sometimes several outputs for each channel.
Graph depthwise(Random& random) {
  IntegerMaker g(random);
  const int32_t k = random.pick(std::vector<int32_t>{1, 2, 3, 3, 3, 5});
  ConvAttrs a = window(random, k, k);
  const int64_t c = channels(random);
  a.groups = static_cast<int32_t>(c);
  const ValueId x = g.input(image_for(random, c, a));
  return g.finish({g.layer(x, {random.chance(0.8) ? c : 2 * c, 1, k, k}, a)});
}

Graph fully_connected(Random& random) {
  IntegerMaker g(random);
  const int64_t c = random.chance(0.3) ? random.integer(71, 700) : channels(random);
  const ValueId x = g.input({random_batch(random), c});
  return g.finish({g.layer(x, {channels(random), c})});
}

// A sum of more products than 32 bits would hold of 16-bit ones: whatever adds up pairs must not saturate.
Graph long_sums(Random& random) {
  IntegerMaker g(random);
  const int64_t c = random.integer(2000, 5000);
  const ValueId x = g.input({random_batch(random), c});
  return g.finish({g.layer(x, {random.integer(1, 20), c})});
}

// The input of the convolution is several ranges of channels.
Graph conv_of_parts(Random& random) {
  IntegerMaker g(random);
  const int32_t k = random.pick(std::vector<int32_t>{1, 3});
  ConvAttrs a = window(random, k, k);
  const Shape first = image_for(random, channels(random), a);
  const Quantization q = g.quantization();
  std::vector<ValueId> parts{g.input(first, q)};
  int64_t all = first[1];
  for (int i = random.integer(1, 3); i > 0; --i) {
    Shape shape = first;
    shape[1] = channels(random);
    all += shape[1];
    parts.push_back(g.input(shape, q));
  }
  const ValueId whole = g.move(Op::kConcat, parts, AxisAttrs{1});
  if (random.chance(0.3)) a.groups = static_cast<int32_t>(all);
  const int64_t outputs = a.groups > 1 ? all : channels(random);
  const ValueId y = g.layer(whole, {outputs, all / a.groups, k, k}, a);
  return g.finish(random.chance(0.5) ? std::vector<ValueId>{y} : std::vector<ValueId>{y, whole});
}

// It reads one part of a split, and writes one of a concatenation.
Graph conv_between_parts(Random& random) {
  IntegerMaker g(random);
  const Shape shape = image(random);
  const int64_t c = channels(random);
  const Quantization q = g.quantization();
  const ValueId x = g.input({shape[0], shape[1] + c, shape[2], shape[3]}, q);
  const auto parts = g.multi(Op::kSplit, {x}, SplitAttrs{1, {shape[1], c}}, q, 2);
  const ValueId y = g.layer(parts[1], {channels(random), c, 1, 1});
  g.graph.value(y).quantization = q;
  return g.finish({g.move(Op::kConcat, {parts[0], y, parts[0]}, AxisAttrs{1}), parts[1]});
}

Shape broadcast(Random& random, const Shape& shape) {
  Shape other = shape;
  for (size_t d = 1; d < other.size(); ++d) {
    if (random.chance(0.4)) other[d] = 1;
  }
  return other;
}

// A sum, a difference or a product.
ValueId combine(IntegerMaker& g, ValueId a, ValueId b) {
  const Op op = g.random.pick(std::vector<Op>{Op::kAdd, Op::kSub, Op::kMul, Op::kMul});
  const double largest = op == Op::kMul ? g.scale(a) * g.scale(b) : std::max(g.scale(a), g.scale(b));
  return g.node(op, {a, b}, NoAttrs{}, g.for_sums(largest, op == Op::kMul ? 10000 : 300));
}

Graph binary(Random& random) {
  IntegerMaker g(random);
  Shape shape = image(random);
  if (random.chance(0.3)) shape.resize(static_cast<size_t>(random.integer(2, 3)));
  const Shape other = random.chance(0.5) ? shape : broadcast(random, shape);
  ValueId a = g.input(shape, g.quantization(std::exp(random.real(-6, 0)))),
          b = random.chance(0.1) ? a : g.input(other, g.quantization(std::exp(random.real(-6, 0))));
  if (random.chance(0.3)) std::swap(a, b);
  return g.finish({combine(g, a, b)});
}

// One operand is a constant: a number, one for each channel, or any that broadcasts.
Graph binary_with_constant(Random& random) {
  IntegerMaker g(random);
  const Shape shape = image(random);
  Shape other = broadcast(random, shape);
  other[0] = 1;
  if (random.chance(0.3)) other = Shape{shape[1], 1, 1};
  if (random.chance(0.4)) other = Shape(random.chance(0.5) ? 4 : 0, 1);
  std::vector<int8_t> numbers(static_cast<size_t>(element_count(other)));
  for (int8_t& v : numbers) v = static_cast<int8_t>(random.integer(-128, 127));
  ValueId a = g.input(shape, g.quantization(std::exp(random.real(-6, 0)))),
          b = g.graph.add_constant("constant", integer_constant(other, numbers));
  g.graph.value(b).quantization = g.quantization(std::exp(random.real(-6, 0)));
  if (random.chance(0.3)) std::swap(a, b);
  return g.finish({combine(g, a, b)});
}

// Functions of one number. (Those of TensorFlow Lite Micro are compared with its own results.)
Graph function(Random& random) {
  IntegerMaker g(random);
  g.rounding = Rounding::kSingle;
  Shape shape = image(random);
  if (random.chance(0.3)) shape.resize(static_cast<size_t>(random.integer(1, 3)));
  const ValueId x = g.input(shape, g.quantization(std::exp(random.real(-5, 0))));
  const Op op = random.pick(
      std::vector<Op>{Op::kSigmoid, Op::kHardSigmoid, Op::kHardSwish, Op::kTanh, Op::kSilu, Op::kLeakyRelu, Op::kElu});
  Attrs attrs;
  if (op == Op::kHardSigmoid || op == Op::kSilu || op == Op::kLeakyRelu || op == Op::kElu) {
    attrs = AlphaBetaAttrs{static_cast<float>(random.real(0.1, 1)), op == Op::kHardSigmoid ? 0.5f : 0.f};
  }
  const bool bounded = op == Op::kSigmoid || op == Op::kHardSigmoid || op == Op::kTanh;
  return g.finish(
      {g.node(op, {x}, attrs, bounded ? g.quantization(random.real(0.004, 0.01)) : g.for_sums(g.scale(x), 100))});
}

// Operands that are ranges of channels of others.
Graph binary_of_parts(Random& random) {
  IntegerMaker g(random);
  const Shape shape = image(random);
  const int64_t c = shape[1];
  const Quantization q = g.quantization();
  const ValueId x = g.input({shape[0], 3 * c, shape[2], shape[3]}, q);
  const auto parts = g.multi(Op::kSplit, {x}, SplitAttrs{1, {c, c, c}}, q, 3);
  const ValueId sum = g.node(Op::kAdd, {parts[0], parts[2]}, NoAttrs{}, g.for_sums(g.scale(x), 300));
  const ValueId product = g.node(Op::kMul, {parts[1], parts[2]}, NoAttrs{}, g.for_sums(g.scale(x) * g.scale(x), 1e4));
  return g.finish({sum, product});
}

Graph pool(Random& random) {
  IntegerMaker g(random);
  PoolAttrs a;
  a.kernel = {random.integer(1, 5), random.integer(1, 5)};
  a.stride = {random.integer(1, 3), random.integer(1, 3)};
  if (random.chance(0.5)) {
    for (size_t i = 0; i < 4; ++i) a.pads[i] = random.integer(0, a.kernel[i % 2] - 1);
  }
  a.ceil_mode = random.chance(0.3);
  a.count_include_pad = random.chance(0.4);
  Shape shape = image(random);
  for (size_t d = 0; d < 2; ++d) shape[d + 2] = std::max<int64_t>(shape[d + 2], a.kernel[d]);
  return g.finish({g.move(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, {g.input(shape)}, a)});
}

Graph global_pool(Random& random) {
  IntegerMaker g(random);
  const ValueId x = g.input(image(random));
  return g.finish({g.node(Op::kGlobalAveragePool, {x}, NoAttrs{}, g.for_sums(g.scale(x), 100))});
}

Graph clamp(Random& random) {
  IntegerMaker g(random);
  const ValueId x = g.input(image(random));
  const Quantization q = random.chance(0.4) ? g.graph.value(x).quantization : g.for_sums(g.scale(x), 100);
  const Activation a = g.bounds();
  if (a.kind == Activation::Kind::kClip) return g.finish({g.node(Op::kClip, {x}, ClipAttrs{a.a, a.b}, q)});
  return g.finish({g.node(Op::kRelu, {x}, NoAttrs{}, q)});
}

Graph softmax(Random& random) {
  IntegerMaker g(random);
  g.rounding = Rounding::kDouble;
  Shape shape{random_batch(random), channels(random), random.integer(1, 5), random.integer(1, 5)};
  shape.resize(static_cast<size_t>(random.integer(2, 4)));
  const auto axis = static_cast<int32_t>(random.integer(1, static_cast<int>(shape.size()) - 1));
  const ValueId x = g.input(shape, g.quantization(std::exp(random.real(-7, 1))));
  return g.finish({g.node(Op::kSoftmax, {x}, AxisAttrs{axis}, {{1.f / 256}, {-128}, 0})});
}

Graph quantize(Random& random) {
  IntegerMaker g(random);
  const DataType type = random.pick(std::vector<DataType>{DataType::kFloat32, DataType::kInt8, DataType::kUInt8});
  Shape shape = image(random);
  if (random.chance(0.3)) shape.resize(static_cast<size_t>(random.integer(1, 3)));
  Quantization q;
  if (type != DataType::kFloat32) {
    q = g.quantization();
    if (type == DataType::kUInt8) q.zero_points[0] += 128;
  }
  const ValueId x = g.input(shape, q, type);
  Quantization out = g.quantization(0.125);  // so that some numbers are half way between integers
  if (type != DataType::kFloat32) out = g.for_sums(g.scale(x), random.chance(0.2) ? 3 : 100);
  return g.finish({g.node(Op::kQuantize, {x}, NoAttrs{}, out)});
}

Graph dequantize(Random& random) {
  IntegerMaker g(random);
  Shape shape = image(random);
  if (random.chance(0.3)) shape.resize(static_cast<size_t>(random.integer(1, 3)));
  const ValueId y = g.node(Op::kDequantize, {g.input(shape)}, NoAttrs{}, {});
  g.graph.value(y).type = DataType::kFloat32;
  return g.finish({y});
}

Graph moves(Random& random) {
  IntegerMaker g(random);
  const Shape shape = image(random);
  const ValueId x = g.input(shape);
  switch (random.integer(0, 5)) {
    case 0: {
      PadAttrs a;
      for (int64_t d = 0; d < 4; ++d) {
        a.before.push_back(d == 0 ? 0 : random.integer(0, 2));
        a.after.push_back(d == 0 ? 0 : random.integer(0, 2));
      }
      a.value = random.chance(0.5) ? 0.f : static_cast<float>(random.real(-9, 9));
      return g.finish({g.move(Op::kPad, {x}, a)});
    }
    case 1: {
      SliceAttrs a;
      for (int32_t d = 1; d < 4; ++d) {
        const int64_t size = shape[static_cast<size_t>(d)], start = random.integer(0, static_cast<int>(size) - 1);
        a.axes.push_back(d);
        a.starts.push_back(start);
        a.ends.push_back(random.integer(static_cast<int>(start) + 1, static_cast<int>(size)));
        a.steps.push_back(random.integer(1, 2));
      }
      return g.finish({g.move(Op::kSlice, {x}, a)});
    }
    case 2:
      return g.finish({g.move(Op::kReshape, {x}, ReshapeAttrs{{0, -1}})});
    case 3: {
      const std::vector<std::vector<int32_t>> orders{{0, 2, 3, 1}, {0, 3, 1, 2}, {0, 1, 3, 2}, {0, 2, 1, 3}};
      return g.finish({g.move(Op::kTranspose, {x}, TransposeAttrs{random.pick(orders)})});
    }
    case 4: {
      const auto axis = static_cast<int32_t>(random.integer(1, 3));
      const int64_t size = shape[static_cast<size_t>(axis)];
      if (size < 2) return g.finish({g.move(Op::kIdentity, {x})});
      const int64_t left = random.integer(1, static_cast<int>(size) - 1);
      const Quantization q = g.graph.value(x).quantization;
      return g.finish(g.multi(Op::kSplit, {x}, SplitAttrs{axis, {left, size - left}}, q, 2));
    }
    default: {
      const auto axis = static_cast<int32_t>(random.integer(1, 3));
      Shape other = shape;
      other[static_cast<size_t>(axis)] = random.integer(1, 6);
      const ValueId y = g.input(other, g.graph.value(x).quantization);
      return g.finish({g.move(Op::kConcat, {x, y, x}, AxisAttrs{axis})});
    }
  }
}

// A sum with a residual that exists before the convolution in front of it, or only after that, on either side.
Graph residual(Random& random) {
  IntegerMaker g(random);
  const int64_t c = channels(random), outputs = random.chance(0.3) ? c : channels(random);
  ConvAttrs same;
  if (random.chance(0.5)) {
    same.kernel = {3, 3};
    same.pads = {1, 1, 1, 1};
  }
  const Shape weight{outputs, c, same.kernel[0], same.kernel[1]};
  const ValueId x = g.input(image(random, c));
  ValueId other = outputs == c && random.chance(0.5) ? x : g.layer(x, {outputs, c, 1, 1});
  if (random.chance(0.2)) other = g.node(Op::kAdd, {other, other}, NoAttrs{}, g.for_sums(g.scale(other), 300));
  ValueId y = g.layer(x, weight, same);
  if (random.chance(0.2)) other = g.layer(x, weight, same);
  const bool kept = random.chance(0.1);
  const Quantization q = g.for_sums(std::max(g.scale(y), g.scale(other)), 300);
  std::vector<ValueId> operands{y, other};
  if (random.chance(0.5)) std::swap(operands[0], operands[1]);
  const ValueId sum = g.node(Op::kAdd, operands, NoAttrs{}, q);
  const ValueId last =
      random.chance(0.5) ? g.move(Op::kRelu, {sum}) : g.layer(sum, {random.integer(1, 9), outputs, 1, 1});
  std::vector<ValueId> results{last};
  if (kept) results.push_back(y);
  return g.finish(results);
}

// Several kinds of nodes after each other.
Graph network(Random& random) {
  IntegerMaker g(random);
  const int64_t c = random.integer(1, 20), size = random.integer(4, 14);
  const ValueId real = g.graph.add_input("real", {random_batch(random), random.integer(1, 4), size, size});
  ValueId x = g.node(Op::kQuantize, {real}, NoAttrs{}, g.quantization(0.05));
  ConvAttrs same;
  same.kernel = {3, 3};
  same.pads = {1, 1, 1, 1};
  x = g.layer(x, {c, g.graph.shape(x)[1], 3, 3}, same);
  ConvAttrs each = same;
  each.groups = static_cast<int32_t>(c);
  ValueId y = g.layer(x, {c, 1, 3, 3}, each);
  y = g.layer(y, {c, c, 1, 1});
  x = g.node(Op::kAdd, {x, y}, NoAttrs{}, g.for_sums(std::max(g.scale(x), g.scale(y)), 300));
  PoolAttrs pool_attrs;
  pool_attrs.kernel = pool_attrs.stride = {2, 2};
  x = g.move(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, {x}, pool_attrs);
  if (random.chance(0.5)) x = g.node(Op::kGlobalAveragePool, {x}, NoAttrs{}, g.for_sums(g.scale(x), 100));
  x = g.move(Op::kReshape, {x}, ReshapeAttrs{{0, -1}});
  x = g.layer(x, {random.integer(1, 12), g.graph.shape(x)[1]});
  const ValueId out = g.node(Op::kDequantize, {x}, NoAttrs{}, {});
  g.graph.value(out).type = DataType::kFloat32;
  return g.finish({out, x});
}

double float_input(Random& random, double step) {
  const int kind = random.integer(0, 19);
  if (kind == 0) return std::numeric_limits<double>::quiet_NaN();
  if (kind == 1) return random.chance(0.5) ? HUGE_VAL : -HUGE_VAL;
  if (kind == 2) return random.chance(0.5) ? 3e38 : -3e38;
  if (kind < 9) return (random.integer(-300, 300) + 0.5) * step;
  return static_cast<double>(static_cast<float>(random.normal() * 60 * step));
}

}  // namespace

const std::vector<Generator>& integer_generators() {
  static const std::vector<Generator> kList{{"int8 conv 1x1", conv_point},
                                            {"int8 conv square", conv_square},
                                            {"int8 conv filters", conv_filters},
                                            {"int8 conv wide", conv_wide},
                                            {"int8 conv lines", conv_lines},
                                            {"int8 conv oblong", conv_oblong},
                                            {"int8 conv groups", conv_groups},
                                            {"int8 depthwise", depthwise},
                                            {"int8 fully connected", fully_connected},
                                            {"int8 long sums", long_sums},
                                            {"int8 conv of parts", conv_of_parts},
                                            {"int8 conv between parts", conv_between_parts},
                                            {"int8 binary", binary},
                                            {"int8 binary of parts", binary_of_parts},
                                            {"int8 binary with constant", binary_with_constant},
                                            {"int8 function", function},
                                            {"int8 pool", pool},
                                            {"int8 global pool", global_pool},
                                            {"int8 clamp", clamp},
                                            {"int8 softmax", softmax},
                                            {"int8 quantize", quantize},
                                            {"int8 dequantize", dequantize},
                                            {"int8 moves", moves},
                                            {"int8 residual", residual},
                                            {"int8 network", network}};
  return kList;
}

std::vector<Array> integer_inputs(const Graph& graph, uint64_t seed, InputKind kind) {
  Random random(seed ^ 0x1234);
  std::vector<Array> all;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.value(id);
    const int low = value.type == DataType::kUInt8 ? 0 : -128, high = low + 255;
    Array array(value.shape);
    for (double& v : array.data) {
      if (value.type == DataType::kFloat32) {
        v = float_input(random, 0.125);
      } else if (kind == InputKind::kAny) {
        v = random.integer(low, high);
      } else {
        v = kind == InputKind::kLowest || (kind == InputKind::kEnds && random.chance(0.5)) ? low : high;
      }
    }
    all.push_back(std::move(array));
  }
  return all;
}

}  // namespace sparsenet::test
