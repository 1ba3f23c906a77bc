// Graphs around the ops of general networks: matrix products, LayerNorm, functions, maximum and minimum, and what
// transformers are made of.
#include <cmath>

#include "support/random_graphs.h"

namespace sparsenet::test {
namespace {

// x^2 + 1/2: what logarithms and powers are computed of.
ValueId positive(GraphMaker& g, ValueId x) {
  return g.node(Op::kAdd, {g.node(Op::kMul, {x, x}), g.constant({1}, 0.5, 0)});
}

Shape random_shape(Random& random) {
  Shape shape = random_image(random, 1, 9);
  shape.resize(static_cast<size_t>(random.integer(2, 4)));
  return shape;
}

Graph function(Random& random, Op op) {
  GraphMaker g(random);
  ValueId x = g.input(random_shape(random));
  if (g.shape(x).size() == 4 && random.chance(0.3)) x = g.conv(x, random_channels(random), 1);
  if (op == Op::kExp) return g.finish({g.node(Op::kExp, {x})});
  if (op == Op::kLog) return g.finish({g.node(Op::kLog, {positive(g, x)})});
  const float exponent = random.pick(std::vector<float>{-2.f, -1.f, -0.5f, 0.f, 0.5f, 1.f, 2.f, 3.f, 0.75f, 2.5f});
  const bool whole = std::floor(exponent) == exponent && exponent >= 0;
  const ValueId base = whole && random.chance(0.5) ? x : positive(g, x);
  return g.finish({g.node(Op::kPow, {base}, AlphaBetaAttrs{exponent, 0.f})});
}

Graph exponential(Random& r) {
  return function(r, Op::kExp);
}
Graph logarithm(Random& r) {
  return function(r, Op::kLog);
}
Graph power(Random& r) {
  return function(r, Op::kPow);
}

// The second operand has the shape of the first one, or a broadcast one; constant or computed.
Graph choice(Random& random, Op op) {
  GraphMaker g(random);
  const Shape a = random_shape(random);
  Shape b = a;
  for (size_t d = random.chance(0.5) ? 1 : 0; d < b.size(); ++d) {
    if (random.chance(0.4)) b[d] = 1;
  }
  if (random.chance(0.3)) b.erase(b.begin());
  ValueId x = g.input(a), y = kNoValue;
  if (b.size() == a.size() && b[0] == a[0] && random.chance(0.5)) {
    y = g.input(b);
  } else {
    y = g.constant(b, 0, 1);
  }
  const bool swapped = op != Op::kPrelu && random.chance(0.3);
  ValueId z = g.node(op, swapped ? std::vector<ValueId>{y, x} : std::vector<ValueId>{x, y});
  if (random.chance(0.3)) z = g.relu(z);
  return g.finish({z});
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

// Matrices of rank 2 to 5; the dimensions in front are equal, or broadcast, or missing in one operand.
Graph mat_mul(Random& random) {
  GraphMaker g(random);
  const auto size = [&] { return random.pick(std::vector<int64_t>{1, 2, 3, 5, 7, 8, 15, 16, 17, 33, 40}); };
  const int64_t rows = size(), columns = size(), terms = size();
  Shape a{random_batch(random)};
  for (int more = random.integer(0, 2); more > 0; --more) a.push_back(random.integer(1, 4));
  Shape b = a;
  for (size_t d = 1; d < a.size(); ++d) {
    if (random.chance(0.2)) (random.chance(0.5) ? a : b)[d] = 1;
  }
  const bool constant = random.chance(0.4);
  if (constant) b.erase(b.begin(), b.begin() + random.integer(1, static_cast<int>(b.size())));
  a.insert(a.end(), {rows, terms});
  b.insert(b.end(), {terms, columns});
  const ValueId x = g.input(a);
  if (!constant) return g.finish({g.node(Op::kMatMul, {x, g.input(b)})});
  if (random.chance(0.7)) return g.finish({g.node(Op::kMatMul, {x, g.constant(b, 0, 1)})});
  // The constant on the left.
  const size_t rank = a.size();
  std::vector<int32_t> perm;
  for (size_t d = 0; d < rank; ++d) perm.push_back(static_cast<int32_t>(d));
  std::swap(perm[rank - 1], perm[rank - 2]);
  Shape left = b;
  std::swap(left[left.size() - 1], left[left.size() - 2]);
  return g.finish({g.node(Op::kMatMul, {g.constant(left, 0, 1), g.node(Op::kTranspose, {x}, TransposeAttrs{perm})})});
}

// Of vectors only: the batch is one dimension of the product.
Graph mat_mul_of_vectors(Random& random) {
  GraphMaker g(random);
  const int64_t terms = random_channels(random);
  const ValueId x = g.input({random_batch(random), terms});
  return g.finish({g.node(Op::kMatMul, {x, g.constant({terms, random_channels(random)}, 0, 1)})});
}

Graph layer_norm(Random& random) {
  GraphMaker g(random);
  ValueId x = g.input(random_shape(random));
  if (g.shape(x).size() == 4 && random.chance(0.3)) x = g.conv(x, random_channels(random), 1);
  if (random.chance(0.3)) x = g.node(Op::kAdd, {g.node(Op::kMul, {x, g.constant({1}, 3, 0)}), g.constant({1}, 20, 0)});
  const Shape& s = g.shape(x);
  const Shape channels{s.size() == 3 ? s[2] : s[1]};
  std::vector<ValueId> inputs{x};
  if (random.chance(0.8)) inputs.push_back(random.chance(0.8) ? g.constant(channels, 1, 0.3) : kNoValue);
  if (inputs.size() == 2 && random.chance(0.8)) inputs.push_back(g.constant(channels, 0, 0.3));
  return g.finish({g.node(Op::kLayerNorm, inputs, BatchNormAttrs{random.chance(0.5) ? 1e-2f : 1e-3f})});
}

// Self-attention over tokens, as exporters write it.
Graph self_attention(Random& random) {
  GraphMaker g(random);
  const int64_t heads = random.integer(1, 3), width = random.integer(1, 9), tokens = random.integer(1, 18);
  const int64_t channels = heads * width, batch = random_batch(random);
  const ValueId x = g.input({batch, tokens, channels});
  const ValueId normal = g.node(Op::kLayerNorm, {x, g.constant({channels}, 1, 0.3), g.constant({channels}, 0, 0.3)},
                                BatchNormAttrs{1e-3f});
  ValueId qkv = g.node(Op::kReshape, {normal}, ReshapeAttrs{{-1, channels}});
  qkv = g.node(Op::kReshape, {g.fully_connected(qkv, 3 * channels)}, ReshapeAttrs{{-1, tokens, 3, heads, width}});
  qkv = g.node(Op::kTranspose, {qkv}, TransposeAttrs{{2, 0, 3, 1, 4}});
  std::vector<ValueId> parts = g.split(qkv, 0, {1, 1, 1});
  for (ValueId& part : parts) part = g.node(Op::kReshape, {part}, ReshapeAttrs{{-1, heads, tokens, width}});
  const ValueId key = g.node(Op::kTranspose, {parts[1]}, TransposeAttrs{{0, 1, 3, 2}});
  ValueId scores = g.node(Op::kMatMul, {parts[0], key});
  scores = g.node(Op::kMul, {scores, g.constant({1}, 1 / std::sqrt(static_cast<double>(width)), 0)});
  ValueId y = g.node(Op::kMatMul, {g.node(Op::kSoftmax, {scores}, AxisAttrs{3}), parts[2]});
  y = g.node(Op::kTranspose, {y}, TransposeAttrs{{0, 2, 1, 3}});
  y = g.node(Op::kReshape, {y}, ReshapeAttrs{{-1, channels}});
  y = g.node(Op::kReshape, {g.fully_connected(y, channels)}, ReshapeAttrs{{-1, tokens, channels}});
  return g.finish({g.node(Op::kAdd, {x, y})});
}

// A block of two layers over the channels of every pixel, in the order [N, H, W, C], as in ConvNeXt.
Graph channels_last(Random& random) {
  GraphMaker g(random);
  const Shape s = random_image(random, 1, 6);
  const int64_t hidden = random_channels(random);
  const ValueId x = g.input(s);
  ValueId y = g.conv(x, s[1], 3);
  const auto layer = [&](ValueId from, int64_t inputs, int64_t outputs) {
    const ValueId rows = g.node(Op::kReshape, {from}, ReshapeAttrs{{-1, inputs}});
    return g.node(Op::kReshape, {g.fully_connected(rows, outputs)}, ReshapeAttrs{{-1, s[2], s[3], outputs}});
  };
  y = g.node(Op::kTranspose, {y}, TransposeAttrs{{0, 2, 3, 1}});
  if (random.chance(0.5)) y = g.node(Op::kGelu, {layer(y, s[1], hidden)});
  y = layer(y, g.shape(y)[3], s[1]);
  y = g.node(Op::kTranspose, {y},
             TransposeAttrs{random.chance(0.8) ? std::vector<int32_t>{0, 3, 1, 2} : std::vector<int32_t>{0, 3, 2, 1}});
  return g.finish({y});
}

}  // namespace

const std::vector<Generator>& general_generators() {
  static const std::vector<Generator> list{
      {"exponential", exponential},
      {"logarithm", logarithm},
      {"power", power},
      {"maximum", maximum},
      {"minimum", minimum},
      {"prelu", prelu},
      {"mat_mul", mat_mul},
      {"mat_mul_of_vectors", mat_mul_of_vectors},
      {"layer_norm", layer_norm},
      {"self_attention", self_attention},
      {"channels_last", channels_last},
  };
  return list;
}

}  // namespace sparsenet::test
