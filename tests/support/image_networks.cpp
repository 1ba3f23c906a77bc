#include "support/image_networks.h"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "support/graph_maker.h"

namespace sparsenet::test {
namespace {

constexpr int64_t kClasses = 1000;

// A value, with what initialisation needs to know about it: roughly the mean and variance of its elements for an image
// of mean 0 and variance 1. The channels are kept here because a graph whose image is too small for it has no shapes.
struct Signal {
  ValueId id = kNoValue;
  int64_t channels = 0;
  double mean = 0, variance = 1;
};

// Square window with "same" padding.
ConvAttrs window(int32_t kernel, int32_t stride = 1, int64_t groups = 1) {
  ConvAttrs attrs;
  attrs.kernel = {kernel, kernel};
  attrs.stride = {stride, stride};
  attrs.pads.fill(kernel / 2);
  attrs.groups = static_cast<int32_t>(groups);
  return attrs;
}

// Adds layers with random weights by He's rule: such that what a layer returns has variance 1. The rule is written for
// ReLUs; here mean and variance of each value are followed, because these networks also have SiLUs, gates, sums of
// residuals and layers without an activation. Two things keep deep networks in range and let them tell images apart:
// the weights of each output have exactly the length that the rule gives them on average, and their sum is 0, so that
// the mean of activations, which no image changes much, does not grow from layer to layer.
class NetworkMaker {
 public:
  explicit NetworkMaker(uint64_t seed) : random_(seed), maker_(random_) {}

  Signal input(int64_t batch, int64_t size) { return {maker_.input({batch, 3, size, size}), 3, 0, 1}; }

  Signal conv(const Signal& x, int64_t channels, const ConvAttrs& attrs, bool bias, double deviation = 1) {
    const Shape shape{channels, x.channels / attrs.groups, attrs.kernel[0], attrs.kernel[1]};
    std::vector<ValueId> inputs{x.id, weight(x, shape, deviation)};
    if (bias) inputs.push_back(maker_.constant({channels}, 0, 0.2));
    return {maker_.node(Op::kConv, std::move(inputs), attrs), channels, 0, deviation * deviation};
  }

  Signal conv_norm(const Signal& x, int64_t channels, const ConvAttrs& attrs, double deviation = 1) {
    const Signal sums = conv(x, channels, attrs, false);
    const ValueId scale = maker_.nonzero({channels}, 0.8 * deviation, 1.2 * deviation, true);
    const ValueId shift = maker_.constant({channels}, 0, 0.2 * deviation);
    const ValueId mean = maker_.constant({channels}, 0, 0.1);
    const ValueId variance = maker_.nonzero({channels}, 0.8, 1.2, true);
    const ValueId id = maker_.node(Op::kBatchNorm, {sums.id, scale, shift, mean, variance}, BatchNormAttrs{1e-5f});
    return {id, channels, 0, deviation * deviation};
  }

  Signal relu(const Signal& x) { return rectified(x, maker_.relu(x.id)); }
  Signal relu6(const Signal& x) { return rectified(x, maker_.node(Op::kClip, {x.id}, ClipAttrs{0, 6})); }
  Signal silu(const Signal& x) {  // of normally distributed values around 0 with variance 1 to 10
    return {maker_.node(Op::kSilu, {x.id}, AlphaBetaAttrs{1, 0}), x.channels, 0.3 * std::sqrt(x.variance),
            0.35 * x.variance};
  }
  Signal add(const Signal& a, const Signal& b) {
    return {maker_.node(Op::kAdd, {a.id, b.id}), a.channels, a.mean + b.mean, a.variance + b.variance};
  }
  Signal concat(const Signal& a, const Signal& b) {  // of the same kind of layer
    return {maker_.concat({a.id, b.id}), a.channels + b.channels, a.mean, a.variance};
  }
  Signal global_pool(const Signal& x) { return {maker_.global_pool(x.id), x.channels, x.mean, x.variance}; }

  // 3x3 with stride 2, of what a ReLU returned.
  Signal max_pool(const Signal& x, int32_t padding, bool ceil_mode) {
    PoolAttrs attrs;
    attrs.kernel = {3, 3};
    attrs.stride = {2, 2};
    attrs.pads.fill(padding);
    attrs.ceil_mode = ceil_mode;
    return {maker_.node(Op::kMaxPool, {x.id}, attrs), x.channels, 3.5 * x.mean, 1.2 * x.variance};
  }

  // Gates stay around 1/2: where they were 0 or 1, they would choose the channels with the largest values.
  Signal squeeze_excite(const Signal& x, int64_t hidden_channels) {
    const Signal hidden = silu(conv(global_pool(x), hidden_channels, window(1), true));
    const Signal gate = conv(hidden, x.channels, window(1), true, 0.25);
    const ValueId factor = maker_.node(Op::kSigmoid, {gate.id});
    return {maker_.node(Op::kMul, {factor, x.id}), x.channels, x.mean / 2, 0.28 * x.variance};
  }

  // The two ways in which these networks end.
  Graph classify(const Signal& x) {
    const Signal features = global_pool(x);
    const ValueId vector = maker_.flatten(features.id);
    const ValueId weights = weight(features, {kClasses, x.channels}, 1);
    const ValueId bias = maker_.constant({kClasses}, 0, 0.2);
    return maker_.finish({maker_.node(Op::kFullyConnected, {vector, weights, bias}, FullyConnectedAttrs{})});
  }
  Graph average(const Signal& scores) { return maker_.finish({maker_.flatten(global_pool(scores).id)}); }

 private:
  static Signal rectified(const Signal& x, ValueId id) {  // of normally distributed values around 0
    return {id, x.channels, 0.4 * std::sqrt(x.variance), 0.34 * x.variance};
  }

  // The weights of depthwise convolutions keep their sum: without it these would find edges and nothing else.
  ValueId weight(const Signal& x, const Shape& shape, double deviation) {
    const bool depthwise = shape[1] == 1;
    const double length = deviation / std::sqrt(x.variance + (depthwise ? x.mean * x.mean : 0));
    const ValueId id = maker_.constant(shape, 0, 1);
    Tensor& constant = maker_.graph.value(id).constant;
    std::vector<float> values(constant.f32(), constant.f32() + constant.elements());
    const size_t row = values.size() / static_cast<size_t>(shape[0]);
    for (size_t first = 0; first < values.size(); first += row) {
      double mean = 0, squares = 0;
      if (!depthwise) {
        for (size_t i = first; i < first + row; ++i) mean += static_cast<double>(values[i]) / static_cast<double>(row);
      }
      for (size_t i = first; i < first + row; ++i) squares += std::pow(static_cast<double>(values[i]) - mean, 2);
      const double factor = length / std::sqrt(squares);
      for (size_t i = first; i < first + row; ++i) {
        values[i] = static_cast<float>((static_cast<double>(values[i]) - mean) * factor);
      }
    }
    constant = Tensor::from(shape, std::move(values));
    return id;
  }

  Random random_;
  GraphMaker maker_;
};

Signal basic_block(NetworkMaker& net, const Signal& x, int64_t channels, int32_t stride) {
  const Signal hidden = net.relu(net.conv_norm(x, channels, window(3, stride)));
  const Signal residual = net.conv_norm(hidden, channels, window(3));
  const bool same_shape = stride == 1 && x.channels == channels;
  const Signal shortcut = same_shape ? x : net.conv_norm(x, channels, window(1, stride));
  return net.relu(net.add(residual, shortcut));
}

Graph resnet18(NetworkMaker& net, const Signal& image) {
  Signal x = net.max_pool(net.relu(net.conv_norm(image, 64, window(7, 2))), 1, false);
  for (const int64_t channels : {64, 128, 256, 512}) {
    x = basic_block(net, x, channels, channels == 64 ? 1 : 2);
    x = basic_block(net, x, channels, 1);
  }
  return net.classify(x);
}

// MobileNetV2 and EfficientNet are stages of inverted residuals: a 1x1 convolution to many channels, a depthwise
// convolution of these, and a 1x1 convolution to few channels, with no activation behind it.
struct Stage {
  int64_t expansion;
  int32_t kernel, stride;  // the stride is that of the first block
  int64_t channels;
  int blocks;
};

// What is the same in all blocks of a network. `deviation` is the standard deviation in front of activations: 1, or
// more for a SiLU, which is nearly a parabola around 0, so that small values would become smaller from layer to layer.
struct Style {
  Signal (NetworkMaker::*activate)(const Signal& x);
  double deviation;
  bool gates;
};

Signal inverted_residual(NetworkMaker& net, const Signal& x, const Stage& stage, int32_t stride, const Style& style) {
  const auto layer = [&](const Signal& in, int64_t channels, const ConvAttrs& attrs) {
    return (net.*style.activate)(net.conv_norm(in, channels, attrs, style.deviation));
  };
  Signal hidden = x;
  if (stage.expansion != 1) hidden = layer(x, stage.expansion * x.channels, window(1));
  hidden = layer(hidden, hidden.channels, window(stage.kernel, stride, hidden.channels));
  if (style.gates) hidden = net.squeeze_excite(hidden, x.channels / 4);
  hidden = net.conv_norm(hidden, stage.channels, window(1));
  return stride == 1 && x.channels == stage.channels ? net.add(x, hidden) : hidden;
}

Graph inverted_residuals(NetworkMaker& net, const Signal& image, const std::vector<Stage>& stages, const Style& style) {
  Signal x = (net.*style.activate)(net.conv_norm(image, 32, window(3, 2), style.deviation));
  for (const Stage& stage : stages) {
    for (int block = 0; block < stage.blocks; ++block) {
      x = inverted_residual(net, x, stage, block == 0 ? stage.stride : 1, style);
    }
  }
  return net.classify((net.*style.activate)(net.conv_norm(x, 1280, window(1), style.deviation)));
}

Graph mobilenet_v2(NetworkMaker& net, const Signal& image) {
  const std::vector<Stage> stages{{1, 3, 1, 16, 1}, {6, 3, 2, 24, 2},  {6, 3, 2, 32, 3}, {6, 3, 2, 64, 4},
                                  {6, 3, 1, 96, 3}, {6, 3, 2, 160, 3}, {6, 3, 1, 320, 1}};
  return inverted_residuals(net, image, stages, {&NetworkMaker::relu6, 1, false});
}

Graph efficientnet_b0(NetworkMaker& net, const Signal& image) {
  const std::vector<Stage> stages{{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
                                  {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};
  return inverted_residuals(net, image, stages, {&NetworkMaker::silu, 2, true});
}

Signal fire(NetworkMaker& net, const Signal& x, int64_t squeezed, int64_t expanded) {
  const Signal squeeze = net.relu(net.conv(x, squeezed, window(1), true));
  const Signal one = net.relu(net.conv(squeeze, expanded, window(1), true));
  const Signal three = net.relu(net.conv(squeeze, expanded, window(3), true));
  return net.concat(one, three);
}

Graph squeezenet1_1(NetworkMaker& net, const Signal& image) {
  ConvAttrs stem = window(3, 2);
  stem.pads.fill(0);
  Signal x = net.relu(net.conv(image, 64, stem, true));
  for (const int64_t squeezed : {16, 32}) {
    x = net.max_pool(x, 0, true);
    x = fire(net, x, squeezed, 4 * squeezed);
    x = fire(net, x, squeezed, 4 * squeezed);
  }
  x = net.max_pool(x, 0, true);
  for (const int64_t squeezed : {48, 48, 64, 64}) x = fire(net, x, squeezed, 4 * squeezed);
  return net.average(net.relu(net.conv(x, kClasses, window(1), true)));
}

struct Network {
  const char* name;
  Graph (*make)(NetworkMaker& net, const Signal& image);
};
constexpr Network kNetworks[] = {{"resnet18", resnet18},
                                 {"mobilenet_v2", mobilenet_v2},
                                 {"squeezenet1_1", squeezenet1_1},
                                 {"efficientnet_b0", efficientnet_b0}};

}  // namespace

const std::vector<std::string>& image_network_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Network& network : kNetworks) list.emplace_back(network.name);
    return list;
  }();
  return names;
}

Graph image_network(const std::string& name, uint64_t seed, int64_t size, int64_t batch) {
  std::string known;
  for (const Network& network : kNetworks) {
    if (name == network.name) {
      NetworkMaker net(seed);
      return network.make(net, net.input(batch, size));
    }
    known += std::string(known.empty() ? "" : ", ") + network.name;
  }
  throw std::invalid_argument("image network '" + name + "': expected one of " + known);
}

}  // namespace sparsenet::test
