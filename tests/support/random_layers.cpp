// Random graphs around one layer: convolutions, fully connected, normalisation, activations, pools, Softmax.
#include <algorithm>
#include <limits>

#include "support/random_graphs.h"

namespace sparsenet::test {

int64_t random_channels(Random& random) {
  static const std::vector<int64_t> kChannels{1, 3, 7, 8, 12, 16, 17, 26, 33, 64};
  return random.pick(kChannels);
}

int64_t random_batch(Random& random) {
  return random.chance(0.5) ? 1 : random.integer(2, 3);
}

Shape random_image(Random& random, int64_t low, int64_t high) {
  const auto size = [&] { return random.integer(static_cast<int>(low), static_cast<int>(high)); };
  const int64_t batch = random_batch(random), channels = random_channels(random), height = size(), width = size();
  return {batch, channels, height, width};
}

Activation random_activation(Random& random) {
  const int kind = random.integer(0, kActivations);
  if (kind == 0) return {};
  const ActivationRow& row = kActivationTable[kind - 1];
  return activation_of(row, random_activation_attrs(random, row));
}

Attrs random_activation_attrs(Random& random, const ActivationRow& row) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto real = [&](double low, double high) { return static_cast<float>(random.real(low, high)); };
  switch (row.parameters) {
    case ActivationParameters::kBounds: {
      const float low = random.chance(0.2) ? -kInfinity : real(-1, -0.1);
      return ClipAttrs{low, random.chance(0.2) ? kInfinity : real(0.1, 1.5)};
    }
    case ActivationParameters::kAlpha:
      return AlphaBetaAttrs{real(-0.2, 1.5), 0};
    case ActivationParameters::kAlphaBeta:
      return AlphaBetaAttrs{real(0.2, 0.6), real(0.2, 0.7)};
    case ActivationParameters::kNone:
      break;
  }
  return NoAttrs{};
}

Graph make_graph(const Generator& generator, uint64_t seed) {
  Random random(seed);
  return generator.make(random);
}

std::vector<Array> random_inputs(const Graph& graph, uint64_t seed) {
  Random random(seed ^ 0x5EEDull);
  std::vector<Array> inputs;
  for (ValueId id : graph.inputs) {
    Array array(graph.shape(id));
    for (double& v : array.data) v = static_cast<double>(static_cast<float>(random.normal()));
    inputs.push_back(std::move(array));
  }
  return inputs;
}

namespace {

// A convolution on a graph input, possibly with a fused activation and a residual from a second input.
Graph conv_graph(Random& random, Shape x, int64_t out_channels, ConvAttrs attrs) {
  // Keeps the double-precision reference fast: shrinks the image, then the channels.
  auto work = [&] {
    return x[0] * x[1] / attrs.groups * x[2] * x[3] * out_channels * attrs.kernel[0] * attrs.kernel[1];
  };
  while (work() > 3'000'000 && std::max(x[2], x[3]) > 4) (x[2] > x[3] ? x[2] : x[3]) -= 1;
  for (size_t d = 0; d < 2; ++d) {  // at least one window must fit
    const int64_t window = int64_t{attrs.kernel[d] - 1} * attrs.dilation[d] + 1;
    x[d + 2] = std::max(x[d + 2], window - attrs.pads[d] - attrs.pads[d + 2]);
  }
  GraphMaker g(random);
  const ValueId in = g.input(x);
  if (random.chance(0.4)) attrs.activation = random_activation(random);
  const bool bias = random.chance(0.7);
  if (random.chance(0.25)) {
    GraphMaker probe(random);  // determines the output's shape
    const ValueId probe_in = probe.input(x);
    const ValueId probe_out = probe.conv(probe_in, out_channels, attrs, false);
    const Shape out = probe.shape(probe_out);
    const ValueId residual = g.input(out);
    return g.finish({g.conv(in, out_channels, attrs, bias, residual)});
  }
  return g.finish({g.conv(in, out_channels, attrs, bias)});
}

Graph conv_1x1(Random& random) {
  ConvAttrs attrs;
  if (random.chance(0.25)) attrs.stride = {random.integer(1, 3), random.integer(1, 3)};
  const Shape x = random_image(random);
  return conv_graph(random, x, random_channels(random), attrs);
}

Graph conv_3x3(Random& random) {
  ConvAttrs attrs;
  attrs.kernel = {3, 3};
  attrs.pads = {1, 1, 1, 1};
  const Shape x = random_image(random);
  return conv_graph(random, x, random_channels(random), attrs);
}

Graph conv_3x3_stride2(Random& random) {
  ConvAttrs attrs;
  attrs.kernel = {3, 3};
  attrs.stride = {2, 2};
  attrs.pads = {random.integer(0, 1), random.integer(0, 1), 1, 1};
  const Shape x = random_image(random);
  return conv_graph(random, x, random_channels(random), attrs);
}

Graph conv_any(Random& random) {
  ConvAttrs attrs;
  for (size_t d = 0; d < 2; ++d) {
    attrs.kernel[d] = random.integer(1, 7);
    attrs.stride[d] = random.integer(1, 3);
    if (random.chance(0.25)) attrs.dilation[d] = random.integer(2, 3);
  }
  for (int32_t& p : attrs.pads) p = random.integer(0, 3);
  const Shape x = random_image(random);
  return conv_graph(random, x, random_channels(random), attrs);
}

Graph conv_grouped(Random& random) {
  ConvAttrs attrs;
  attrs.groups = random.integer(2, 4);
  attrs.kernel = {random.integer(1, 3), random.integer(1, 3)};
  attrs.pads = {1, 0, random.integer(0, 1), 1};
  attrs.stride = {random.integer(1, 2), random.integer(1, 2)};
  Shape x = random_image(random);
  static const std::vector<int64_t> kWidths{1, 2, 3, 4, 8, 16};
  x[1] = attrs.groups * random.pick(kWidths);
  return conv_graph(random, x, attrs.groups * random.pick(kWidths), attrs);
}

Graph conv_depthwise(Random& random) {
  ConvAttrs attrs;
  const Shape x = random_image(random);
  const int32_t kernel = random.pick(std::vector<int32_t>{3, 3, 3, 5, 2});
  attrs.kernel = {kernel, kernel};
  attrs.stride = {random.integer(1, 2), random.integer(1, 2)};
  attrs.pads = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
  if (random.chance(0.2)) attrs.dilation = {2, 2};
  if (random.chance(0.2)) attrs.pads[0] = attrs.pads[1] = 0;  // as with TFLite's SAME and stride 2
  attrs.groups = static_cast<int32_t>(x[1]);
  return conv_graph(random, x, x[1] * (random.chance(0.25) ? 2 : 1), attrs);
}

Graph fully_connected(Random& random) {
  GraphMaker g(random);
  const int64_t inputs = random.pick(std::vector<int64_t>{1, 3, 10, 64, 100, 257});
  const ValueId x = g.input({random_batch(random), inputs});
  const int64_t outputs = random.pick(std::vector<int64_t>{1, 2, 10, 33, 100});
  const Activation activation = random.chance(0.5) ? random_activation(random) : Activation{};
  return g.finish({g.fully_connected(x, outputs, random.chance(0.7), activation)});
}

// Flattening before a fully connected layer fixes an order of elements that differs from NHWC storage.
Graph conv_flatten_fully_connected(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random, 1, 7));
  ValueId y = random.chance(0.7) ? g.conv(x, random_channels(random), 1) : x;
  if (random.chance(0.5)) y = g.relu(y);
  return g.finish({g.fully_connected(g.flatten(y), random.integer(1, 20))});
}

Graph batch_norm(Random& random) {
  GraphMaker g(random);
  Shape shape = random_image(random);
  if (random.chance(0.25)) shape.resize(2);
  const ValueId x = g.input(shape);
  ValueId y = g.batch_norm(x, random.chance(0.5) ? 1e-5f : 1e-3f);
  if (random.chance(0.4)) y = g.relu(y);
  return g.finish({y});
}

Graph batch_norm_of_sequence(Random& random) {
  GraphMaker g(random);
  Shape shape = random_image(random);
  shape.resize(3);
  return g.finish({g.relu(g.batch_norm(g.input(shape)))});
}

Graph conv_batch_norm_activation(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random));
  const int32_t kernel = random.chance(0.5) ? 1 : 3;
  ValueId y = g.conv(x, random_channels(random), kernel, random.integer(1, 2), 1, random.chance(0.5));
  y = g.batch_norm(y);
  if (random.chance(0.3)) y = g.batch_norm(y);
  y = random.chance(0.5) ? g.relu(y) : g.node(Op::kClip, {y}, ClipAttrs{0, 6});
  if (random.chance(0.3)) y = g.batch_norm(y);
  return g.finish({y});
}

// BN and ReLU before a convolution become the affine step; padding must be zero after the affine, not before it.
Graph batch_norm_relu_conv(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input(random_image(random));
  if (random.chance(0.3)) x = g.conv(x, random_channels(random), 1);
  ValueId y = g.batch_norm(x);
  if (random.chance(0.75)) y = g.relu(y);
  y = g.conv(y, random_channels(random), random.chance(0.5) ? 1 : 3, random.integer(1, 2));
  if (random.chance(0.3)) return g.finish({y, x});
  return g.finish({y});
}

Graph activation(Random& random, const ActivationRow& row) {
  GraphMaker g(random);
  Shape shape = random_image(random);
  if (random.chance(0.25)) shape.resize(random.chance(0.5) ? 2 : 3);
  ValueId x = g.input(shape);
  if (shape.size() == 4 && random.chance(0.4)) x = g.conv(x, random_channels(random), 1);
  return g.finish({g.node(row.op.op, {x}, random_activation_attrs(random, row))});
}

Graph softmax(Random& random) {
  GraphMaker g(random);
  Shape shape = random_image(random, 1, 8);
  shape.resize(static_cast<size_t>(random.integer(2, 4)));
  const auto axis = static_cast<int32_t>(random.integer(1, static_cast<int>(shape.size()) - 1));
  ValueId x = g.input(shape);
  if (random.chance(0.3)) x = g.node(Op::kMul, {x, g.constant({1}, 30, 0)});  // exp() would overflow
  return g.finish({g.node(Op::kSoftmax, {x}, AxisAttrs{axis})});
}

Graph pooling(Random& random, Op op) {
  GraphMaker g(random);
  Shape shape = random_image(random);
  PoolAttrs attrs;
  for (size_t d = 0; d < 2; ++d) {
    attrs.kernel[d] = random.integer(1, 5);
    attrs.stride[d] = random.integer(1, 3);
    attrs.pads[d] = random.integer(0, attrs.kernel[d] - 1);
    attrs.pads[d + 2] = random.integer(0, attrs.kernel[d] - 1);
    shape[d + 2] = std::max<int64_t>(shape[d + 2], attrs.kernel[d]);
  }
  if (random.chance(0.4)) {  // the usual ones
    attrs = PoolAttrs{};
    attrs.kernel = attrs.stride = {2, 2};
    shape[2] = std::max<int64_t>(shape[2], 2);
    shape[3] = std::max<int64_t>(shape[3], 2);
  }
  attrs.ceil_mode = random.chance(0.3);
  attrs.count_include_pad = op == Op::kAveragePool && random.chance(0.4);
  ValueId x = g.input(shape);
  if (random.chance(0.3)) x = g.conv(x, random_channels(random), 1);
  return g.finish({g.node(op, {x}, attrs)});
}

Graph max_pool(Random& r) {
  return pooling(r, Op::kMaxPool);
}
Graph average_pool(Random& r) {
  return pooling(r, Op::kAveragePool);
}

Graph global_average_pool(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input(random_image(random));
  if (random.chance(0.4)) x = g.relu(g.batch_norm(x));
  return g.finish({g.global_pool(x)});
}

Graph reduce_mean(Random& random) {
  GraphMaker g(random);
  const Shape shape = random_image(random, 1, 9);
  ReduceAttrs attrs;
  attrs.keep_dims = random.chance(0.5);
  if (random.chance(0.5)) {
    attrs.axes = {2, 3};
  } else {
    for (int32_t axis = 1; axis < 4; ++axis) {
      if (random.chance(0.5)) attrs.axes.push_back(axis);
    }
    if (attrs.axes.empty()) attrs.axes = {random.integer(1, 3)};
  }
  ValueId x = g.input(shape);
  if (random.chance(0.3)) x = g.conv(x, random_channels(random), 1);
  return g.finish({g.node(Op::kReduceMean, {x}, attrs)});
}

// An average pool after a 1x1 convolution, as in transitions: a pass may swap the two.
Graph conv_1x1_average_pool(Random& random) {
  GraphMaker g(random);
  Shape shape = random_image(random, 2, 19);
  ValueId x = g.input(shape);
  if (random.chance(0.7)) x = g.relu(g.batch_norm(x));
  x = g.conv(x, random_channels(random), 1);
  if (random.chance(0.2)) x = g.relu(x);  // now the two do not commute
  PoolAttrs attrs;
  attrs.kernel = attrs.stride = {2, 2};
  if (random.chance(0.3)) {
    attrs.kernel = {3, 3};
    attrs.pads = {1, 1, 1, 1};
    attrs.count_include_pad = random.chance(0.5);  // with a bias these do not commute either
  }
  return g.finish({g.node(Op::kAveragePool, {x}, attrs)});
}

Graph affine_step(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input(random_image(random));
  const Shape channels{g.shape(x)[1]};
  const ValueId scale = g.constant(channels, 1, 0.5), shift = g.constant(channels, 0, 0.5);
  return g.finish({g.node(Op::kAffine, {x, scale, shift}, AffineAttrs{random_activation(random)})});
}

Graph attention_step(Random& random) {
  GraphMaker g(random);
  const ValueId h = g.input(random_image(random));
  const int64_t c = g.shape(h)[1];
  const double spread = 1.2 / std::sqrt(static_cast<double>(c));
  AttentionAttrs attrs;
  if (random.chance(0.5)) {
    return g.finish({g.node(Op::kAttention,
                            {h, g.constant({c}, 1, 0.5), g.constant({c}, 0, 0.5), g.constant({c, c}, 0, spread),
                             g.constant({c}, 0, 0.3), g.constant({2 * c}, 1, 0.5), g.constant({2 * c}, 0, 0.3),
                             g.constant({c, 2 * c}, 0, spread), g.constant({c}, 0, 0.3)},
                            attrs)});
  }
  attrs.kind = AttentionAttrs::Kind::kSqueezeExcite;
  if (random.chance(0.5)) attrs.gate = {Activation::Kind::kHardSigmoid, 0.2f, 0.5f};
  const int64_t hidden = random.integer(1, 8);
  return g.finish({g.node(Op::kAttention,
                          {h, g.constant({hidden, c}, 0, spread), g.constant({hidden}, 0, 0.3),
                           g.constant({c, hidden}, 0, 0.7), g.constant({c}, 0, 0.3)},
                          attrs)});
}

// A layer as in DenseNet: several groups, BN and ReLU, a convolution of many channels.
Graph wide_conv(Random& random, int32_t kernel) {
  GraphMaker g(random);
  const int64_t side = random.integer(5, kernel == 1 ? 24 : 34);
  const int64_t columns = random.chance(0.5) ? side : random.integer(5, 34);
  const int64_t outputs = random.pick(std::vector<int64_t>{16, 26, 64, 104, 128, 250, 520});
  const int64_t limit = 40'000'000 / (outputs * side * columns * kernel * kernel);
  std::vector<ValueId> groups;
  int64_t channels = 0;
  do {
    const int64_t width = random.pick(std::vector<int64_t>{12, 16, 26, 64, 129, 300});
    groups.push_back(g.input({1, width, side, columns}));
    channels += width;
  } while (groups.size() < 24 && channels < limit && random.chance(0.85));
  ValueId x = groups.size() == 1 ? groups[0] : g.concat(groups);
  if (random.chance(0.7)) x = g.batch_norm(x);
  if (random.chance(0.7)) x = g.relu(x);
  x = g.conv(x, outputs, kernel);
  if (random.chance(0.5)) x = g.relu(g.batch_norm(x));
  return g.finish({x});
}

Graph wide_conv_1x1(Random& random) {
  return wide_conv(random, 1);
}
Graph wide_conv_3x3(Random& random) {
  return wide_conv(random, 3);
}

// Large enough for Winograd's algorithm on any device, with sizes that its tiles do not divide.
Graph wide_conv_winograd(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input({1, random.integer(200, 300), random.integer(17, 26), random.integer(17, 26)});
  if (random.chance(0.5)) x = g.relu(g.batch_norm(x));
  x = g.conv(x, random.integer(200, 300), 3);
  if (random.chance(0.5)) x = g.relu(g.batch_norm(x));
  return g.finish({x});
}

Graph wide_fully_connected(Random& random) {
  GraphMaker g(random);
  const ValueId x = g.input({random_batch(random), random.integer(500, 3000)});
  return g.finish({g.fully_connected(x, random.integer(200, 1200))});
}

Graph wide_depthwise(Random& random) {
  GraphMaker g(random);
  const int32_t channels = random.integer(100, 600);
  const ValueId x = g.input({1, channels, random.integer(7, 30), random.integer(7, 30)});
  return g.finish({g.conv(x, channels, random.chance(0.5) ? 3 : 5, random.integer(1, 2), channels)});
}

}  // namespace

const std::vector<Generator>& wide_generators() {
  static const std::vector<Generator> list{
      {"wide_conv_1x1", wide_conv_1x1},
      {"wide_conv_3x3", wide_conv_3x3},
      {"wide_fully_connected", wide_fully_connected},
      {"wide_depthwise", wide_depthwise},
  };
  return list;
}

const std::vector<Generator>& winograd_generators() {
  static const std::vector<Generator> list{{"wide_conv_winograd", wide_conv_winograd}};
  return list;
}

std::vector<Generator> with_activations(std::vector<Generator> list,
                                        Graph (*make)(Random& random, const ActivationRow& row)) {
  for (const ActivationRow& row : kActivationTable) {
    list.push_back({row.op.name, [make, &row](Random& random) { return make(random, row); }});
  }
  return list;
}

const std::vector<Generator>& layer_generators() {
  static const std::vector<Generator> list = with_activations(
      {
          {"conv_1x1", conv_1x1},
          {"conv_3x3", conv_3x3},
          {"conv_3x3_stride2", conv_3x3_stride2},
          {"conv_any", conv_any},
          {"conv_grouped", conv_grouped},
          {"conv_depthwise", conv_depthwise},
          {"fully_connected", fully_connected},
          {"conv_flatten_fully_connected", conv_flatten_fully_connected},
          {"batch_norm", batch_norm},
          {"batch_norm_of_sequence", batch_norm_of_sequence, true},
          {"conv_batch_norm_activation", conv_batch_norm_activation},
          {"batch_norm_relu_conv", batch_norm_relu_conv},
          {"softmax", softmax},
          {"max_pool", max_pool},
          {"average_pool", average_pool},
          {"global_average_pool", global_average_pool},
          {"reduce_mean", reduce_mean},
          {"conv_1x1_average_pool", conv_1x1_average_pool},
          {"affine_step", affine_step, true},
          {"attention_step", attention_step, true},
      },
      activation);
  return list;
}

}  // namespace sparsenet::test
