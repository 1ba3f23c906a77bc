// Model: a graph with everything its file says of itself; reading and writing .snet files. What is made of a model for
// devices is in deploy.h.
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
  uint64_t graph_identity = 0;  // of the graph it was made of
  bool trains = false;          // a plan for sn_train_add and sn_train_update; sessions of inference pass it over
  TrainingCheck check;          // of one that trains; without losses: none
  std::vector<StepCheck> step_checks;  // of inference; one a step, or none
};

struct Model {
  Graph graph;
  Metadata metadata;
  std::vector<TestVector> test_vectors;
  // A plan belongs to one graph: once `graph` differs in nodes, attributes, connections, input sizes or the contents of
  // constants, it is neither used nor saved. Whoever changes test vectors calls add_step_checks and make_training_plan
  // again.
  std::vector<StoredPlan> plans;
};

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

// serialize_model, then write to a temporary beside `path`, fsync, rename: the file is whole or not there.
Status save_model(const Model& model, const std::string& path);

// Writes bytes the same safe way; for everything that is written beside models. The temporary is called
// NAME.tmp-0123456789abcdef and removed on every failure; one that a killed process has left is removed by the next
// writer of the same file, in whatever container that runs (it is locked as long as its writer lives). A limit on the
// size of files (SIGXFSZ) is an error, not a signal. Safe from several threads and processes: the last one to finish
// wins. Errors: kNotFound, kIo and kOutOfMemory; the first two begin with the path, and the file is as it was before.
Status write_file_atomically(const std::string& path, const void* data, size_t size);

}  // namespace sparsenet
