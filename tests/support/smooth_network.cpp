#include "support/smooth_network.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "graph/training_ops.h"

namespace sparsenet::test {
namespace {

class Smoother {
 public:
  explicit Smoother(const Graph& simulated) : source_(simulated) {
    result_.graph = simulated;
    result_.graph.nodes.clear();
    result_.tie_distance = std::numeric_limits<double>::infinity();
  }

  Result<SmoothNetwork> run(const std::vector<float>& images) {
    values_.resize(source_.values.size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const Value& value = source_.values[i];
      values_[i] = Array(value.shape);
      if (!value.is_constant || value.type != DataType::kFloat32) continue;
      values_[i].data.assign(value.constant.f32(), value.constant.f32() + value.constant.elements());
    }
    Array& input = of(source_.inputs[0]);
    if (input.size() != images.size()) return invalid_argument("the images do not fill the input");
    input.data.assign(images.begin(), images.end());
    for (const Node& node : source_.nodes) {
      if (node.op == TrainOp::kFakeQuantize) {
        fake_quantize(node);
      } else if (node.op == TrainOp::kRoundWeight) {
        round_weight(node);
      } else {
        SPARSENET_RETURN_IF_ERROR(keep(node));
      }
    }
    result_.outputs = of(source_.outputs[0]);
    SPARSENET_RETURN_IF_ERROR(result_.graph.infer_shapes());
    return std::move(result_);
  }

 private:
  Array& of(ValueId id) { return values_[static_cast<size_t>(id)]; }

  Status keep(const Node& node) {
    if (node.op == Op::kBatchNorm) result_.norms.insert(node.name);
    Operands in;
    for (const ValueId id : node.inputs) in.push_back(id == kNoValue ? nullptr : &of(id));
    Arrays out;
    for (const ValueId id : node.outputs) out.emplace_back(source_.shape(id));
    SPARSENET_RETURN_IF_ERROR(evaluate_node(node, in, out));
    for (size_t i = 0; i < out.size(); ++i) of(node.outputs[i]) = std::move(out[i]);
    result_.graph.nodes.push_back(node);
    return {};
  }

  // The nearest integer; from `epsilon` before a tie on up, or from -epsilon before it on away from 0.
  double nearest(double x, double epsilon) {
    const bool down = epsilon <= 0 && x < 0;
    const double moved = (down ? -x : x) + 0.5 + std::abs(epsilon), n = std::floor(moved);
    result_.tie_distance = std::min({result_.tie_distance, moved - n, n + 1 - moved});
    return down ? -n : n;
  }

  ValueId add(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs) {
    return result_.graph.add_node(op, name, std::move(inputs), std::move(attrs));
  }

  // Adds to `x` what makes `exact` the value `y`.
  void add_difference(const Node& node, ValueId x, const std::vector<double>& exact, ValueId y) {
    const std::vector<double>& rounded = of(y).data;
    std::vector<float> difference(rounded.size());
    for (size_t i = 0; i < rounded.size(); ++i) difference[i] = static_cast<float>(rounded[i] - exact[i]);
    Graph& graph = result_.graph;
    const ValueId constant = graph.add_constant(node.name + ".difference#" + std::to_string(graph.values.size()),
                                                Tensor::from(source_.shape(y), std::move(difference)));
    Node sum;
    sum.op = Op::kAdd;
    sum.name = node.name;
    sum.inputs = {x, constant};
    sum.outputs = {y};
    graph.nodes.push_back(std::move(sum));
  }

  void fake_quantize(const Node& node) {
    const TrainAttrs& a = train_attrs(node);
    ValueId x = node.inputs[0];
    const ValueId y = node.outputs[0];
    std::vector<double> exact = of(x).data;
    if (a.activation.kind != Activation::Kind::kNone) {
      for (double& v : exact) v = activate(a.activation, v);
      x = add(Op::kClip, node.name, {x}, ClipAttrs{a.activation.a, a.activation.b});
    }
    const auto scale = static_cast<double>(a.alpha), zero = static_cast<double>(a.beta);
    for (size_t i = 0; i < exact.size(); ++i) {
      of(y).data[i] = (nearest(exact[i] / scale + zero, static_cast<double>(a.epsilon)) - zero) * scale;
    }
    add_difference(node, x, exact, y);
  }

  void round_weight(const Node& node) {
    const ValueId w = node.inputs[0], y = node.outputs[0];
    const std::vector<double>&weight = of(w).data, &most = of(node.inputs[1]).data;
    const auto unit = static_cast<double>(train_attrs(node).alpha);
    std::vector<double> exact(weight.size());
    const size_t length = weight.size() / most.size();
    for (size_t row = 0; row < most.size(); ++row) {
      double largest = 0;
      for (size_t i = row * length; i < (row + 1) * length; ++i) largest = std::max(largest, std::abs(weight[i]));
      const double scale = std::max(largest / most[row], 1e-30);
      for (size_t i = row * length; i < (row + 1) * length; ++i) {
        exact[i] = weight[i] * unit;
        of(y).data[i] = std::min(nearest(weight[i] / scale, 0), 127.) * scale * unit;
      }
    }
    const ValueId factor = result_.graph.add_constant(node.name + ".unit#" + std::to_string(w),
                                                      Tensor::filled({1}, static_cast<float>(unit)));
    add_difference(node, add(Op::kMul, node.name, {w, factor}, NoAttrs{}), exact, y);
  }

  const Graph& source_;
  std::vector<Array> values_;
  SmoothNetwork result_;
};

}  // namespace

Result<SmoothNetwork> smooth_network(const Graph& simulated, const std::vector<float>& images) {
  return Smoother(simulated).run(images);
}

}  // namespace sparsenet::test
