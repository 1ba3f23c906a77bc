// Model: a graph with everything its file says of itself; reading and writing .snet files.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

struct Model {
  Graph graph;
  Metadata metadata;
  std::vector<TestVector> test_vectors;
};

// Maps the file and verifies all of it before anything is used: size, identifier, version, structure (FlatBuffers
// verifier), checksum, meaning (ids, attributes, shapes, sizes that do not overflow, limits). Weights stay in the
// mapping, which the returned model's tensors keep alive. Errors: kNotFound, kIo, kInvalidModel, kUnsupported (a file
// that asks for a newer runtime); every message begins with the path.
Result<Model> load_model(const std::string& path);

// The same from memory. `data` is 64-byte aligned or copied; it must stay valid as long as `owner` lives (a null owner:
// as long as the model and all sessions made of it live). `what` stands for the path in messages.
Result<Model> load_model(const void* data, size_t size, std::shared_ptr<const void> owner, const std::string& what);

// The file as bytes. The same model gives the same bytes. Fails (kInvalidModel) on a graph that infer_shapes() refuses
// or that holds ops which only passes make.
Result<std::vector<uint8_t>> serialize_model(const Model& model);

// serialize_model, then write to a temporary beside `path`, fsync, rename: the file is whole or not there.
Status save_model(const Model& model, const std::string& path);

// Writes bytes the same safe way; for everything that is written beside models.
Status write_file_atomically(const std::string& path, const void* data, size_t size);

}  // namespace sparsenet
