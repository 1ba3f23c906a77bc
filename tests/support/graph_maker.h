// Builds test graphs with random weights of reasonable scale: values stay around 1 however deep the graph becomes.
#pragma once

#include <sparsenet/graph.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "support/random.h"

namespace sparsenet::test {

class GraphMaker {
 public:
  explicit GraphMaker(Random& r) : random(r) {}

  Random& random;
  Graph graph;

  ValueId input(Shape shape) { return graph.add_input(fresh("in"), std::move(shape)); }
  // Normally distributed values around `mean`.
  ValueId constant(Shape shape, double mean, double spread) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    for (float& v : values) v = static_cast<float>(mean + spread * random.normal());
    return graph.add_constant(fresh("c"), Tensor::from(std::move(shape), std::move(values)));
  }
  // Values at least `low` away from zero, of either sign unless `positive`: for variances and divisors.
  ValueId nonzero(Shape shape, double low, double high, bool positive) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    for (float& v : values) {
      const double magnitude = random.real(low, high);
      v = static_cast<float>(!positive && random.chance(0.3) ? -magnitude : magnitude);
    }
    return graph.add_constant(fresh("c"), Tensor::from(std::move(shape), std::move(values)));
  }
  ValueId node(Op op, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{}) {
    return graph.add_node(op, fresh(name(op)), std::move(inputs), std::move(attrs));
  }
  std::vector<ValueId> split(ValueId x, int32_t axis, std::vector<int64_t> sizes) {
    std::vector<std::string> names;
    for (size_t i = 0; i < sizes.size(); ++i) names.push_back(fresh("part"));
    return graph.add_node_multi(Op::kSplit, fresh("Split"), {x}, SplitAttrs{axis, std::move(sizes)}, names);
  }

  ValueId conv(ValueId x, int64_t out_channels, ConvAttrs attrs, bool bias = true, ValueId residual = kNoValue) {
    const int64_t group_in = shape(x)[1] / attrs.groups;
    const double fan_in = static_cast<double>(group_in * attrs.kernel[0] * attrs.kernel[1]);
    const ValueId weight =
        constant({out_channels, group_in, attrs.kernel[0], attrs.kernel[1]}, 0, std::sqrt(1.5 / fan_in));
    std::vector<ValueId> inputs{x, weight};
    if (bias || residual != kNoValue) inputs.push_back(bias ? constant({out_channels}, 0, 0.3) : kNoValue);
    if (residual != kNoValue) inputs.push_back(residual);
    return node(Op::kConv, std::move(inputs), attrs);
  }
  // Square kernel, "same" padding for odd kernels.
  ValueId conv(ValueId x, int64_t out_channels, int32_t kernel, int32_t stride = 1, int32_t groups = 1,
               bool bias = true) {
    ConvAttrs attrs;
    attrs.kernel = {kernel, kernel};
    attrs.stride = {stride, stride};
    attrs.pads = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
    attrs.groups = groups;
    return conv(x, out_channels, attrs, bias);
  }
  ValueId fully_connected(ValueId x, int64_t outputs, bool bias = true, Activation activation = {}) {
    const int64_t inputs = shape(x)[1];
    std::vector<ValueId> operands{x, constant({outputs, inputs}, 0, std::sqrt(1.5 / static_cast<double>(inputs)))};
    if (bias) operands.push_back(constant({outputs}, 0, 0.3));
    return node(Op::kFullyConnected, std::move(operands), FullyConnectedAttrs{activation});
  }
  ValueId batch_norm(ValueId x, float epsilon = 1e-5f) {
    const Shape channels{shape(x)[1]};
    return node(Op::kBatchNorm,
                {x, nonzero(channels, 0.5, 1.5, false), constant(channels, 0, 0.3), constant(channels, 0, 0.3),
                 nonzero(channels, 0.5, 2, true)},
                BatchNormAttrs{epsilon});
  }
  ValueId relu(ValueId x) { return node(Op::kRelu, {x}); }
  ValueId concat(std::vector<ValueId> parts, int32_t axis = 1) {
    return node(Op::kConcat, std::move(parts), AxisAttrs{axis});
  }
  ValueId global_pool(ValueId x) { return node(Op::kGlobalAveragePool, {x}); }
  ValueId flatten(ValueId x) { return node(Op::kReshape, {x}, ReshapeAttrs{{0, -1}}); }
  ValueId pool(Op op, ValueId x, int32_t kernel, int32_t stride) {
    PoolAttrs attrs;
    attrs.kernel = {kernel, kernel};
    attrs.stride = {stride, stride};
    return node(op, {x}, attrs);
  }
  ValueId head(ValueId x, int64_t classes) { return fully_connected(flatten(global_pool(x)), classes); }

  Graph finish(std::vector<ValueId> outputs) {
    graph.outputs = std::move(outputs);
    return std::move(graph);
  }
  const Shape& shape(ValueId id) const { return graph.shape(id); }

 private:
  std::string fresh(const std::string& stem) { return stem + std::to_string(serial_++); }
  int serial_ = 0;
};

}  // namespace sparsenet::test
