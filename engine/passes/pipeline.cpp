#include "passes/pipeline.h"

#include "graph/integers.h"
#include "passes/half_constants.h"
#include "passes/passes.h"

namespace sparsenet {
namespace {

struct Pass {
  const char* name;
  Status (*run)(Graph* graph);
  bool required;
  bool one_value = true;  // makes no node that computes values which integers would have scales for
  bool integers = false;  // also for graphs with nodes that compute with integers, whose constants are no floats
};

const Pass kPasses[] = {
    {"remove_identity", remove_identity, false, true, true},
    {"convert_reduce_mean", convert_reduce_mean, false},
    {"recognize_attention", recognize_attention, false, false},
    {"merge_pad", merge_pad, false},
    {"move_activations", move_activations, false},
    {"convert_pixel_fc", convert_pixel_fc, false},
    {"convert_batch_norm", convert_batch_norm, true, true, true},
    {"convert_channel_constants", convert_channel_constants, false},
    {"fold_affine_backward", fold_affine_backward, false},
    {"pool_before_conv", pool_before_conv, false},
    {"fuse_residual", fuse_residual, false, false},
    {"fuse_activation", fuse_activation, false},
    {"fold_affine_forward", fold_affine_forward, false},
    {"convert_flattened_fc", convert_flattened_fc, false},
    {"carry_channel_shuffles", carry_channel_shuffles, false, false},
    {"merge_reshapes", merge_reshapes, false},
    {"remove_dead_nodes", remove_dead_nodes, true, true, true},
};

}  // namespace

Status run_passes(Graph* graph, PassLevel level) {
  SPARSENET_RETURN_IF_ERROR(graph->infer_shapes());
  const HalfConstants halves(graph);
  const bool integers = has_integers(*graph);
  for (const Pass& pass : kPasses) {
    if ((level == PassLevel::kRequired && !pass.required) || (integers && !pass.integers)) continue;
    if (level == PassLevel::kForIntegers && !pass.one_value) continue;
    SPARSENET_RETURN_IF_ERROR(pass.run(graph).with_context(pass.name));
    const Status status = graph->infer_shapes();
    if (status.code() == StatusCode::kOutOfMemory) return status;
    if (!status.ok()) return internal_error("pass " + std::string(pass.name) + " broke the graph: " + status.message());
  }
  halves.restore(graph);
  return {};
}

}  // namespace sparsenet
