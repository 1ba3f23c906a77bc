// Deployment: what is made of a model ahead of time, so that devices need neither graph nor planner.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

// What plans can be made for: "portable-f32" (float32, our own kernels, any CPU).
const std::vector<std::string>& plan_targets();

// Runs passes and planner for a batch size (1 or more), once and for all. Errors: kInvalidArgument (a target that is
// not among plan_targets()), and those of Session::create.
Result<StoredPlan> make_stored_plan(const Graph& graph, const std::string& target, int64_t batch = 1);

// Fills in stored->step_checks from the first test vector, by the reference kernels; leaves them empty where there is
// no vector, for batches other than 1, and for plans that train. kInvalidArgument: the vector has other inputs.
Status add_step_checks(const std::vector<TestVector>& vectors, StoredPlan* stored);

// The same for training the last layer on a device, an image at a time, with everything in front of it as in inference
// ("all-but-head"); SGD. Where the model has test vectors, a check is made of them: the plan's own training, five steps
// long, teaches each image the class after its own. Errors: kInvalidArgument (target), kUnsupported (no such layer, or
// steps that plans cannot hold: names the node), and those of Trainer::create.
Result<StoredPlan> make_training_plan(const Model& model, const std::string& target);

// What a device is given, for a model that has a plan for batch 1.
struct DeviceParts {
  // Plans, metadata and test vectors without the graph and its constants: for sn_prepare (sparsenet/sparsenet.h); what
  // needs a graph refuses it.
  std::vector<uint8_t> file;
  // C++ source of the table of kernels that the plan uses, to be linked in place of the library's.
  std::string kernel_table;
  std::vector<std::string> kernels;  // their names
  size_t arena_bytes = 0;
  size_t memory_bytes = 0;  // with these kernels and one thread sn_prepare needs no more, on 32 and 64 bits
  // The same of the training plan; 0: the model has none.
  size_t training_arena_bytes = 0, training_memory_bytes = 0;
};
// Errors: kNotFound (no plan for `target` and batch 1), and those of serialize_model.
Result<DeviceParts> make_device_parts(const Model& model, const std::string& target = "portable-f32");

}  // namespace sparsenet
