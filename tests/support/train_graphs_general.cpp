// Matrix products, LayerNorm, functions, maximum and minimum, each between a trained layer and a head.
#include <cmath>

#include "support/train_graphs.h"

namespace sparsenet::test {
namespace {

// tanh(x) + 2, from 1 to 3: what logarithms and powers are computed of.
ValueId positive(TrainGraphMaker& g, ValueId x) {
  return g.node(Op::kAdd, {g.node(Op::kTanh, {x}), g.constant({1}, 2, 0)});
}

Graph exponential(Random& random) {
  TrainGraphMaker g(random);
  return g.classify(g.node(Op::kExp, {g.node(Op::kTanh, {g.front_image()})}));
}

Graph logarithm(Random& random) {
  TrainGraphMaker g(random);
  return g.classify(g.node(Op::kLog, {positive(g, g.front_image())}));
}

Graph power(Random& random) {
  TrainGraphMaker g(random);
  const float exponent = random.pick(std::vector<float>{-1.f, -0.5f, 0.f, 0.5f, 1.f, 2.f, 2.5f});
  return g.classify(g.node(Op::kPow, {positive(g, g.front_image())}, AlphaBetaAttrs{exponent, 0.f}));
}

// Of two computed operands, one of which may be broadcast, or of one and a constant.
Graph choice(Random& random, Op op) {
  TrainGraphMaker g(random);
  const int64_t channels = g.channels(), height = random.integer(1, 5), width = random.integer(1, 5);
  const ValueId x = g.front(channels, height, width);
  ValueId y = kNoValue;
  switch (random.integer(0, 3)) {
    case 0:
      y = g.conv(x, channels, 1);
      break;
    case 1:
      y = g.conv(g.global_pool(x), channels, 1);  // [N, C, 1, 1]
      break;
    case 2:
      y = g.constant({channels, 1, 1}, 0, 0.7);
      break;
    default:
      y = g.constant({1, channels, height, width}, 0, 0.7);
  }
  const bool swapped = op != Op::kPrelu && random.chance(0.5);
  return g.classify(swapped ? g.node(op, {y, x}) : g.node(op, {x, y}));
}

Graph maximum(Random& r) {
  return choice(r, Op::kMax);
}
Graph minimum(Random& r) {
  return choice(r, Op::kMin);
}
Graph prelu(Random& r) {
  return choice(r, Op::kPrelu);
}

// Products of values of rank 3 or 4, with a constant, or with one that is broadcast.
Graph mat_mul(Random& random) {
  TrainGraphMaker g(random);
  const int64_t channels = random.integer(1, 5), height = random.integer(1, 5), width = random.integer(1, 5);
  const ValueId x = g.front(channels, height, width);
  switch (random.integer(0, 3)) {
    case 0:
      return g.classify(g.node(Op::kMatMul, {x, g.constant({width, random.integer(1, 6)}, 0, 0.7)}));
    case 1:
      return g.classify(g.node(Op::kMatMul, {g.constant({random.integer(1, 6), height}, 0, 0.7), x}));
    case 2: {  // [N, C, H, W] times [N, 1, W, H]
      const ValueId y = g.node(Op::kTranspose, {g.conv(x, 1, 1)}, TransposeAttrs{{0, 1, 3, 2}});
      return g.classify(g.node(Op::kMatMul, {x, y}));
    }
    default: {  // [N, C, P] times [N, P, C]
      const ValueId rows = g.node(Op::kReshape, {x}, ReshapeAttrs{{0, channels, -1}});
      return g.classify(g.node(Op::kMatMul, {rows, g.node(Op::kTranspose, {rows}, TransposeAttrs{{0, 2, 1}})}));
    }
  }
}

Graph layer_norm(Random& random) {
  TrainGraphMaker g(random);
  ValueId x = g.front_image(1, 4);
  const int64_t channels = g.shape(x)[1];
  Shape scale{channels};
  if (random.chance(0.4)) {
    scale = {g.shape(x)[2] * g.shape(x)[3]};
    x = g.node(Op::kReshape, {x}, ReshapeAttrs{{0, channels, -1}});
  }
  std::vector<ValueId> inputs{x};
  if (random.chance(0.8)) inputs.insert(inputs.end(), {g.constant(scale, 1, 0.3), g.constant(scale, 0, 0.3)});
  return g.classify(g.node(Op::kTanh, {g.node(Op::kLayerNorm, inputs, BatchNormAttrs{0.1f})}));
}

}  // namespace

const std::vector<Generator>& train_general_generators() {
  static const std::vector<Generator> list{
      {"exponential", exponential}, {"logarithm", logarithm}, {"power", power},     {"maximum", maximum},
      {"minimum", minimum},         {"prelu", prelu},         {"mat_mul", mat_mul}, {"layer_norm", layer_norm},
  };
  return list;
}

}  // namespace sparsenet::test
