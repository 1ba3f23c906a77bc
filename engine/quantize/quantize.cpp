#include <sparsenet/quantize.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/guarded.h"
#include "graph/integers.h"
#include "quantize/equalize.h"
#include "quantize/float_form.h"
#include "quantize/integer_form.h"
#include "quantize/ranges.h"

namespace sparsenet {

struct Quantizer::Impl {
  Status calibrate(const Model& model, const float* images, int64_t count, const QuantizeOptions& given);
  Result<Model> make(std::vector<std::string> keep_float, QuantizeReport* report) const;
  Result<std::vector<LayerDamage>> damage(const float* images, int64_t count,
                                          const std::function<void(int64_t, int64_t)>& progress) const;
  Result<std::vector<float>> outputs(const Graph& network, const float* images, int64_t count) const;

  Graph graph;  // equalised, in its float form
  std::vector<Range> ranges;
  Metadata metadata;
  QuantizeOptions options;
};

Status Quantizer::Impl::calibrate(const Model& model, const float* images, int64_t count,
                                  const QuantizeOptions& given) {
  if (model.graph.inputs.size() != 1) {
    return unsupported("quantisation: expected a network with one input, found " +
                       std::to_string(model.graph.inputs.size()));
  }
  if (!images || count < 1) return invalid_argument("calibration: expected one image or more, found none");
  options = given;
  metadata = model.metadata;
  graph = model.graph;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(1));
  if (has_integers(graph)) return unsupported("quantisation: the network computes with integers already");
  SPARSENET_RETURN_IF_ERROR(make_float_form(&graph));
  // Factors need not be exact: a few images are enough.
  SPARSENET_ASSIGN_OR_RETURN(const auto largest,
                             measure_channels(graph, images, std::min<int64_t>(count, 64), options));
  SPARSENET_RETURN_IF_ERROR(equalize_channels(&graph, largest));
  SPARSENET_ASSIGN_OR_RETURN(ranges, measure_ranges(graph, images, count, options));
  return {};
}

Result<Model> Quantizer::Impl::make(std::vector<std::string> keep_float, QuantizeReport* report) const {
  keep_float.insert(keep_float.end(), options.keep_float.begin(), options.keep_float.end());
  SPARSENET_ASSIGN_OR_RETURN(std::vector<bool> kept, find_nodes(graph, keep_float));
  Model result;
  SPARSENET_ASSIGN_OR_RETURN(result.graph, make_integer_form(graph, ranges, std::move(kept), report));
  result.metadata = metadata;
  result.metadata.architecture.clear();
  // What lowering refuses, such as sums that could leave 32 bits, is to be told now.
  SessionOptions session_options;
  session_options.threads = 1;
  const Result<Session> session = Session::create(result.graph, session_options);
  if (!session.ok()) return session.status();
  return result;
}

// The first output for every image.
Result<std::vector<float>> Quantizer::Impl::outputs(const Graph& network, const float* images, int64_t count) const {
  SessionOptions session_options;
  session_options.threads = options.threads;
  SPARSENET_ASSIGN_OR_RETURN(Session session, Session::create(network, session_options));
  const auto elements = static_cast<size_t>(element_count(session.inputs()[0].shape));
  const auto results = static_cast<size_t>(element_count(session.outputs()[0].shape));
  std::vector<float> all(results * static_cast<size_t>(count));
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    SPARSENET_RETURN_IF_ERROR(session.set_input(0, images + i * elements, elements));
    SPARSENET_RETURN_IF_ERROR(session.run());
    SPARSENET_RETURN_IF_ERROR(session.get_output(0, all.data() + i * results, results));
  }
  return all;
}

Result<std::vector<LayerDamage>> Quantizer::Impl::damage(const float* images, int64_t count,
                                                         const std::function<void(int64_t, int64_t)>& progress) const {
  if (!images || count < 1) return invalid_argument("damage: expected one image or more, found none");
  std::vector<size_t> layers;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].op == Op::kConv || graph.nodes[i].op == Op::kFullyConnected) layers.push_back(i);
  }
  std::vector<LayerDamage> found;
  // The float network in the same form, so that nothing but the layer differs.
  SPARSENET_ASSIGN_OR_RETURN(const std::vector<float> expected, outputs(graph, images, count));
  double size = 0;
  for (const float v : expected) size += static_cast<double>(v) * static_cast<double>(v);
  for (size_t done = 0; done < layers.size(); ++done) {
    const Node& node = graph.nodes[layers[done]];
    std::vector<bool> kept(graph.nodes.size(), true);
    kept[layers[done]] = false;
    QuantizeReport report;
    auto network = make_integer_form(graph, ranges, std::move(kept), &report);
    if (!network.ok() && network.status().code() == StatusCode::kUnsupported) continue;  // it has no int8 form
    if (!network.ok()) return network.status();
    SPARSENET_ASSIGN_OR_RETURN(const std::vector<float> real, outputs(*network, images, count));
    double error = 0;
    for (size_t i = 0; i < real.size(); ++i) {
      const double d = static_cast<double>(real[i]) - static_cast<double>(expected[i]);
      error += d * d;
    }
    const Value& weight = graph.value(node.inputs[1]);
    const int64_t scales = weight.shape[0] * static_cast<int64_t>(sizeof(float));
    found.push_back({node.name, static_cast<int64_t>(weight.constant.bytes()) - weight.constant.elements() - scales,
                     size > 0 ? std::sqrt(error / size) : 0.});
    if (progress) progress(static_cast<int64_t>(done) + 1, static_cast<int64_t>(layers.size()));
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const LayerDamage& a, const LayerDamage& b) { return a.error > b.error; });
  return found;
}

Quantizer::Quantizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Quantizer::Quantizer(Quantizer&&) noexcept = default;
Quantizer& Quantizer::operator=(Quantizer&&) noexcept = default;
Quantizer::~Quantizer() = default;

Result<Quantizer> Quantizer::calibrate(const Model& model, const float* images, int64_t count,
                                       const QuantizeOptions& options) {
  return guarded("calibrating a network", [&]() -> Result<Quantizer> {
    auto impl = std::make_unique<Impl>();
    SPARSENET_RETURN_IF_ERROR(impl->calibrate(model, images, count, options));
    return Quantizer(std::move(impl));
  });
}

Result<Model> Quantizer::make(const std::vector<std::string>& keep_float, QuantizeReport* report) const {
  QuantizeReport unused;
  return guarded("quantising a network",
                 [&]() -> Result<Model> { return impl_->make(keep_float, report ? report : &unused); });
}

Result<std::vector<LayerDamage>> Quantizer::damage(
    const float* images, int64_t count, const std::function<void(int64_t done, int64_t all)>& progress) const {
  return guarded("measuring what quantising does",
                 [&]() -> Result<std::vector<LayerDamage>> { return impl_->damage(images, count, progress); });
}

Result<Model> quantize(const Model& model, const float* images, int64_t count, const QuantizeOptions& options,
                       QuantizeReport* report) {
  SPARSENET_ASSIGN_OR_RETURN(const Quantizer quantizer, Quantizer::calibrate(model, images, count, options));
  return quantizer.make({}, report);
}

}  // namespace sparsenet
