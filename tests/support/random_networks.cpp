// Random whole networks: small relatives of the families that the engine supports, and DAGs that nobody would design.
#include <algorithm>
#include <deque>

#include "support/random_graphs.h"

namespace sparsenet::test {
namespace {

ValueId paper_attention(GraphMaker& g, ValueId h) {
  const int64_t k = g.shape(h)[1];
  const ValueId pooled = g.global_pool(h);
  const ValueId e = g.conv(g.relu(g.batch_norm(pooled)), k, 1);
  const ValueId f = g.conv(g.relu(g.batch_norm(g.concat({e, pooled}))), k, 1);
  return g.node(Op::kAdd, {h, g.node(Op::kMul, {h, g.node(Op::kSigmoid, {f})})});
}

ValueId squeeze_excite(GraphMaker& g, ValueId h, bool hard) {
  const int64_t k = g.shape(h)[1];
  const ValueId hidden = g.relu(g.conv(g.global_pool(h), std::max<int64_t>(1, k / 4), 1));
  ValueId f = g.conv(hidden, k, 1);
  f = hard ? g.node(Op::kHardSigmoid, {f}, AlphaBetaAttrs{0.2f, 0.5f}) : g.node(Op::kSigmoid, {f});
  return g.random.chance(0.5) ? g.node(Op::kMul, {h, f}) : g.node(Op::kMul, {f, h});
}

ValueId average_pool(GraphMaker& g, ValueId x) {
  if (g.shape(x)[2] < 2 || g.shape(x)[3] < 2) return x;
  return g.pool(Op::kAveragePool, x, 2, 2);
}

struct DenseSettings {
  int path = 0;       // 0: no group is ever dropped
  int attention = 0;  // 0 none, 1 paper, 2 SE
  bool bottleneck = true, pre_relu = true, newest_first = true, nested_concat = false;
};

// SparseNet and DenseNet have everything in common except the rule that drops groups.
Graph dense_like(Random& random, const DenseSettings& s) {
  GraphMaker g(random);
  const int64_t k = random.pick(std::vector<int64_t>{3, 4, 7, 8, 12, 16});
  const Shape image{random_batch(random), 3, random.integer(4, 11), random.integer(4, 11)};
  ValueId x = g.relu(g.conv(g.input(image), 2 * k, 3));
  const int blocks = random.integer(1, 2);
  for (int block = 0; block < blocks; ++block) {
    std::deque<ValueId> groups;  // newest first
    if (block == 0 || random.chance(0.5)) {
      groups.push_back(x);
    } else {  // a Split makes several groups of a transition's output
      const int64_t width = g.shape(x)[1];
      for (ValueId part : g.split(x, 1, {k, width - k})) groups.push_back(part);
    }
    ValueId joined = groups.size() == 1 ? groups[0] : x;
    const auto join = [&] {
      std::vector<ValueId> parts(groups.begin(), groups.end());
      if (!s.newest_first) std::reverse(parts.begin(), parts.end());
      return parts.size() == 1 ? parts[0] : g.concat(parts);
    };
    const int layers = random.integer(2, 5);
    for (int layer = 0; layer < layers; ++layer) {
      ValueId h = g.batch_norm(joined);
      if (s.pre_relu || !s.bottleneck) h = g.relu(h);
      if (s.bottleneck) h = g.relu(g.batch_norm(g.conv(h, 4 * k, 1, 1, 1, random.chance(0.8))));
      h = g.conv(h, k, 3);
      if (s.attention == 1) h = paper_attention(g, h);
      if (s.attention == 2) h = squeeze_excite(g, h, false);
      groups.push_front(h);
      if (s.path > 0 && static_cast<int>(groups.size()) > s.path + 1) {
        groups.erase(groups.begin() + s.path / 2 + 1);
      }
      joined = s.nested_concat && s.path == 0 ? g.concat({h, joined}) : join();
    }
    x = g.relu(g.batch_norm(joined));
    if (block + 1 < blocks) x = average_pool(g, g.conv(x, 3 * k, 1));
  }
  const ValueId logits = g.head(x, 10);
  if (random.chance(0.2)) return g.finish({logits, x});
  return g.finish({logits});
}

Graph densenet(Random& random) {
  DenseSettings s;
  s.bottleneck = random.chance(0.7);
  s.newest_first = random.chance(0.5);
  s.nested_concat = random.chance(0.5);
  return dense_like(random, s);
}

Graph sparsenet(Random& random) {
  DenseSettings s;
  s.path = random.integer(2, 4);
  s.attention = random.integer(0, 2);
  s.bottleneck = random.chance(0.8);
  s.pre_relu = random.chance(0.7);
  return dense_like(random, s);
}

Graph resnet(Random& random) {
  GraphMaker g(random);
  const Shape image{random_batch(random), 3, random.integer(6, 12), random.integer(6, 12)};
  int64_t width = random.pick(std::vector<int64_t>{4, 8, 12, 16});
  ValueId x = g.relu(g.batch_norm(g.conv(g.input(image), width, 3, 1, 1, false)));
  const bool option_a = random.chance(0.5), pre_activation = random.chance(0.3);
  for (int unit = random.integer(2, 4); unit > 0; --unit) {
    const bool grows = random.chance(0.4);
    const int64_t next = grows ? 2 * width : width;
    ValueId shortcut = x;
    if (grows && option_a) {  // every second pixel, zero channels around
      const Shape& shape = g.shape(x);
      shortcut = g.node(Op::kSlice, {x}, SliceAttrs{{2, 3}, {0, 0}, {shape[2], shape[3]}, {2, 2}});
      shortcut = g.node(Op::kPad, {shortcut}, PadAttrs{{0, width / 2, 0, 0}, {0, width / 2, 0, 0}, 0});
    } else if (grows) {
      shortcut = g.batch_norm(g.conv(x, next, 1, 2, 1, false));
    }
    ValueId y = x;
    if (pre_activation) y = g.relu(g.batch_norm(y));
    y = g.relu(g.batch_norm(g.conv(y, next, 3, grows ? 2 : 1, 1, false)));
    y = g.conv(y, next, 3, 1, 1, false);
    if (!pre_activation) y = g.batch_norm(y);
    x = random.chance(0.5) ? g.node(Op::kAdd, {y, shortcut}) : g.node(Op::kAdd, {shortcut, y});
    if (!pre_activation) x = g.relu(x);
    width = next;
  }
  return g.finish({g.node(Op::kSoftmax, {g.head(x, 10)}, AxisAttrs{1})});
}

Graph mobilenet(Random& random) {
  GraphMaker g(random);
  const Shape image{random_batch(random), 3, random.integer(7, 15), random.integer(7, 15)};
  const bool third = random.chance(0.5);  // V3: h-swish and SE; else ReLU6
  const auto activate = [&](ValueId v) {
    return third ? g.node(Op::kHardSwish, {v}) : g.node(Op::kClip, {v}, ClipAttrs{0, 6});
  };
  ValueId x = activate(g.batch_norm(g.conv(g.input(image), 8, 3, 2, 1, false)));
  int64_t width = 8;
  for (int unit = random.integer(2, 4); unit > 0; --unit) {
    const int64_t next = random.chance(0.5) ? width : random.pick(std::vector<int64_t>{8, 12, 17});
    const int32_t stride = next != width && random.chance(0.5) ? 2 : 1;
    const auto wide = static_cast<int32_t>(width * random.integer(1, 3));
    ValueId y = activate(g.batch_norm(g.conv(x, wide, 1, 1, 1, false)));
    y = activate(g.batch_norm(g.conv(y, wide, random.chance(0.7) ? 3 : 5, stride, wide, false)));
    if (third && random.chance(0.7)) y = squeeze_excite(g, y, true);
    y = g.batch_norm(g.conv(y, next, 1, 1, 1, false));
    x = next == width && stride == 1 ? g.node(Op::kAdd, {x, y}) : y;
    width = next;
  }
  x = g.flatten(g.global_pool(activate(g.conv(x, 24, 1))));
  x = g.node(Op::kHardSwish, {g.fully_connected(x, 20)});
  return g.finish({g.fully_connected(x, 10)});
}

ValueId shuffle(GraphMaker& g, ValueId x, int64_t groups) {
  const Shape s = g.shape(x);
  const ValueId split = g.node(Op::kReshape, {x}, ReshapeAttrs{{0, groups, s[1] / groups, s[2], s[3]}});
  return g.node(Op::kReshape, {g.node(Op::kTranspose, {split}, TransposeAttrs{{0, 2, 1, 3, 4}})},
                ReshapeAttrs{{0, s[1], s[2], s[3]}});
}

// ShuffleNet v2 and what resembles it: sometimes with readers that need the channels in order.
Graph shufflenet(Random& random) {
  GraphMaker g(random);
  const Shape image{random_batch(random), 3, random.integer(5, 9), random.integer(5, 9)};
  int64_t half = random.integer(2, 14);
  const int64_t groups = random.chance(0.8) ? 2 : half;
  ValueId x = g.relu(g.conv(g.input(image), 2 * half, 3));
  std::vector<ValueId> outputs;
  for (int unit = random.integer(2, 5); unit > 0; --unit) {
    const bool strided = random.chance(0.3);
    ValueId left = x, right = x;
    if (strided) {
      left = g.batch_norm(g.conv(x, 2 * half, 3, 2, static_cast<int32_t>(2 * half)));
      left = g.relu(g.conv(left, half, 1));
    } else {
      const auto halves = g.split(x, 1, {half, half});
      left = halves[0];
      right = halves[1];
    }
    right = g.relu(g.batch_norm(g.conv(right, half, 1)));
    right = g.conv(right, half, 3, strided ? 2 : 1, static_cast<int32_t>(half));
    right = g.relu(g.conv(right, half, 1));
    x = shuffle(g, g.concat({left, right}), groups);
    if (random.chance(0.1)) outputs.push_back(x);
    if (random.chance(0.1)) x = random.chance(0.5) ? g.relu(x) : g.pool(Op::kMaxPool, x, 1, 1);
    if (random.chance(0.1)) x = g.node(Op::kAdd, {x, x});
  }
  if (random.chance(0.7)) x = g.relu(g.conv(x, 10, 1));
  outputs.push_back(g.head(x, 7));
  return g.finish(outputs);
}

// The classic form: convolutions and max pools, flattened while pixels are left, then fully connected layers.
Graph vgg(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input({random_batch(random), random.integer(1, 3), 12, 12});
  for (int stage = 0; stage < 2; ++stage) {
    for (int i = random.integer(1, 2); i > 0; --i) {
      x = g.conv(x, random_channels(random) % 40 + 1, 3);
      if (random.chance(0.5)) x = g.batch_norm(x);
      x = g.relu(x);
    }
    x = g.pool(Op::kMaxPool, x, random.integer(2, 3), 2);
  }
  x = g.flatten(x);
  x = g.fully_connected(x, 24, true, {Activation::Kind::kRelu, 0, 0});
  return g.finish({g.fully_connected(x, 10)});
}

// Picks ops and operands at random from everything made so far. Few of these graphs are meaningful; all are legal.
class DagMaker {
 public:
  explicit DagMaker(Random& r) : random_(r), g_(r) {
    n_ = random_batch(random_);
    h_ = random_.integer(2, 8);
    w_ = random_.integer(2, 8);
    for (int i = random_.integer(1, 2); i > 0; --i) pool_.push_back(g_.input({n_, random_channels(random_), h_, w_}));
  }

  Graph make() {
    for (int step = random_.integer(5, 22); step > 0; --step) {
      const ValueId made = random_node();
      if (made != kNoValue && g_.shape(made)[1] <= 160) pool_.push_back(made);
    }
    std::vector<ValueId> outputs{pool_.back()};
    if (random_.chance(0.5)) outputs.push_back(random_.pick(pool_));
    if (random_.chance(0.5)) outputs.push_back(g_.head(random_.pick(pool_), 5));
    return g_.finish(outputs);
  }

 private:
  int64_t channels(ValueId v) const { return g_.shape(v)[1]; }

  ValueId random_node() {
    const ValueId x = random_.pick(pool_);
    switch (random_.integer(0, 13)) {
      case 0:
        return g_.conv(x, random_channels(random_), 1);
      case 1:
        return g_.conv(g_.relu(g_.batch_norm(x)), random_channels(random_), random_.chance(0.5) ? 3 : 1);
      case 2:
        return g_.relu(x);
      case 3:
        return g_.batch_norm(x);
      case 4:
        return g_.relu(g_.batch_norm(x));
      case 5:
      case 6: {
        std::vector<ValueId> parts{x};
        for (int i = random_.integer(1, 3); i > 0; --i) parts.push_back(random_.pick(pool_));
        return g_.concat(parts);
      }
      case 7: {
        if (channels(x) < 3) return kNoValue;
        const int64_t first = random_.integer(1, static_cast<int>(channels(x)) - 2);
        const std::vector<ValueId> parts = g_.split(x, 1, {first, 1, channels(x) - first - 1});
        pool_.push_back(parts[0]);
        return parts[2];
      }
      case 8: {
        const int64_t start = random_.integer(0, static_cast<int>(channels(x)) - 1);
        const int64_t end = random_.integer(static_cast<int>(start) + 1, static_cast<int>(channels(x)));
        return g_.node(Op::kSlice, {x}, SliceAttrs{{1}, {start}, {end}, {random_.integer(1, 2)}});
      }
      case 9:
      case 10: {  // the newest value of the same shape, else the value itself
        ValueId y = x;
        for (ValueId v : pool_) {
          if (g_.shape(v) == g_.shape(x) && v != x) y = v;
        }
        const ValueId half = g_.node(Op::kMul, {x, g_.constant({1}, 0.6, 0)});
        return random_.chance(0.5) ? g_.node(Op::kAdd, {half, y}) : g_.node(Op::kSub, {y, half});
      }
      case 11:
        return squeeze_excite(g_, x, random_.chance(0.5));
      case 12:
        return g_.conv(x, channels(x), 3, 1, static_cast<int32_t>(channels(x)));
      default: {
        const Op op = random_.pick(std::vector<Op>{Op::kSigmoid, Op::kTanh, Op::kHardSwish, Op::kIdentity});
        return g_.node(op, {x});
      }
    }
  }

  Random& random_;
  GraphMaker g_;
  int64_t n_ = 1, h_ = 1, w_ = 1;
  std::vector<ValueId> pool_;  // all [n, any, h, w]
};

Graph random_dag(Random& random) {
  return DagMaker(random).make();
}

}  // namespace

const std::vector<Generator>& network_generators() {
  static const std::vector<Generator> list{
      {"densenet", densenet},     {"sparsenet", sparsenet},   {"resnet", resnet},
      {"mobilenet", mobilenet},   {"shufflenet", shufflenet}, {"vgg", vgg},
      {"random_dag", random_dag},
  };
  return list;
}

}  // namespace sparsenet::test
