#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "graph/integers.h"
#include "graph/ops.h"
#include "train/integer_layer.h"
#include "train/simulated_form.h"

namespace sparsenet {
namespace {

constexpr double kMostBias = 1 << 29;  // leaves room for the sum

class Integers {
 public:
  Integers(const Graph& source, const Graph& simulated)
      : simulated_(simulated), result_(source), units_(weight_units(simulated)) {}

  Result<Graph> run() {
    for (size_t i = 0; i < result_.values.size(); ++i) {
      const Value& now = simulated_.values[i];
      Value& value = result_.values[i];
      const bool real = value.type == DataType::kFloat32 || value.type == DataType::kFloat16;
      if (!value.is_constant || !real) continue;
      value.type = now.type;
      value.constant = now.constant;
    }
    for (const Node& node : result_.nodes) {
      if (is_layer(node)) SPARSENET_RETURN_IF_ERROR(look_at(node));
    }
    for (auto& [id, least] : least_) {
      Value& value = result_.value(id);
      IntegerWeight weight =
          integer_weight(simulated_.value(id).constant, most_of_rows(value.constant, value.quantization.scales.size()),
                         units_[static_cast<size_t>(id)], least);
      value.constant = std::move(weight.integers);
      value.quantization.scales = std::move(weight.scales);
    }
    for (const Node& node : result_.nodes) {
      if (is_layer(node)) SPARSENET_RETURN_IF_ERROR(round_bias(node));
    }
    return std::move(result_);
  }

 private:
  bool is_layer(const Node& node) const {
    return (node.op == Op::kConv || node.op == Op::kFullyConnected) && has_integers(result_, node);
  }
  bool real_now(ValueId id) const { return simulated_.value(id).type == DataType::kFloat32; }
  static ValueId bias_of(const Node& node) { return node.inputs.size() > 2 ? node.inputs[2] : kNoValue; }
  double input_scale(const Node& node) const {
    return static_cast<double>(result_.value(node.inputs[0]).quantization.scales[0]);
  }

  Status check_finite(ValueId id) const {
    const Value& value = simulated_.value(id);
    const float* data = value.constant.f32();
    if (std::all_of(data, data + value.constant.elements(), [](float x) { return std::isfinite(x); })) return {};
    return {StatusCode::kNotFinite, "tensor '" + value.name + "' holds values that are not finite"};
  }

  // Makes sure that the scales of a weight are large enough for the biases, too.
  Status look_at(const Node& node) {
    const ValueId weight = node.inputs[1], bias = bias_of(node);
    const bool biased = bias != kNoValue && real_now(bias);
    if (biased) SPARSENET_RETURN_IF_ERROR(check_finite(bias));
    if (!real_now(weight)) return {};
    SPARSENET_RETURN_IF_ERROR(check_finite(weight));
    const size_t rows = result_.value(weight).quantization.scales.size();
    std::vector<double>& least = least_[weight];
    least.resize(rows, 0);
    if (!biased) return {};
    const float* b = simulated_.value(bias).constant.f32();
    for (int64_t o = 0; o < simulated_.value(bias).constant.elements(); ++o) {
      double& of_row = least[rows > 1 ? static_cast<size_t>(o) : 0];
      of_row = std::max(of_row, std::abs(static_cast<double>(b[o])) / (input_scale(node) * kMostBias));
    }
    return {};
  }

  Status round_bias(const Node& node) {
    const ValueId bias = bias_of(node);
    if (bias == kNoValue || !real_now(bias)) return {};
    const Value& weight = result_.value(node.inputs[1]);
    const std::vector<double> scales = weight_scales(weight.quantization, weight.shape[0]);
    if (integer_bias(simulated_.value(bias).constant, input_scale(node), scales, &result_.value(bias).constant)) {
      return {};
    }
    return unsupported(
        describe(node) + ": bias '" + result_.value(bias).name +
        "': expected numbers that 32-bit integers stand for; its weight is frozen, whose scale is small");
  }

  const Graph& simulated_;
  Graph result_;
  std::vector<float> units_;
  std::map<ValueId, std::vector<double>> least_;  // by weight that has been trained: the least scale of each row
};

}  // namespace

Result<Graph> integers_of(const Graph& source, const Graph& simulated) {
  return Integers(source, simulated).run();
}

}  // namespace sparsenet
