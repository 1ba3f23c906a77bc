// Data movement, arithmetic with broadcasting, and small networks of several ops, for testing gradients.
#include <sparsenet/architecture.h>

#include <algorithm>
#include <numeric>

#include "support/train_graphs.h"

namespace sparsenet::test {
namespace {

Graph concat(Random& random) {
  TrainGraphMaker g(random);
  const int64_t height = random.integer(1, 5), width = random.integer(1, 5);
  const ValueId x = g.front(g.channels(), height, width);
  std::vector<ValueId> parts{x};
  for (int i = random.integer(1, 3); i > 0; --i) parts.push_back(g.conv(x, g.channels(), 1));
  if (random.chance(0.5)) parts.push_back(g.node(Op::kTanh, {parts.back()}));
  if (random.chance(0.3)) parts.push_back(x);  // the same value twice in one Concat
  std::rotate(parts.begin(), parts.begin() + 1, parts.end());
  ValueId y = g.concat(parts);
  if (random.chance(0.5)) y = g.conv(g.relu(g.batch_norm(y)), g.channels(), 1);
  return g.classify(y);
}

Graph concat_of_rows(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front(g.channels(), random.integer(2, 5), random.integer(2, 5));
  const ValueId y = g.node(Op::kTanh, {x});
  return g.classify(g.concat({x, y}, random.integer(2, 3)));
}

Graph concat_of_vectors(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_vector(random.integer(1, 9));
  return g.classify(g.concat({g.node(Op::kSigmoid, {x}), g.fully_connected(x, random.integer(1, 9)), x}));
}

Graph split(Random& random) {
  TrainGraphMaker g(random);
  const int64_t a = random.integer(1, 9), b = random.integer(1, 9), c = random.integer(1, 9);
  const ValueId x = g.front(a + b + c, random.integer(1, 5), random.integer(1, 5));
  std::vector<ValueId> parts = g.split(x, 1, {a, b, c});
  parts[0] = g.node(Op::kTanh, {parts[0]});
  if (random.chance(0.5)) parts.erase(parts.begin() + random.integer(0, 2));  // one that nothing reads: a gradient of 0
  std::reverse(parts.begin(), parts.end());
  return g.classify(g.concat(parts));
}

Graph split_of_columns(Random& random) {
  TrainGraphMaker g(random);
  const int64_t a = random.integer(1, 4), b = random.integer(1, 4);
  const auto axis = static_cast<int32_t>(random.integer(2, 3));
  const ValueId x = axis == 2 ? g.front(g.channels(), a + b, 3) : g.front(g.channels(), 3, a + b);
  const std::vector<ValueId> parts = g.split(x, axis, {a, b});
  return g.classify(g.concat({parts[1], g.node(Op::kSigmoid, {parts[0]})}, axis));
}

Graph slice(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_image(2, 8);
  SliceAttrs attrs;
  for (int32_t axis = 1; axis < 4; ++axis) {
    if (random.chance(0.3)) continue;
    const int64_t size = g.shape(x)[static_cast<size_t>(axis)];
    attrs.axes.push_back(axis);
    attrs.starts.push_back(random.integer(0, static_cast<int>(size) - 1));
    attrs.ends.push_back(random.integer(static_cast<int>(attrs.starts.back()) + 1, static_cast<int>(size)));
    attrs.steps.push_back(random.integer(1, 3));
  }
  if (attrs.axes.empty()) return g.classify(x);
  const ValueId y = g.node(Op::kSlice, {x}, attrs);
  return g.classify(random.chance(0.5) ? g.conv(y, g.channels(), 1) : y);
}

Graph pad(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_image(1, 5);
  PadAttrs attrs;
  attrs.before.assign(4, 0);
  attrs.after.assign(4, 0);
  for (size_t d = 1; d < 4; ++d) {
    attrs.before[d] = random.integer(0, 2);
    attrs.after[d] = random.integer(0, 2);
  }
  attrs.value = random.chance(0.5) ? 0.f : 0.5f;
  const ValueId y = g.node(Op::kPad, {x}, attrs);
  return g.classify(random.chance(0.5) ? g.conv(y, g.channels(), 1) : y);
}

// Two operands of the same shape, or one of which is broadcast: over the image, the channels, rows, or all of it.
Graph arithmetic(Random& random, Op op) {
  TrainGraphMaker g(random);
  const int64_t channels = g.channels(), height = random.integer(1, 5), width = random.integer(1, 5);
  const ValueId x = g.front(channels, height, width);
  ValueId y = kNoValue;
  switch (random.integer(0, 7)) {
    case 0:
      y = g.conv(x, channels, 1);
      break;
    case 1:
      y = g.conv(g.global_pool(x), channels, 1);  // [N, C, 1, 1], a channel gate
      break;
    case 2:
      y = g.conv(x, 1, 1);  // [N, 1, H, W], a spatial gate
      break;
    case 3:
      y = g.node(Op::kReduceMean, {x}, ReduceAttrs{{random.integer(1, 3)}, true});
      break;
    case 4:
      y = g.constant({channels, 1, 1}, 0.5, 1);
      break;
    case 5:
      y = g.constant({random.chance(0.5) ? width : 1}, 0.5, 1);
      break;
    case 6:
      y = x;  // x op x: both gradients go to the same value
      break;
    default:
      y = g.constant({1, channels, height, width}, 0.5, 1);
  }
  if (op == Op::kDiv) {  // a divisor of 1.2 to 2.8
    const ValueId bounded = g.node(Op::kTanh, {y});
    y = g.node(Op::kAdd, {g.node(Op::kMul, {bounded, g.constant({1}, 0.8, 0)}), g.constant({1}, 2, 0)});
  }
  const bool swapped = op != Op::kDiv && random.chance(0.5);
  return g.classify(swapped ? g.node(op, {y, x}) : g.node(op, {x, y}));
}

Graph add(Random& r) {
  return arithmetic(r, Op::kAdd);
}
Graph sub(Random& r) {
  return arithmetic(r, Op::kSub);
}
Graph mul(Random& r) {
  return arithmetic(r, Op::kMul);
}
Graph div(Random& r) {
  return arithmetic(r, Op::kDiv);
}

Graph arithmetic_of_vectors(Random& random) {
  TrainGraphMaker g(random);
  const int64_t size = random.integer(2, 12);
  const ValueId x = g.front_vector(size);
  const ValueId one = g.fully_connected(x, random.chance(0.5) ? size : 1), scale = g.constant({size}, 1, 0.5);
  const Op op = random.pick(std::vector<Op>{Op::kAdd, Op::kSub, Op::kMul});
  return g.classify(g.node(Op::kMul, {g.node(op, {x, one}), scale}));
}

Graph reshape(Random& random) {
  TrainGraphMaker g(random);
  const int64_t height = random.integer(1, 4), width = random.integer(1, 4), half = random.integer(1, 6);
  const ValueId x = g.front(2 * half, height, width);
  const ValueId y = random.chance(0.5) ? g.node(Op::kReshape, {x}, ReshapeAttrs{{0, half, 2 * height, width}})
                                       : g.node(Op::kReshape, {x}, ReshapeAttrs{{0, -1, width, 1}});
  return g.classify(random.chance(0.7) ? g.conv(y, g.channels(), 1) : y);
}

Graph transpose(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.front_image(1, 5);
  std::vector<int32_t> perm{0, 1, 2, 3};
  for (size_t d = 3; d > 1; --d) std::swap(perm[d], perm[static_cast<size_t>(random.integer(1, static_cast<int>(d)))]);
  const ValueId y = g.node(Op::kTranspose, {x}, TransposeAttrs{perm});
  return g.classify(random.chance(0.7) ? g.conv(y, g.channels(), 1) : y);
}

Graph identity(Random& random) {
  TrainGraphMaker g(random);
  return g.classify(g.node(Op::kIdentity, {g.node(Op::kTanh, {g.node(Op::kIdentity, {g.front_image()})})}));
}

// The input, which has no gradient, together with values that have one: in a norm, a Concat, a sum.
Graph first_layers(Random& random) {
  TrainGraphMaker g(random);
  const ValueId x = g.input({g.batch_, random.integer(1, 4), random.integer(2, 5), random.integer(2, 5)});
  const int64_t channels = g.shape(x)[1];
  ValueId y = random.chance(0.5) ? g.batch_norm(x, 1e-3f) : g.node(Op::kTanh, {x});
  if (random.chance(0.5)) y = g.conv(y, channels, 3);
  y = random.chance(0.5) ? g.concat({x, y}) : g.node(random.chance(0.5) ? Op::kAdd : Op::kMul, {x, y});
  if (random.chance(0.7)) y = g.relu(g.batch_norm(y, 1e-3f));
  if (random.chance(0.5)) y = g.concat({y, g.conv(x, g.channels(), 1)});
  return g.classify(y);
}

// One value with many readers: its gradient is a sum.
Graph many_readers(Random& random) {
  TrainGraphMaker g(random);
  const int64_t channels = g.channels();
  const ValueId x = g.front(channels, random.integer(2, 5), random.integer(2, 5));
  ValueId y = g.node(Op::kAdd, {g.conv(x, channels, 3), g.node(Op::kTanh, {x})});
  y = g.node(Op::kAdd, {y, g.node(Op::kMul, {g.global_pool(x), x})});
  return g.classify(g.concat({g.batch_norm(y, 1e-3f), x}));
}

// A network of the family on 8 x 8 images.
Graph architecture(Random& random, const std::string& text) {
  auto arch = parse_architecture(text);
  if (!arch.ok()) return {};
  arch->image_size = 8;
  arch->classes = random.integer(2, 6);
  auto graph = build_graph(*arch, random.next());
  if (!graph.ok()) return {};
  for (Value& value : graph->values) {  // norms and biases start as ones and zeros, which hide mistakes
    if (!value.is_constant || value.shape.size() != 1) continue;
    std::vector<float> values(value.constant.f32(), value.constant.f32() + value.constant.elements());
    for (float& v : values) v += static_cast<float>(random.real(-0.4, 0.4));
    value.constant = Tensor::from(value.shape, std::move(values));
  }
  return graph->set_batch(4).ok() ? std::move(*graph) : Graph{};
}

Graph sparsenet_abc(Random& random) {
  return architecture(random, "sparsenet-abc:blocks=2-3,k=3,path=1,bn-eps=1e-2");
}
Graph sparsenet_se(Random& random) {
  return architecture(random, "sparsenet-abc:blocks=2-2,k=4,path=2,attention=se,pre-relu=0,bn-eps=1e-3");
}
Graph sparsenet_basic(Random& random) {
  return architecture(random, "sparsenet-basic:blocks=3-2,k=3,path=1,bn-eps=1e-3");
}

Graph residual(Random& random) {
  TrainGraphMaker g(random);
  const int64_t channels = g.channels();
  ValueId x = g.front(channels, random.integer(3, 5), random.integer(3, 5));
  for (int i = 0; i < 2; ++i) {
    const ValueId h = g.conv(g.relu(g.batch_norm(g.conv(x, channels, 3, 1, 1, false))), channels, 3);
    x = g.relu(g.node(Op::kAdd, {x, h}));
  }
  return g.classify(g.pool(Op::kMaxPool, x, 2, 2));
}

Graph inverted_residual(Random& random) {
  TrainGraphMaker g(random);
  const int64_t channels = random.integer(2, 6);
  const ValueId x = g.front(channels, random.integer(3, 5), random.integer(3, 5));
  ValueId y = g.node(Op::kClip, {g.batch_norm(g.conv(x, 3 * channels, 1, 1, 1, false))}, ClipAttrs{0, 6});
  y = g.node(Op::kHardSwish, {g.batch_norm(g.conv(y, 3 * channels, 3, 1, static_cast<int32_t>(3 * channels), false))});
  y = g.batch_norm(g.conv(y, channels, 1, 1, 1, false));
  return g.classify(g.node(Op::kAdd, {x, y}));
}

// A DAG that nobody would design: norms, views and sums over values that others read as well. All values are [N, any,
// H, W].
Graph random_dag(Random& random) {
  TrainGraphMaker g(random);
  std::vector<ValueId> pool{g.front(g.channels(), random.integer(2, 4), random.integer(2, 4))};
  const auto any = [&] { return pool[static_cast<size_t>(random.integer(0, static_cast<int>(pool.size()) - 1))]; };
  const auto channels = [&](ValueId x) { return g.shape(x)[1]; };
  for (int i = random.integer(4, 10); i > 0; --i) {
    const ValueId x = any();
    ValueId y = kNoValue;
    switch (random.integer(0, 10)) {
      case 0:
        y = g.conv(x, random.integer(1, 9), random.chance(0.5) ? 1 : 3);
        break;
      case 1:
        y = g.relu(g.batch_norm(x, 1e-3f));
        break;
      case 2:  // a norm with several readers
        y = g.batch_norm(x, 1e-3f);
        pool.push_back(y);
        y = g.node(random.chance(0.5) ? Op::kRelu : Op::kTanh, {y});
        break;
      case 3:
      case 4: {
        std::vector<ValueId> parts{x, any()};
        if (random.chance(0.5)) parts.push_back(any());
        y = g.concat(parts);
        break;
      }
      case 5: {
        if (channels(x) < 2) continue;
        const int64_t first = random.integer(1, static_cast<int>(channels(x)) - 1);
        const std::vector<ValueId> parts = g.split(x, 1, {first, channels(x) - first});
        pool.push_back(parts[0]);
        y = parts[1];
        break;
      }
      case 6: {
        SliceAttrs attrs;
        attrs.axes = {1};
        attrs.starts = {random.integer(0, static_cast<int>(channels(x)) - 1)};
        attrs.ends = {channels(x)};
        attrs.steps = {random.integer(1, 2)};
        y = g.node(Op::kSlice, {x}, attrs);
        break;
      }
      case 7: {
        const ValueId other = any();
        const ValueId same = channels(other) == channels(x) ? other : g.conv(other, channels(x), 1);
        y = g.node(random.chance(0.5) ? Op::kAdd : Op::kSub, {x, same});
        break;
      }
      case 8:
        y = g.node(Op::kMul, {x, g.node(Op::kSigmoid, {g.conv(g.global_pool(any()), channels(x), 1)})});
        break;
      case 9: {
        PoolAttrs attrs;
        attrs.kernel = {3, 3};
        attrs.pads = {1, 1, 1, 1};
        y = g.node(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, {x}, attrs);
        break;
      }
      default:
        y = g.node(random.pick(std::vector<Op>{Op::kTanh, Op::kIdentity, Op::kSigmoid}), {x});
    }
    pool.push_back(y);
  }
  // All values without readers are combined into the output: parameters that it does not depend on are not trained.
  std::vector<ValueId> last;
  for (const ValueId id : pool) {
    const bool read = std::any_of(g.graph.nodes.begin(), g.graph.nodes.end(), [id](const Node& node) {
      return std::find(node.inputs.begin(), node.inputs.end(), id) != node.inputs.end();
    });
    if (!read || id == pool.back()) last.push_back(id);
  }
  std::reverse(last.begin(), last.end());
  return g.classify(g.batch_norm(g.concat(last), 1e-3f));
}

}  // namespace

const std::vector<Generator>& train_data_generators() {
  static const std::vector<Generator> list{
      {"concat", concat},
      {"concat_of_rows", concat_of_rows},
      {"concat_of_vectors", concat_of_vectors},
      {"split", split},
      {"split_of_columns", split_of_columns},
      {"slice", slice},
      {"pad", pad},
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"arithmetic_of_vectors", arithmetic_of_vectors},
      {"reshape", reshape},
      {"transpose", transpose},
      {"identity", identity},
  };
  return list;
}

const std::vector<Generator>& train_network_generators() {
  static const std::vector<Generator> list{
      {"first_layers", first_layers},           {"many_readers", many_readers},   {"residual", residual},
      {"inverted_residual", inverted_residual}, {"sparsenet_abc", sparsenet_abc}, {"sparsenet_se", sparsenet_se},
      {"sparsenet_basic", sparsenet_basic},     {"random_dag", random_dag},
  };
  return list;
}

}  // namespace sparsenet::test
