#include "zoo/layer_builder.h"

#include <utility>

#include "zoo/initialize.h"

namespace sparsenet {
namespace {

// 2 GiB of float32: no classifier of these families comes near that, and a mistyped width must not exhaust the machine.
constexpr int64_t kMaxParameters = int64_t{1} << 29;

}  // namespace

int64_t LayerBuilder::dim(ValueId x, size_t axis) const {
  if (x < 0 || static_cast<size_t>(x) >= graph_.values.size()) return 1;
  const Shape& shape = graph_.shape(x);
  return axis < shape.size() ? shape[axis] : 1;  // unknown after a failure
}

bool LayerBuilder::spend(const std::string& name, const Shape& shape) {
  const int64_t count = element_count(shape);
  if (status_.ok() && (count < 0 || count > kMaxParameters - spent_)) {
    status_ = invalid_argument("the network is too large: with '" + name + "' " + to_string(shape) +
                               " it has more than " + std::to_string(kMaxParameters) + " parameters");
  }
  if (!status_.ok()) return false;
  spent_ += count;
  return true;
}

ValueId LayerBuilder::parameter(const std::string& name, Shape shape, float value) {
  if (!spend(name, shape)) return kNoValue;
  return graph_.add_constant(name, Tensor::filled(std::move(shape), value));
}

ValueId LayerBuilder::weights(const std::string& name, Shape shape, int64_t fan) {
  if (!spend(name, shape)) return kNoValue;
  const auto count = static_cast<size_t>(element_count(shape));
  return graph_.add_constant(name, Tensor::from(std::move(shape), he_normal(count, fan, seed_, name)));
}

ValueId LayerBuilder::add(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs) {
  if (!status_.ok()) return kNoValue;
  return graph_.add_node(op, name, std::move(inputs), std::move(attrs), name);
}

ValueId LayerBuilder::conv(const std::string& name, ValueId x, const Conv& c) {
  const int64_t k = c.kernel;
  std::vector<ValueId> inputs{x, weights(name + ".weight", {c.channels, channels(x), k, k}, k * k * c.channels)};
  if (c.bias) inputs.push_back(parameter(name + ".bias", {c.channels}, 0.f));
  ConvAttrs attrs;
  attrs.kernel = {c.kernel, c.kernel};
  attrs.stride = {c.stride, c.stride};
  attrs.pads = {c.pad, c.pad, c.pad, c.pad};
  return add(Op::kConv, name, std::move(inputs), attrs);
}

ValueId LayerBuilder::batch_norm(const std::string& name, ValueId x, float epsilon) {
  const Shape shape{channels(x)};
  const ValueId scale = parameter(name + ".weight", shape, 1.f);
  const ValueId shift = parameter(name + ".bias", shape, 0.f);
  const ValueId mean = parameter(name + ".running_mean", shape, 0.f);
  const ValueId variance = parameter(name + ".running_var", shape, 1.f);
  return add(Op::kBatchNorm, name, {x, scale, shift, mean, variance}, BatchNormAttrs{epsilon});
}

ValueId LayerBuilder::fully_connected(const std::string& name, ValueId x, int64_t outputs,
                                      const std::string& output_name) {
  const ValueId weight = weights(name + ".weight", {outputs, channels(x)}, outputs);
  const ValueId bias = parameter(name + ".bias", {outputs}, 0.f);
  if (!status_.ok()) return kNoValue;
  return graph_.add_node(Op::kFullyConnected, name, {x, weight, bias}, FullyConnectedAttrs{},
                         output_name.empty() ? name : output_name);
}

ValueId LayerBuilder::concat(const std::string& name, const std::vector<ValueId>& parts) {
  return parts.size() == 1 ? parts[0] : add(Op::kConcat, name, parts, AxisAttrs{1});
}

ValueId LayerBuilder::pool(Op op, const std::string& name, ValueId x, int32_t kernel, int32_t stride, int32_t pad) {
  PoolAttrs attrs;
  attrs.kernel = {kernel, kernel};
  attrs.stride = {stride, stride};
  attrs.pads = {pad, pad, pad, pad};
  return add(op, name, {x}, attrs);
}

std::vector<ValueId> LayerBuilder::split(const std::string& name, ValueId x, const std::vector<int64_t>& channels) {
  if (!status_.ok()) return std::vector<ValueId>(channels.size(), kNoValue);
  SplitAttrs attrs;
  attrs.axis = 1;
  attrs.sizes = channels;
  std::vector<std::string> names;
  for (size_t i = 0; i < channels.size(); ++i) names.push_back(name + "." + std::to_string(i));
  return graph_.add_node_multi(Op::kSplit, name, {x}, std::move(attrs), std::move(names));
}

Result<Graph> LayerBuilder::finish(ValueId output) {
  SPARSENET_RETURN_IF_ERROR(status_);
  graph_.outputs = {output};
  SPARSENET_RETURN_IF_ERROR(graph_.infer_shapes());
  return std::move(graph_);
}

}  // namespace sparsenet
