#include "train/parameters.h"

#include <sparsenet/trainer.h>

#include <algorithm>
#include <utility>

#include "base/guarded.h"
#include "base/name_pattern.h"
#include "graph/integers.h"
#include "graph/ops.h"
#include "train/training_form.h"
#include "zoo/initialize.h"

namespace sparsenet {
namespace {

enum class Kind { kNone, kWeight, kBias, kNorm };

// Parameters of integers are trained as the real numbers that they stand for.
bool can_be_trained(const Value& value) {
  return value.is_constant && (value.type == DataType::kFloat32 || value.type == DataType::kFloat16 ||
                               value.type == DataType::kInt8 || value.type == DataType::kInt32);
}

// The index of the last convolution or fully connected layer, or -1.
int head_of(const Graph& graph) {
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Op op = graph.nodes[i].op;
    if (op == Op::kFullyConnected || op == Op::kConv) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

Status choose_parameters(const Graph& graph, const TrainOptions& options, std::vector<ParameterInfo>* infos,
                         std::vector<ValueId>* ids, std::vector<bool>* trained, std::vector<bool>* decayed) {
  std::vector<Kind> kinds(graph.values.size(), Kind::kNone);
  std::vector<bool> in_head(graph.values.size(), false);
  const int head = head_of(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const bool layer = node.op == Op::kConv || node.op == Op::kFullyConnected;
    if (!layer && node.op != Op::kBatchNorm && node.op != Op::kScale) continue;
    for (size_t input = 1; input <= 2 && input < node.inputs.size(); ++input) {
      const ValueId id = node.inputs[input];
      if (id == kNoValue || !can_be_trained(graph.value(id))) continue;
      kinds[static_cast<size_t>(id)] = !layer ? Kind::kNorm : input == 1 ? Kind::kWeight : Kind::kBias;
      if (static_cast<int>(i) == head) in_head[static_cast<size_t>(id)] = true;
    }
  }
  trained->assign(graph.values.size(), false);
  decayed->assign(graph.values.size(), false);
  bool any = false, matched = false;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (kinds[i] == Kind::kNone) continue;
    ParameterInfo info;
    info.name = graph.values[i].name;
    info.shape = graph.values[i].shape;
    if (options.freeze.empty() || options.freeze == "none") {
      info.trained = true;
    } else if (options.freeze == "all-but-head") {
      info.trained = in_head[i];
    } else if (options.freeze == "bn-and-bias") {
      info.trained = kinds[i] != Kind::kWeight;
    } else {
      const bool frozen = matches(options.freeze, info.name);
      matched = matched || frozen;
      info.trained = !frozen;
    }
    info.decayed = info.trained && (options.decay_all || kinds[i] == Kind::kWeight);
    (*trained)[i] = info.trained;
    (*decayed)[i] = info.decayed;
    any = any || info.trained;
    infos->push_back(std::move(info));
    ids->push_back(static_cast<ValueId>(i));
  }
  const bool pattern = !options.freeze.empty() && options.freeze != "none" && options.freeze != "all-but-head" &&
                       options.freeze != "bn-and-bias";
  if (pattern && !matched) {
    return invalid_argument("freeze '" + options.freeze +
                            "': expected none, all-but-head, bn-and-bias or a pattern that matches a parameter; the "
                            "graph's first is '" +
                            (infos->empty() ? std::string() : infos->front().name) + "'");
  }
  if (!any) return invalid_argument("freeze '" + options.freeze + "': leaves no parameter to train");
  return {};
}

Result<bool> simulates_integers(const Graph& graph, const TrainOptions& options) {
  return guarded("choosing what is trained", [&]() -> Result<bool> {
    std::vector<ParameterInfo> infos;
    std::vector<ValueId> ids;
    std::vector<bool> trained, decayed;
    SPARSENET_RETURN_IF_ERROR(choose_parameters(graph, options, &infos, &ids, &trained, &decayed));
    const std::vector<bool> active = active_values(graph, trained);
    return std::any_of(graph.nodes.begin(), graph.nodes.end(), [&](const Node& node) {
      return active[static_cast<size_t>(node.outputs[0])] && has_integers(graph, node);
    });
  });
}

namespace {

Status replace(Graph* whole, int64_t classes, uint64_t seed) {
  if (classes < 2 || classes > (1 << 20)) {
    return invalid_argument("classes: expected 2 to 1048576, found " + std::to_string(classes));
  }
  Graph changed = *whole;
  Graph* graph = &changed;
  const int head = head_of(*graph);
  if (head < 0) return unsupported("the graph has no layer whose outputs could be the classes");
  const Node node = graph->nodes[static_cast<size_t>(head)];
  if (has_integers(*graph, node)) {
    return unsupported(describe(node) +
                       " computes with integers, whose ranges were measured for the classes that it has: give the "
                       "network in float32 other classes and quantise it afterwards, or keep this layer in float32");
  }
  if (node.inputs[1] == kNoValue || !graph->value(node.inputs[1]).is_constant) {
    return unsupported(describe(node) + ": expected a constant weight");
  }
  for (size_t i = static_cast<size_t>(head) + 1; i < graph->nodes.size(); ++i) {
    const Op op = graph->nodes[i].op;
    if (op != Op::kSoftmax && op != Op::kReshape && op != Op::kIdentity && op != Op::kGlobalAveragePool) {
      return unsupported(describe(graph->nodes[i]) + ": stands between the last layer and the output");
    }
  }
  if (node.op == Op::kConv && std::get<ConvAttrs>(node.attrs).groups != 1) {
    return unsupported(describe(node) + ": expected one group");
  }
  Value& weight = graph->value(node.inputs[1]);
  // A Reshape may spell out how many classes there are, as in [0, 1000].
  for (size_t i = static_cast<size_t>(head) + 1; i < graph->nodes.size(); ++i) {
    if (graph->nodes[i].op != Op::kReshape) continue;
    std::vector<int64_t>& dims = std::get<ReshapeAttrs>(graph->nodes[i].attrs).dims;
    const auto spelled_out = dims.empty() ? dims.end() : std::find(dims.begin() + 1, dims.end(), weight.shape[0]);
    if (spelled_out != dims.end()) *spelled_out = classes;
  }
  weight.shape[0] = classes;
  const auto count = static_cast<size_t>(element_count(weight.shape));
  int64_t fan = classes;
  for (size_t d = 2; d < weight.shape.size(); ++d) fan *= weight.shape[d];
  weight.type = DataType::kFloat32;  // whatever it was
  weight.constant = Tensor::from(weight.shape, he_normal(count, fan, seed, weight.name));
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
    Value& bias = graph->value(node.inputs[2]);
    bias.shape = {classes};
    bias.type = DataType::kFloat32;
    bias.constant = Tensor::filled({classes}, 0.f);
  }
  const Status fits = graph->infer_shapes();
  if (fits.code() == StatusCode::kOutOfMemory) return fits;
  if (!fits.ok()) return unsupported("with " + std::to_string(classes) + " classes: " + fits.message());
  *whole = std::move(changed);
  return {};
}

}  // namespace

Status replace_head(Graph* graph, int64_t classes, uint64_t seed) {
  return guarded("replacing the last layer", [&] { return replace(graph, classes, seed); });
}

}  // namespace sparsenet
