// Deployment: preparing a model ahead of time, so that devices need neither graph nor planner.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

// The targets for which plans can be made: "portable-f32" (float32, our own kernels, any CPU).
const std::vector<std::string>& plan_targets();

// Runs the passes and the planner ahead of time for a batch size (1 or more). Errors: kInvalidArgument (a target that
// is not among plan_targets()), and those of Session::create.
Result<StoredPlan> make_stored_plan(const Graph& graph, const std::string& target, int64_t batch = 1);

// Rounds the float32 inputs of a test vector that a Quantize of the graph takes to the numbers that its integers stand
// for. Files then hold the integers, a quarter of the bytes, and the vector tests the same. The outputs are left as
// they are: to be called before they are computed. kInvalidArgument: the vector has another number of inputs than the
// graph.
Status round_inputs(const Graph& graph, TestVector* vector);

// Fills in stored->step_checks by running the first test vector on the reference kernels; leaves them empty if there is
// no test vector, for batches other than 1, and for plans that train. kInvalidArgument: the vector's inputs do not fit
// the plan.
Status add_step_checks(const std::vector<TestVector>& vectors, StoredPlan* stored);

// Makes a plan for training the last layer on a device by SGD, one image at a time, with everything in front of that
// layer as in inference ("all-but-head"). If the model has test vectors, a check is made from them: a training of five
// steps that teaches each image the class after its own. What is in front of the layer may compute with integers; the
// layer itself and what is behind it may not. Errors: kInvalidArgument (target), kUnsupported (no such layer, one of
// integers, or steps that plans cannot hold: names the node), and those of Trainer::create.
Result<StoredPlan> make_training_plan(const Model& model, const std::string& target);

// What is put on a device, for a model that has a plan for batch 1.
struct DeviceParts {
  // Plans, metadata and test vectors without the graph and its constants: for sn_prepare (sparsenet/sparsenet.h).
  // Functions that need a graph reject it.
  std::vector<uint8_t> file;
  // C++ source of the table of the kernels that the plan uses, to be linked instead of the library's.
  std::string kernel_table;
  std::vector<std::string> kernels;  // their names
  size_t arena_bytes = 0;
  size_t memory_bytes = 0;  // enough for sn_prepare with these kernels and one thread, on 32-bit and 64-bit CPUs
  // The same for the training plan; 0 if the model has none.
  size_t training_arena_bytes = 0, training_memory_bytes = 0;
};
// Errors: kNotFound (no plan for `target` and batch 1), and those of serialize_model.
Result<DeviceParts> make_device_parts(const Model& model, const std::string& target = "portable-f32");

}  // namespace sparsenet
