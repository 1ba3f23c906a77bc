#include "support/integer_maker.h"

#include <algorithm>

namespace sparsenet::test {
namespace {

int8_t weight_of_kind(Random& random, int kind) {
  if (kind == 0) return static_cast<int8_t>(random.chance(0.5) ? 127 : -127);
  if (kind == 1) return 127;
  if (kind == 2) return static_cast<int8_t>(random.integer(-1, 1));
  if (kind == 3) return static_cast<int8_t>(random.integer(-128, -100));
  return static_cast<int8_t>(random.integer(-127, 127));
}

}  // namespace

Activation IntegerMaker::bounds() {
  if (random.chance(0.5)) return {};
  if (random.chance(0.5)) return {Activation::Kind::kRelu, 0, 0};
  const double low = random.real(-2, 1);
  return {Activation::Kind::kClip, static_cast<float>(low), static_cast<float>(low + random.real(0, 6))};
}

ValueId IntegerMaker::layer(ValueId x, const Shape& weight, ConvAttrs attrs) {
  const auto outputs = static_cast<size_t>(weight[0]);
  const bool per_channel = random.chance(0.6);
  Quantization q;
  for (size_t o = 0; o < (per_channel ? outputs : 1); ++o) {
    q.scales.push_back(static_cast<float>(std::exp(random.real(-7, -5))));
    q.zero_points.push_back(0);
  }
  std::vector<int8_t> values(static_cast<size_t>(element_count(weight)));
  const int kind = random.integer(0, 11);
  for (int8_t& v : values) v = weight_of_kind(random, kind);
  // So that sums of random inputs, or of extreme ones, are within the output's range.
  const auto products = static_cast<double>(values.size() / outputs);
  double size = kind == 2 ? 60 * std::sqrt(products) : 74 * 74 * std::sqrt(products);
  if (random.chance(0.3)) size = 200 * (kind == 2 ? 1 : 127) * products;
  if (random.chance(0.1) && products < 100) size = 20;  // factors above 1
  const ValueId w = graph.add_constant(fresh("w"), integer_constant(weight, std::move(values)));
  graph.value(w).quantization = q;
  const Quantization out = for_sums(scale(x) * static_cast<double>(q.scales[0]), size);
  std::vector<ValueId> inputs{x, w};
  if (random.chance(0.7)) {
    std::vector<int32_t> bias(outputs);
    const float factor =
        static_cast<float>(scale(x)) * *std::max_element(q.scales.begin(), q.scales.end()) / out.scales[0];
    const int largest =
        static_cast<int>(random.chance(0.1) ? std::min(1e8f, 5e8f / factor) : static_cast<float>(size) + 1);
    for (int32_t& v : bias) v = random.integer(-largest, largest);
    inputs.push_back(graph.add_constant(fresh("b"), integer_constant(Shape{weight[0]}, std::move(bias))));
  }
  if (weight.size() == 2) {
    return node(Op::kFullyConnected, std::move(inputs), FullyConnectedAttrs{bounds()}, out);
  }
  attrs.kernel = {static_cast<int32_t>(weight[2]), static_cast<int32_t>(weight[3])};
  attrs.activation = bounds();
  return node(Op::kConv, std::move(inputs), attrs, out);
}

}  // namespace sparsenet::test
