// Conv, FullyConnected, BatchNorm, activations, Softmax and pools, each between a trained layer and a head.
#include "support/train_graphs.h"

#include <algorithm>

namespace sparsenet::test {

ValueId TrainGraphMaker::front(int64_t channels, int64_t height, int64_t width) {
  const ValueId x = input({batch_, random.integer(1, 4), height, width});
  return conv(x, channels, random.chance(0.5) ? 1 : 3, 1, 1, random.chance(0.7));
}

ValueId TrainGraphMaker::front_vector(int64_t channels) {
  return fully_connected(input({batch_, random.integer(2, 9)}), channels, random.chance(0.7));
}

ValueId TrainGraphMaker::front_image(int low, int high) {
  const int64_t height = random.integer(low, high), width = random.integer(low, high);
  return front(channels(), height, width);
}

Graph TrainGraphMaker::classify(ValueId x) {
  const int64_t classes = random.integer(2, 11);
  if (shape(x).size() == 4 && random.chance(0.2)) x = global_pool(x);
  if (shape(x).size() != 2) x = flatten(x);
  x = fully_connected(x, classes, random.chance(0.8));
  if (random.chance(0.2)) x = node(Op::kSoftmax, {x}, AxisAttrs{1});
  return finish({x});
}

namespace {

// A convolution after a front whose image is large enough for one window.
Graph conv_graph(TrainGraphMaker& g, int64_t in_channels, int64_t out_channels, ConvAttrs attrs, int high = 8) {
  int64_t size[2];
  for (size_t d = 0; d < 2; ++d) {
    const int64_t window = int64_t{attrs.kernel[d] - 1} * attrs.dilation[d] + 1;
    size[d] = std::max<int64_t>(g.random.integer(1, high), window - attrs.pads[d] - attrs.pads[d + 2]);
  }
  const ValueId x = g.front(in_channels, size[0], size[1]);
  if (g.random.chance(0.3)) attrs.activation = random_activation(g.random);
  ValueId y = g.conv(x, out_channels, attrs, g.random.chance(0.7));
  if (g.random.chance(0.2)) {  // a residual: an operand of Conv itself, with its own gradient
    const ValueId again = g.conv(x, out_channels, attrs, true, y);
    y = again;
  }
  return g.classify(y);
}

Graph conv_1x1(Random& random) {
  TrainGraphMaker g(random);
  ConvAttrs attrs;
  if (random.chance(0.2)) attrs.stride = {random.integer(1, 2), random.integer(1, 3)};
  const int64_t in = g.channels(), out = g.channels();
  return conv_graph(g, in, out, attrs);
}

Graph conv_3x3(Random& random) {
  TrainGraphMaker g(random);
  ConvAttrs attrs;
  attrs.kernel = {3, 3};
  attrs.pads = {1, 1, 1, 1};
  const int64_t in = g.channels(), out = g.channels();
  return conv_graph(g, in, out, attrs, 11);
}

Graph conv_any(Random& random) {
  TrainGraphMaker g(random);
  ConvAttrs attrs;
  for (size_t d = 0; d < 2; ++d) {
    attrs.kernel[d] = random.integer(1, 5);
    attrs.stride[d] = random.integer(1, 3);
    attrs.dilation[d] = random.chance(0.3) ? random.integer(2, 3) : 1;
  }
  for (int32_t& pad : attrs.pads) pad = random.integer(0, 3);
  const int64_t in = g.channels(), out = g.channels();
  return conv_graph(g, in, out, attrs);
}

Graph conv_grouped(Random& random) {
  TrainGraphMaker g(random);
  ConvAttrs attrs;
  attrs.groups = random.integer(2, 4);
  attrs.kernel = {random.integer(1, 3), random.integer(1, 3)};
  attrs.stride = {random.integer(1, 2), random.integer(1, 2)};
  attrs.pads = {1, 0, random.integer(0, 1), 1};
  const int64_t in = attrs.groups * random.integer(1, 4), out = attrs.groups * random.integer(1, 4);
  return conv_graph(g, in, out, attrs);
}

Graph conv_depthwise(Random& random) {
  TrainGraphMaker g(random);
  ConvAttrs attrs;
  const int32_t kernel = random.pick(std::vector<int32_t>{3, 3, 5, 2});
  attrs.kernel = {kernel, kernel};
  attrs.stride = {random.integer(1, 2), random.integer(1, 2)};
  attrs.pads = {kernel / 2, kernel / 2, random.integer(0, 1), kernel / 2};
  if (random.chance(0.2)) attrs.dilation = {2, 2};
  const int64_t in = std::max<int64_t>(2, g.channels());
  attrs.groups = static_cast<int32_t>(in);
  return conv_graph(g, in, in * (random.chance(0.3) ? 2 : 1), attrs);
}

Graph fully_connected(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_vector(random.integer(1, 40));
  const Activation activation = random.chance(0.7) ? random_activation(random) : Activation{};
  return g.classify(g.fully_connected(x, random.integer(1, 40), random.chance(0.7), activation));
}

Graph batch_norm(Random& random) {
  TrainGraphMaker g(random);
  ValueId y = g.batch_norm(g.front_image(1, 6), random.chance(0.5) ? 1e-5f : 1e-2f);
  if (random.chance(0.5)) y = g.relu(y);
  return g.classify(y);
}

Graph batch_norm_clip(Random& random) {
  TrainGraphMaker g(random);
  const float low = random.chance(0.5) ? 0.f : -0.5f;
  return g.classify(g.node(Op::kClip, {g.batch_norm(g.front_image(1, 6), 1e-3f)}, ClipAttrs{low, 0.6f}));
}

Graph batch_norm_of_vectors(Random& random) {
  TrainGraphMaker g(random);
  g.batch_ = random.integer(4, 9);
  ValueId y = g.batch_norm(g.front_vector(g.channels()), random.chance(0.5) ? 1e-3f : 1e-2f);
  if (random.chance(0.5)) y = g.node(Op::kTanh, {y});
  return g.classify(y);
}

// Several norms with separate parameters on the same value: they share its statistics.
Graph batch_norms_of_one_value(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_image(2, 5);
  const ValueId a = g.relu(g.batch_norm(x)), b = g.batch_norm(x);
  return g.classify(g.concat({a, g.node(Op::kTanh, {b}), x}));
}

// A convolution after BN and ReLU, with a bias before another BN: the bias's gradient is zero.
Graph batch_norm_relu_conv(Random& random) {
  TrainGraphMaker g(random);
  ValueId y = g.relu(g.batch_norm(g.front_image(3, 6)));
  y = g.conv(y, g.channels(), random.chance(0.5) ? 1 : 3);
  return g.classify(g.relu(g.batch_norm(y)));
}

Graph activation(Random& random, const ActivationRow& row) {
  TrainGraphMaker g(random);
  const ValueId x = random.chance(0.7) ? g.front_image() : g.front_vector(random.integer(2, 30));
  // Wider values half of the time, so that the flat ends are reached.
  const ValueId wide = random.chance(0.5) ? g.node(Op::kMul, {x, g.constant({1}, 4, 0)}) : x;
  return g.classify(g.node(row.op.op, {wide}, random_activation_attrs(random, row)));
}

Graph softmax(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = random.chance(0.5) ? g.front_image(2, 5) : g.front_vector(random.integer(2, 20));
  const auto axis = static_cast<int32_t>(random.integer(1, static_cast<int>(g.shape(x).size()) - 1));
  return g.classify(g.node(Op::kSoftmax, {x}, AxisAttrs{axis}));
}

Graph pooling(Random& random, Op op) {
  TrainGraphMaker g(random);
  PoolAttrs attrs;
  int64_t size[2];
  for (size_t d = 0; d < 2; ++d) {
    attrs.kernel[d] = random.integer(1, 4);
    attrs.stride[d] = random.integer(1, 3);
    attrs.pads[d] = random.integer(0, attrs.kernel[d] - 1);
    attrs.pads[d + 2] = random.integer(0, attrs.kernel[d] - 1);
    size[d] = random.integer(attrs.kernel[d], 8);
  }
  if (random.chance(0.4)) {  // the usual ones
    attrs = PoolAttrs{};
    attrs.kernel = attrs.stride = {2, 2};
    for (int64_t& s : size) s = std::max<int64_t>(s, 2);
  }
  attrs.ceil_mode = random.chance(0.3);
  attrs.count_include_pad = op == Op::kAveragePool && random.chance(0.4);
  const ValueId x = g.front(std::min<int64_t>(g.channels(), 8), size[0], size[1]);
  return g.classify(g.node(op, {x}, attrs));
}

Graph max_pool(Random& r) {
  return pooling(r, Op::kMaxPool);
}
Graph average_pool(Random& r) {
  return pooling(r, Op::kAveragePool);
}

Graph global_average_pool(Random& random) {
  TrainGraphMaker g(random);
  return g.classify(g.node(Op::kTanh, {g.global_pool(g.front_image())}));
}

Graph reduce_mean(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_image(2, 6);
  ReduceAttrs attrs;
  attrs.keep_dims = random.chance(0.5);
  for (int32_t axis = 1; axis < 4; ++axis) {
    if (random.chance(0.5)) attrs.axes.push_back(axis);
  }
  if (attrs.axes.empty() || attrs.axes.size() == 3) attrs.axes = {2, 3};
  return g.classify(g.node(Op::kReduceMean, {x}, attrs));
}

}  // namespace

const std::vector<Generator>& train_layer_generators() {
  static const std::vector<Generator> list = with_activations(
      {
          {"conv_1x1", conv_1x1},
          {"conv_3x3", conv_3x3},
          {"conv_any", conv_any},
          {"conv_grouped", conv_grouped},
          {"conv_depthwise", conv_depthwise},
          {"fully_connected", fully_connected},
          {"batch_norm", batch_norm},
          {"batch_norm_clip", batch_norm_clip},
          {"batch_norm_of_vectors", batch_norm_of_vectors},
          {"batch_norms_of_one_value", batch_norms_of_one_value},
          {"batch_norm_relu_conv", batch_norm_relu_conv},
          {"softmax", softmax},
          {"max_pool", max_pool},
          {"average_pool", average_pool},
          {"global_average_pool", global_average_pool},
          {"reduce_mean", reduce_mean},
      },
      activation);
  return list;
}

}  // namespace sparsenet::test
