#include <sparsenet/quantize.h>

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "graph/integers.h"
#include "quantize/equalize.h"
#include "quantize/float_form.h"
#include "quantize/integer_form.h"
#include "quantize/ranges.h"

namespace sparsenet {
namespace {

Result<Model> quantize_model(const Model& model, const float* images, int64_t count, const QuantizeOptions& options,
                             QuantizeReport* report) {
  if (model.graph.inputs.size() != 1) {
    return unsupported("quantisation: expected a network with one input, found " +
                       std::to_string(model.graph.inputs.size()));
  }
  if (!images || count < 1) return invalid_argument("calibration: expected one image or more, found none");
  Graph graph = model.graph;
  SPARSENET_RETURN_IF_ERROR(graph.set_batch(1));
  if (has_integers(graph)) return unsupported("quantisation: the network computes with integers already");
  SPARSENET_RETURN_IF_ERROR(make_float_form(&graph));
  // Factors need not be exact: a few images are enough.
  SPARSENET_ASSIGN_OR_RETURN(const auto largest,
                             measure_channels(graph, images, std::min<int64_t>(count, 64), options));
  SPARSENET_RETURN_IF_ERROR(equalize_channels(&graph, largest));
  SPARSENET_ASSIGN_OR_RETURN(const std::vector<Range> ranges, measure_ranges(graph, images, count, options));
  Model result;
  SPARSENET_ASSIGN_OR_RETURN(result.graph, make_integer_form(graph, ranges, options.keep_float, report));
  result.metadata = model.metadata;
  result.metadata.architecture.clear();
  return result;
}

}  // namespace

Result<Model> quantize(const Model& model, const float* images, int64_t count, const QuantizeOptions& options,
                       QuantizeReport* report) {
  QuantizeReport unused;
  return guarded("quantising a network", [&]() -> Result<Model> {
    return quantize_model(model, images, count, options, report ? report : &unused);
  });
}

}  // namespace sparsenet
