// Model: a graph with everything its file says of itself; reading and writing .snet files.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet {

struct Plan;  // internal

// A short training of a plan with known losses, by which a device checks itself (sn_train_verify). Each step shows the
// model's first test vectors as images of these classes and updates with the mean of their gradients (SGD).
struct TrainingCheck {
  std::vector<int32_t> labels;
  float learning_rate = 0, momentum = 0, weight_decay = 0;
  bool nesterov = false;
  std::vector<float> losses;  // a step each: the mean of the images'
  float tolerance = 0;        // relative
};

// What a step of a plan writes for the model's first test vector: the sum of its values with signs that their places
// decide, and the root of the sum of their squares. sn_verify_steps compares them.
struct StepCheck {
  float sum = 0, norm = 0;
};

// A plan made ahead for a target and a batch size, with all that it needs beside the graph. Cheap to copy: shared.
struct StoredPlan {
  std::string target;
  int64_t batch = 1;
  std::vector<Tensor> constants;  // what its steps read; in a file, those that equal the graph's are stored once
  std::shared_ptr<const Plan> plan;
  uint64_t graph_identity = 0;  // of the graph it was made of, in this process
  bool trains = false;          // a plan for sn_train_add and sn_train_update; sessions of inference pass it over
  TrainingCheck check;          // of one that trains; without losses: none
  std::vector<StepCheck> step_checks;  // of inference; one a step, or none
};

struct Model {
  Graph graph;
  Metadata metadata;
  std::vector<TestVector> test_vectors;
  // A plan is of one graph: once `graph` has other constants, nodes or input sizes it is neither used nor saved.
  // Whoever changes attributes of nodes in place clears this list; whoever changes test vectors calls add_step_checks
  // and make_training_plan again.
  std::vector<StoredPlan> plans;
};

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

// Maps the file and verifies all of it before anything is used: size, identifier, version, structure (FlatBuffers
// verifier), checksum, meaning (ids, attributes, shapes, sizes that do not overflow, limits; every step of stored
// plans, but plans for targets or of versions that this runtime does not know are skipped). Weights stay in the
// mapping, which the returned model's tensors keep alive. Errors: kNotFound, kIo, kInvalidModel, kUnsupported (a file
// that asks for a newer runtime); every message begins with the path.
Result<Model> load_model(const std::string& path);

struct LoadOptions {
  // The file is read into memory instead of mapped: for files that others may shorten or write over in place while the
  // model is in use. (A mapping then reads wrong weights or ends the process with SIGBUS. Replacing a file by renaming
  // another over it, as save_model does, is safe either way.) Costs the file's size in memory that processes do not
  // share.
  bool copy = false;
};
Result<Model> load_model(const std::string& path, const LoadOptions& options);

// The same from memory. `data` is 64-byte aligned or copied; it must stay valid as long as `owner` lives (a null owner:
// as long as the model and all sessions made of it live). `what` stands for the path in messages.
Result<Model> load_model(const void* data, size_t size, std::shared_ptr<const void> owner, const std::string& what);

// The file as bytes. The same model gives the same bytes. Fails (kInvalidModel) on a graph that infer_shapes() refuses
// or that holds ops which only passes make.
Result<std::vector<uint8_t>> serialize_model(const Model& model);

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

// serialize_model, then write to a temporary beside `path`, fsync, rename: the file is whole or not there.
Status save_model(const Model& model, const std::string& path);

// Writes bytes the same safe way; for everything that is written beside models. The temporary is called
// NAME.tmp-0123456789abcdef and removed on every failure; one that a killed process has left is removed by the next
// writer of the same file, in whatever container that runs (it is locked as long as its writer lives). A limit on the
// size of files (SIGXFSZ) is an error, not a signal. Safe from several threads and processes: the last one to finish
// wins. Errors: kNotFound, kIo and kOutOfMemory; the first two begin with the path, and the file is as it was before.
Status write_file_atomically(const std::string& path, const void* data, size_t size);

}  // namespace sparsenet
