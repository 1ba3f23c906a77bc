// Model: a graph together with everything else that its file holds; reading and writing .snet files. Preparing a model
// for devices is in deploy.h.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet {

struct Plan;  // internal

// A short training run with known losses, by which a device checks itself (sn_train_verify). Each step trains on the
// model's first test vectors, one per entry of `labels`, with these labels, and makes one SGD update with the mean of
// their gradients.
struct TrainingCheck {
  std::vector<int32_t> labels;
  float learning_rate = 0, momentum = 0, weight_decay = 0;
  bool nesterov = false;
  std::vector<float> losses;  // one per step: the mean of the images' losses
  float tolerance = 0;        // relative
};

// A digest of what a step of a plan writes for the model's first test vector: the sum of the values, each with a sign
// that depends on its position, and the root of the sum of their squares. sn_verify_steps compares them.
struct StepCheck {
  float sum = 0, norm = 0;
};

// A plan made ahead of time for a target and a batch size, with everything that it needs besides the graph. Cheap to
// copy: the data is shared.
struct StoredPlan {
  std::string target;
  int64_t batch = 1;
  std::vector<Tensor> constants;  // read by its steps; in a file, those equal to constants of the graph are stored once
  std::shared_ptr<const Plan> plan;
  uint64_t graph_identity = 0;         // of the graph it was made of
  bool trains = false;                 // a plan for sn_train_add and sn_train_update; inference sessions do not use it
  TrainingCheck check;                 // only if it trains; without losses there is no check
  std::vector<StepCheck> step_checks;  // only if it is for inference: one per step, or empty
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
// verifier), checksum, and meaning (ids, attributes, shapes, sizes that do not overflow, limits, and every step of
// stored plans; plans for targets or of versions that this runtime does not know are skipped). Weights stay in the
// mapping, which the returned model's tensors keep alive. Errors: kNotFound, kIo, kInvalidModel, kUnsupported (the file
// needs a newer runtime); every message begins with the path.
Result<Model> load_model(const std::string& path);

struct LoadOptions {
  // The file is read into memory instead of mapped: for files that others may shorten or overwrite in place while the
  // model is in use. (With a mapping, that would yield wrong weights or end the process with SIGBUS. Replacing a file
  // by renaming another over it, as save_model does, is safe either way.) Costs as much memory as the file is large,
  // not shared between processes.
  bool copy = false;
};
Result<Model> load_model(const std::string& path, const LoadOptions& options);

// The same from memory. `data` is copied unless it is 64-byte aligned; it must stay valid as long as `owner` lives
// (with a null owner: as long as the model and all sessions made from it live). `what` stands for the path in messages.
Result<Model> load_model(const void* data, size_t size, std::shared_ptr<const void> owner, const std::string& what);

// The file as bytes. The same model gives the same bytes. Fails (kInvalidModel) for a graph that infer_shapes() rejects
// or that contains ops that only passes create.
Result<std::vector<uint8_t>> serialize_model(const Model& model);

// Serializes the model and writes it to a temporary file beside `path`, then calls fsync and renames it: there is never
// an incomplete file at `path`.
Status save_model(const Model& model, const std::string& path);

// Writes bytes in the same safe way, for files other than models. The temporary file is called
// NAME.tmp-0123456789abcdef and is removed on every failure; one left behind by a killed process is removed by the next
// writer of the same file, whatever container that runs in (a temporary file is locked as long as its writer lives).
// Exceeding a limit on file size (SIGXFSZ) is an error, not a signal. Safe from several threads and processes: the last
// one to finish wins. Errors: kNotFound, kIo and kOutOfMemory; messages of the first two begin with the path, and the
// file is as it was before.
Status write_file_atomically(const std::string& path, const void* data, size_t size);

}  // namespace sparsenet
