// Few but wide classifiers: for errors that show only beyond one vector register, one cache block or one thread's
// share. Too slow for finite differences; they compare one backend with another.
#include <algorithm>

#include "support/train_graphs.h"

namespace sparsenet::test {
namespace {

int64_t wide_channels(Random& random) {
  return random.pick(std::vector<int64_t>{16, 24, 26, 33, 48, 64, 65, 104, 128, 200});
}

int64_t side(Random& random, int high = 20) {
  return random.integer(3, high);
}

// Groups side by side, BN and ReLU, a convolution, BN and ReLU, a convolution: a SparseNet layer and its readers.
Graph wide_layer(Random& random) {
  TrainGraphMaker g(random);
  const int64_t k = random.pick(std::vector<int64_t>{8, 12, 16, 26}), height = side(random), width = side(random);
  std::vector<ValueId> groups{g.front(2 * k, height, width)};
  for (int i = random.integer(2, 4); i > 0; --i) {
    ValueId y = groups.size() == 1 ? groups[0] : g.concat(groups);
    y = g.conv(g.relu(g.batch_norm(y, 1e-3f)), 4 * k, 1);
    groups.insert(groups.begin(), g.conv(g.relu(g.batch_norm(y, 1e-3f)), k, 3));
    if (groups.size() > 3) groups.erase(groups.begin() + 2);
  }
  return g.finish({g.head(g.relu(g.batch_norm(g.concat(groups), 1e-3f)), 10)});
}

Graph wide_conv(Random& random, int32_t kernel) {
  TrainGraphMaker g(random);
  const int64_t in = wide_channels(random), out = wide_channels(random), height = side(random), width = side(random);
  const ValueId x = g.node(Op::kTanh, {g.front(in, height, width)});
  const int32_t stride = random.chance(0.3) ? 2 : 1;
  ValueId y = g.conv(x, out, kernel, stride, 1, random.chance(0.7));
  if (random.chance(0.5)) y = g.batch_norm(y, 1e-3f);
  return g.finish({g.head(g.node(Op::kTanh, {y}), 10)});
}

Graph wide_conv_1x1(Random& random) {
  return wide_conv(random, 1);
}
Graph wide_conv_3x3(Random& random) {
  return wide_conv(random, 3);
}
Graph wide_conv_5x5(Random& random) {
  return wide_conv(random, 5);
}

Graph wide_grouped(Random& random) {
  TrainGraphMaker g(random);
  const int32_t groups = random.integer(2, 4);
  const int64_t in = groups * random.integer(4, 40), out = groups * random.integer(4, 40);
  const ValueId x = g.front(in, side(random), side(random));
  return g.finish({g.head(g.node(Op::kTanh, {g.conv(x, out, 3, 1, groups)}), 10)});
}

Graph wide_depthwise(Random& random) {
  TrainGraphMaker g(random);
  const int64_t channels = wide_channels(random);
  const ValueId x = g.front(channels, side(random), side(random));
  const ValueId y = g.conv(x, channels, 3, random.integer(1, 2), static_cast<int32_t>(channels));
  return g.finish({g.head(g.node(Op::kHardSwish, {g.batch_norm(y, 1e-3f)}), 10)});
}

Graph wide_pools(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front(wide_channels(random), side(random), side(random));
  const ValueId a = g.pool(Op::kAveragePool, x, 2, 2), b = g.pool(Op::kMaxPool, x, 2, 2);
  return g.finish({g.head(g.node(Op::kTanh, {g.concat({a, b})}), 10)});
}

Graph wide_gate(Random& random) {
  TrainGraphMaker g(random);
  const int64_t channels = wide_channels(random);
  const ValueId x = g.front(channels, side(random), side(random));
  const ValueId f = g.node(Op::kSigmoid, {g.conv(g.relu(g.conv(g.global_pool(x), 7, 1)), channels, 1)});
  const ValueId y = g.node(Op::kAdd, {x, g.node(Op::kMul, {x, f})});
  return g.finish({g.head(g.relu(g.batch_norm(y, 1e-3f)), 10)});
}

Graph wide_vectors(Random& random) {
  TrainGraphMaker g(random);
  g.batch_ = random.integer(5, 33);
  const ValueId x = g.fully_connected(g.input({g.batch_, random.integer(20, 300)}), random.integer(20, 300));
  const ValueId y = g.node(Op::kTanh, {g.batch_norm(x, 1e-3f)});
  return g.finish({g.fully_connected(y, random.integer(2, 200))});
}

}  // namespace

const std::vector<Generator>& train_wide_generators() {
  static const std::vector<Generator> list{
      {"wide_layer", wide_layer},       {"wide_conv_1x1", wide_conv_1x1}, {"wide_conv_3x3", wide_conv_3x3},
      {"wide_conv_5x5", wide_conv_5x5}, {"wide_grouped", wide_grouped},   {"wide_depthwise", wide_depthwise},
      {"wide_pools", wide_pools},       {"wide_gate", wide_gate},         {"wide_vectors", wide_vectors},
  };
  return list;
}

}  // namespace sparsenet::test
