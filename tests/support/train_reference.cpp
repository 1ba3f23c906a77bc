#include "support/train_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/activations.h"

namespace sparsenet::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Where an activation's slope is discontinuous.
std::vector<double> kinks(const Activation& activation) {
  const double a = activation.a, b = activation.b;
  switch (activation.kind) {
    case Activation::Kind::kRelu:
    case Activation::Kind::kLeakyRelu:
    case Activation::Kind::kElu:
      return {0};
    case Activation::Kind::kClip:
      return {a, b};
    case Activation::Kind::kHardSigmoid:
      return {-b / a, (1 - b) / a};
    case Activation::Kind::kHardSwish:
      return {-3, 3};
    default:
      return {};
  }
}

double distance_to(const std::vector<double>& points, const Array& x) {
  double nearest = kInfinity;
  for (const double point : points) {
    for (const double v : x.data) nearest = std::min(nearest, std::abs(v - point));
  }
  return nearest;
}

// The smallest difference between the two largest elements of a window that differ; two zeros of a rectifier always
// tie.
double pool_gap(const PoolAttrs& a, const Array& x, const Array& out) {
  double least = kInfinity;
  const int64_t rows = x.shape[2], columns = x.shape[3], out_rows = out.shape[2], out_columns = out.shape[3];
  for (size_t i = 0; i < out.size(); ++i) {
    const auto flat = static_cast<int64_t>(i);
    const int64_t plane = flat / (out_rows * out_columns);
    const int64_t top = flat / out_columns % out_rows * a.stride[0] - a.pads[0];
    const int64_t left = flat % out_columns * a.stride[1] - a.pads[1];
    for (int64_t h = std::max<int64_t>(top, 0); h < std::min(top + a.kernel[0], rows); ++h) {
      for (int64_t w = std::max<int64_t>(left, 0); w < std::min(left + a.kernel[1], columns); ++w) {
        const double gap = out.data[i] - x.data[static_cast<size_t>((plane * rows + h) * columns + w)];
        if (gap > 0) least = std::min(least, gap);
      }
    }
  }
  return least;
}

}  // namespace

Result<TrainReference> TrainReference::create(const Graph& graph, const std::vector<float>& images,
                                              const std::vector<int32_t>& labels, const Options& options) {
  TrainReference r;
  r.graph_ = graph;
  r.options_ = options;
  r.labels_ = labels;
  r.kink_distance_ = r.margin_ = kInfinity;
  SPARSENET_RETURN_IF_ERROR(r.graph_.set_batch(static_cast<int64_t>(labels.size())));
  if (r.graph_.inputs.size() != 1 || r.graph_.outputs.size() != 1) return invalid_argument("one input, one output");
  r.logits_ = r.graph_.outputs[0];
  if (!r.graph_.nodes.empty() && r.graph_.nodes.back().op == Op::kSoftmax &&
      r.graph_.nodes.back().outputs[0] == r.logits_) {
    r.logits_ = r.graph_.nodes.back().inputs[0];
  }
  r.values_.resize(r.graph_.values.size());
  for (size_t i = 0; i < r.values_.size(); ++i) {
    const Value& value = r.graph_.values[i];
    if (!value.is_constant || value.type != DataType::kFloat32) continue;
    r.values_[i].shape = value.shape;
    r.values_[i].data.assign(value.constant.f32(), value.constant.f32() + value.constant.elements());
  }
  Array input(r.graph_.shape(r.graph_.inputs[0]));
  if (input.size() != images.size()) return invalid_argument("the images do not fill the input");
  input.data.assign(images.begin(), images.end());
  r.values_[static_cast<size_t>(r.graph_.inputs[0])] = std::move(input);
  r.first_use_.assign(r.values_.size(), r.graph_.nodes.size());
  for (size_t n = r.graph_.nodes.size(); n-- > 0;) {
    for (const ValueId id : r.graph_.nodes[n].inputs) {
      if (id != kNoValue) r.first_use_[static_cast<size_t>(id)] = n;
    }
  }
  SPARSENET_RETURN_IF_ERROR(r.forward(0, r.values_, &r));
  const Array& logits = r.values_[static_cast<size_t>(r.logits_)];
  if (logits.shape.size() != 2) return invalid_argument("logits of rank 2, please");
  r.loss_ = r.loss_of(logits, options.label_smoothing);
  r.plain_ = r.loss_of(logits, 0);
  for (size_t n = 0; n < labels.size(); ++n) {
    std::vector<double> row(&logits.data[n * logits.dim(1)], &logits.data[(n + 1) * logits.dim(1)]);
    r.correct_ += std::max_element(row.begin(), row.end()) - row.begin() == labels[n];
    std::sort(row.rbegin(), row.rend());
    if (row.size() > 1) r.margin_ = std::min(r.margin_, row[0] - row[1]);
  }
  return r;
}

Status TrainReference::forward(size_t first_node, std::vector<Array>& values, TrainReference* record) const {
  for (size_t n = first_node; n < graph_.nodes.size(); ++n) {
    const Node& node = graph_.nodes[n];
    Operands in;
    for (const ValueId id : node.inputs) in.push_back(id == kNoValue ? nullptr : &values[static_cast<size_t>(id)]);
    Arrays out;
    for (const ValueId id : node.outputs) out.emplace_back(graph_.shape(id));
    if (node.op == Op::kBatchNorm && options_.frozen_norms.count(node.name) == 0) {
      batch_norm(node, in, out[0], record);
    } else {
      SPARSENET_RETURN_IF_ERROR(evaluate_node(node, in, out));
    }
    if (record) record->measure_kinks(node, in, out);
    for (size_t i = 0; i < out.size(); ++i) values[static_cast<size_t>(node.outputs[i])] = std::move(out[i]);
  }
  return {};
}

void TrainReference::batch_norm(const Node& node, const Operands& in, Array& out, TrainReference* record) {
  const Array& x = *in[0];
  const size_t channels = x.dim(1), inner = x.size() / (x.dim(0) * channels);
  const auto count = static_cast<double>(x.dim(0) * inner);
  std::vector<double> mean(channels, 0.0), variance(channels, 0.0);
  for (size_t i = 0; i < x.size(); ++i) mean[i / inner % channels] += x.data[i] / count;
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = x.data[i] - mean[i / inner % channels];
    variance[i / inner % channels] += d * d / count;
  }
  const double epsilon = static_cast<double>(std::get<BatchNormAttrs>(node.attrs).epsilon);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i / inner % channels;
    out.data[i] = (x.data[i] - mean[c]) / std::sqrt(variance[c] + epsilon) * in[1]->data[c] + in[2]->data[c];
  }
  if (!record) return;
  for (size_t c = 0; c < channels; ++c) {
    mean[c] = 0.9 * in[3]->data[c] + 0.1 * mean[c];
    variance[c] = 0.9 * in[4]->data[c] + 0.1 * variance[c] * count / (count - 1);
  }
  record->running_[node.inputs[3]] = std::move(mean);
  record->running_[node.inputs[4]] = std::move(variance);
}

void TrainReference::measure_kinks(const Node& node, const Operands& in, const Arrays& out) {
  if (node.op == Op::kMaxPool) {
    kink_distance_ = std::min(kink_distance_, pool_gap(std::get<PoolAttrs>(node.attrs), *in[0], out[0]));
    return;
  }
  if (node.op == Op::kMax || node.op == Op::kMin) {  // where both operands are equal
    Arrays gap{Array(out[0].shape)};
    reference::binary(Op::kSub, in, gap[0]);
    kink_distance_ = std::min(kink_distance_, distance_to({0}, gap[0]));
    return;
  }
  Activation alone;
  if (node.op == Op::kPrelu) alone.kind = Activation::Kind::kRelu;
  is_activation(node, &alone);
  kink_distance_ = std::min(kink_distance_, distance_to(kinks(alone), *in[0]));
  Node bare = node;  // the input of a fused activation is the node's output without it
  Activation fused;
  if (auto* conv = std::get_if<ConvAttrs>(&bare.attrs)) std::swap(fused, conv->activation);
  if (auto* layer = std::get_if<FullyConnectedAttrs>(&bare.attrs)) std::swap(fused, layer->activation);
  const std::vector<double> points = kinks(fused);
  if (points.empty()) return;
  Arrays before{Array(out[0].shape)};
  if (evaluate_node(bare, in, before).ok()) {
    kink_distance_ = std::min(kink_distance_, distance_to(points, before[0]));
  }
}

double TrainReference::loss_of(const Array& logits, double smoothing) const {
  const size_t classes = logits.dim(1);
  double total = 0;
  for (size_t n = 0; n < labels_.size(); ++n) {
    const double* row = &logits.data[n * classes];
    const double highest = *std::max_element(row, row + classes);
    double sum = 0;
    for (size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - highest);
    const double log_sum = highest + std::log(sum);
    total += (1 - smoothing) * (log_sum - row[labels_[n]]);
    for (size_t c = 0; c < classes; ++c) total += smoothing / static_cast<double>(classes) * (log_sum - row[c]);
  }
  return total / static_cast<double>(labels_.size());
}

double TrainReference::loss_at(ValueId id, const std::vector<double>& delta) const {
  std::vector<Array> moved = values_;
  std::vector<double>& constant = moved[static_cast<size_t>(id)].data;
  for (size_t i = 0; i < delta.size(); ++i) constant[i] += delta[i];
  if (!forward(first_use_[static_cast<size_t>(id)], moved, nullptr).ok()) return std::nan("");
  return loss_of(moved[static_cast<size_t>(logits_)], options_.label_smoothing);
}

}  // namespace sparsenet::test
