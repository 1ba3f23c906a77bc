#include "support/integer_oracle.h"

#include <algorithm>
#include <cmath>

namespace sparsenet::test {
namespace {

int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - (a % b < 0 ? 1 : 0);
}

bool fits(int64_t x) {
  return x >= INT32_MIN && x <= INT32_MAX;
}

Status too_large() {
  return unsupported("a number leaves 32 bits");
}

FixedPoint fixed_point(double factor) {
  FixedPoint f;
  double fraction = factor;  // halving and doubling are exact
  for (; fraction >= 1; fraction /= 2) ++f.exponent;
  for (; fraction < 0.5; fraction *= 2) --f.exponent;
  f.fixed = static_cast<int64_t>(std::floor(fraction * 2147483648.0 + 0.5));
  if (f.fixed == int64_t{1} << 31) {
    f.fixed /= 2;
    ++f.exponent;
  }
  return f.exponent < -31 ? FixedPoint{} : f;
}

double scale_of(const Value& value) {
  return static_cast<double>(value.quantization.scales[0]);
}

double zero_of(const Value& value) {
  return static_cast<double>(value.quantization.zero_points[0]);
}

// The integer that stands for a bound, which the file states in float32.
double integer_of(float real, const Value& value) {
  const float steps = std::round(real / value.quantization.scales[0]);
  return std::clamp(zero_of(value) + static_cast<double>(steps), -128.0, 127.0);
}

Activation activation_of(const Node& node) {
  if (node.op == Op::kConv) return std::get<ConvAttrs>(node.attrs).activation;
  if (node.op == Op::kFullyConnected) return std::get<FullyConnectedAttrs>(node.attrs).activation;
  if (node.op == Op::kRelu) return {Activation::Kind::kRelu, 0, 0};
  if (node.op == Op::kClip) {
    const auto& clip = std::get<ClipAttrs>(node.attrs);
    return {Activation::Kind::kClip, clip.low, clip.high};
  }
  return {};
}

class Evaluation {
 public:
  Evaluation(const Graph& graph, std::vector<Array>* values, bool* exact)
      : graph_(graph), values_(*values), exact_(*exact) {}

  Status run(const Node& node) {
    const ValueId y = node.outputs[0];
    const Value &in = graph_.value(node.inputs[0]), &out = graph_.value(y);
    const Array& x = array(node.inputs[0]);
    switch (node.op) {
      case Op::kConv:
      case Op::kFullyConnected:
        return layer(node);
      case Op::kAdd:
      case Op::kSub:
        return add(node);
      case Op::kMul: {
        const Array a = moved(node.inputs[0]), b = moved(node.inputs[1]);
        Array sums;
        SPARSENET_RETURN_IF_ERROR(plain(node, {&a, &b}, &sums));
        return finish(node, sums, {scale_of(in) * scale_of(graph_.value(node.inputs[1])) / scale_of(out)});
      }
      case Op::kGlobalAveragePool: {
        const Array a = moved(node.inputs[0]);
        const auto area = static_cast<double>(in.shape[2] * in.shape[3]);
        Array sums;
        SPARSENET_RETURN_IF_ERROR(plain(node, {&a}, &sums));
        for (double& v : sums.data) v = std::round(v * area);
        if (node.rounding == Rounding::kDouble) return finish_mean(node, sums, static_cast<int64_t>(area));
        return finish(node, sums, {scale_of(in) / (scale_of(out) * area)});
      }
      case Op::kAveragePool: {
        // Of the integers themselves; halves up or away from zero. Padding counts as the number zero.
        const Array a = moved(node.inputs[0]);
        Array means;
        SPARSENET_RETURN_IF_ERROR(plain(node, {&a}, &means));
        for (double& v : means.data) {
          const double mean = v + zero_of(in);
          v = node.rounding == Rounding::kDouble ? std::round(mean) : std::floor(mean + 0.5 + 1e-9);
        }
        values_[static_cast<size_t>(y)] = std::move(means);
        return {};
      }
      case Op::kSigmoid:
      case Op::kHardSigmoid:
      case Op::kHardSwish:
      case Op::kTanh:
      case Op::kSilu:
      case Op::kLeakyRelu:
      case Op::kElu: {
        if (node.rounding == Rounding::kDouble) return unsupported("tables of TensorFlow Lite Micro");
        Array real = moved(node.inputs[0]);
        for (double& v : real.data) v *= scale_of(in);
        Array y_real;
        SPARSENET_RETURN_IF_ERROR(plain(node, {&real}, &y_real));
        for (double& v : y_real.data) v = std::clamp(std::round(v / scale_of(out)) + zero_of(out), -128.0, 127.0);
        values_[static_cast<size_t>(y)] = std::move(y_real);
        return {};
      }
      case Op::kRelu:
      case Op::kClip:
        return finish(node, moved(node.inputs[0]), {scale_of(in) / scale_of(out)});
      case Op::kQuantize:
        if (in.type != DataType::kFloat32) {
          return finish(node, moved(node.inputs[0]), {scale_of(in) / scale_of(out)});
        }
        return from_floats(node, x);
      case Op::kDequantize: {
        Array real = moved(node.inputs[0]);
        for (double& v : real.data) v = static_cast<double>(static_cast<float>(v) * in.quantization.scales[0]);
        values_[static_cast<size_t>(y)] = std::move(real);
        return {};
      }
      case Op::kSoftmax: {
        Array real = moved(node.inputs[0]);
        for (double& v : real.data) v *= scale_of(in);
        Array p;
        SPARSENET_RETURN_IF_ERROR(plain(node, {&real}, &p));
        for (double& v : p.data) v = v / scale_of(out) + zero_of(out);
        exact_ = false;
        values_[static_cast<size_t>(y)] = std::move(p);
        return {};
      }
      default:
        return move(node);
    }
  }

 private:
  const Array& array(ValueId id) const { return values_[static_cast<size_t>(id)]; }

  // The integers of a value less its zero point.
  Array moved(ValueId id) const {
    Array out = array(id);
    for (double& v : out.data) v -= zero_of(graph_.value(id));
    return out;
  }

  // The node's op on real numbers. Sums and products of integers are exact in double precision.
  Status plain(Node node, const Operands& in, Array* out) const {
    if (node.op == Op::kConv) std::get<ConvAttrs>(node.attrs).activation = {};
    if (node.op == Op::kFullyConnected) std::get<FullyConnectedAttrs>(node.attrs).activation = {};
    Arrays all{Array(graph_.shape(node.outputs[0]))};
    SPARSENET_RETURN_IF_ERROR(evaluate_node(node, in, all));
    *out = std::move(all[0]);
    return {};
  }

  Status layer(const Node& node) {
    const Value &in = graph_.value(node.inputs[0]), &weight = graph_.value(node.inputs[1]),
                &out = graph_.value(node.outputs[0]);
    const Array x = moved(node.inputs[0]);
    Operands operands{&x, &array(node.inputs[1])};
    if (node.inputs.size() > 2) operands.push_back(node.inputs[2] == kNoValue ? nullptr : &array(node.inputs[2]));
    Array sums;
    SPARSENET_RETURN_IF_ERROR(plain(node, operands, &sums));
    std::vector<double> factors;
    for (const float scale : weight.quantization.scales) {
      factors.push_back(scale_of(in) * static_cast<double>(scale) / scale_of(out));
    }
    return finish(node, sums, factors);
  }

  // Both operands in units of half the larger scale and 20 more bits, rounded; then their sum, rounded.
  Status add(const Node& node) {
    const double twice = 2 * std::max(scale_of(graph_.value(node.inputs[0])), scale_of(graph_.value(node.inputs[1])));
    Array operands[2];
    for (size_t i = 0; i < 2; ++i) {
      operands[i] = moved(node.inputs[i]);
      for (double& v : operands[i].data) {
        const double factor = scale_of(graph_.value(node.inputs[i])) / twice;
        SPARSENET_ASSIGN_OR_RETURN(const int64_t product,
                                   requantised(static_cast<int64_t>(v) * 1048576, factor, node.rounding));
        v = static_cast<double>(product);
      }
    }
    Array sums;
    SPARSENET_RETURN_IF_ERROR(plain(node, {&operands[0], &operands[1]}, &sums));
    return finish(node, sums, {twice / (1048576.0 * scale_of(graph_.value(node.outputs[0])))});
  }

  // The factor of one integer is divided by their number and rounded down, with as many bits as fit.
  Status finish_mean(const Node& node, const Array& sums, int64_t count) {
    const Value &in = graph_.value(node.inputs[0]), &out = graph_.value(node.outputs[0]);
    const FixedPoint one = fixed_point(scale_of(in) / scale_of(out));
    FixedPoint mean = one;
    for (int64_t power = 2; power <= count; power *= 2) --mean.exponent;
    mean.fixed = (one.fixed << (one.exponent - mean.exponent)) / count;
    return finish_fixed(node, sums, {mean});
  }

  // sums * factors + zero point, within the bounds. One factor, or one per channel.
  Status finish(const Node& node, const Array& sums, const std::vector<double>& factors) {
    std::vector<FixedPoint> fixed;
    for (const double factor : factors) fixed.push_back(fixed_point(factor));
    return finish_fixed(node, sums, fixed);
  }
  Status finish_fixed(const Node& node, const Array& sums, const std::vector<FixedPoint>& factors) {
    const Value& out = graph_.value(node.outputs[0]);
    const Activation activation = activation_of(node);
    double low = -128, high = 127;
    if (activation.kind == Activation::Kind::kRelu) low = integer_of(0, out);
    if (activation.kind == Activation::Kind::kClip) {
      low = integer_of(activation.a, out);
      high = integer_of(activation.b, out);
    }
    size_t area = 1;
    for (size_t d = 2; d < sums.shape.size(); ++d) area *= sums.dim(d);
    Array y(out.shape);
    for (size_t i = 0; i < sums.size(); ++i) {
      const FixedPoint factor = factors[factors.size() == 1 ? 0 : i / area % factors.size()];
      SPARSENET_ASSIGN_OR_RETURN(const int64_t product,
                                 requantised(static_cast<int64_t>(sums.data[i]), factor, node.rounding));
      y.data[i] = std::clamp(static_cast<double>(product) + zero_of(out), low, high);
    }
    values_[static_cast<size_t>(node.outputs[0])] = std::move(y);
    return {};
  }

  // Single: ties to even; double: ties away from zero. NaN is the zero point.
  Status from_floats(const Node& node, const Array& x) {
    const Value& out = graph_.value(node.outputs[0]);
    Array y(out.shape);
    for (size_t i = 0; i < x.size(); ++i) {
      const auto steps = static_cast<double>(static_cast<float>(x.data[i]) / out.quantization.scales[0]);
      double whole = std::round(steps);
      if (node.rounding == Rounding::kSingle && std::fabs(steps - std::trunc(steps)) == 0.5) {
        whole = 2 * std::round(steps / 2);
      }
      y.data[i] = std::isnan(steps) ? zero_of(out) : std::clamp(whole + zero_of(out), -128.0, 127.0);
    }
    values_[static_cast<size_t>(node.outputs[0])] = std::move(y);
    return {};
  }

  // Ops that only move or compare integers.
  Status move(Node node) {
    if (auto* pad = std::get_if<PadAttrs>(&node.attrs)) {
      pad->value = static_cast<float>(integer_of(pad->value, graph_.value(node.inputs[0])));
    }
    Operands in;
    for (const ValueId id : node.inputs) in.push_back(&array(id));
    Arrays out;
    for (const ValueId id : node.outputs) out.emplace_back(graph_.shape(id));
    SPARSENET_RETURN_IF_ERROR(evaluate_node(node, in, out));
    for (size_t i = 0; i < out.size(); ++i) values_[static_cast<size_t>(node.outputs[i])] = std::move(out[i]);
    return {};
  }

  const Graph& graph_;
  std::vector<Array>& values_;
  bool& exact_;
};

Array constant_array(const Tensor& tensor) {
  Array out(tensor.shape);
  for (size_t i = 0; i < out.size(); ++i) {
    out.data[i] = tensor.type == DataType::kInt8 ? static_cast<const int8_t*>(tensor.data)[i]
                                                 : static_cast<const int32_t*>(tensor.data)[i];
  }
  return out;
}

}  // namespace

Result<int64_t> requantised(int64_t sum, double factor, Rounding rounding) {
  return requantised(sum, fixed_point(factor), rounding);
}

Result<int64_t> requantised(int64_t sum, const FixedPoint& f, Rounding rounding) {
  int64_t result = 0;
  if (!fits(sum) || f.exponent > 30) return too_large();
  if (rounding == Rounding::kSingle) {
    const int64_t unit = int64_t{1} << (31 - f.exponent);
    result = floor_quotient(sum * f.fixed + unit / 2, unit);
  } else {
    const int64_t shifted = sum * (int64_t{1} << std::max(0, f.exponent));
    if (!fits(shifted)) return too_large();
    const int64_t high = floor_quotient(shifted * f.fixed + (int64_t{1} << 30), int64_t{1} << 31);
    const int64_t unit = int64_t{1} << std::max(0, -f.exponent), size = (std::abs(high) + unit / 2) / unit;
    result = high < 0 ? -size : size;
  }
  if (!fits(result)) return too_large();
  return result;
}

Result<Expected> evaluate_integers(const Graph& graph, const std::vector<Array>& inputs) {
  std::vector<Array> values(graph.values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if (graph.values[i].is_constant) values[i] = constant_array(graph.values[i].constant);
  }
  for (size_t i = 0; i < inputs.size(); ++i) values[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  Expected expected;
  Evaluation evaluation(graph, &values, &expected.exact);
  for (const Node& node : graph.nodes) SPARSENET_RETURN_IF_ERROR(evaluation.run(node));
  for (const ValueId id : graph.outputs) expected.outputs.push_back(values[static_cast<size_t>(id)]);
  return expected;
}

}  // namespace sparsenet::test
