// Limits and checks of .snet files that the reader and the writer share. docs/file-format.md describes the format in
// words; its layout is in format/stored/model_file.h.
#pragma once

#include <sparsenet/model.h>

#include <cstddef>
#include <cstdint>

#include "format/stored/model_file.h"

namespace sparsenet {

using rt::kChecksumOffset;
using rt::kDataAlignment;
using rt::kFooterBytes;
using rt::kFooterMagic;
using rt::kFormatVersion;
using rt::kMaxStructureBytes;
using rt::kMinStructureBytes;

// Limits: far beyond any classifier, but low enough that a hostile file cannot exhaust the machine.
constexpr size_t kMaxValues = size_t{1} << 20;
constexpr size_t kMaxNodes = size_t{1} << 20;
constexpr size_t kMaxRank = 8;
constexpr int64_t kMaxElements = int64_t{1} << 40;  // of one tensor
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxTextBytes = size_t{1} << 20;
constexpr size_t kMaxLabels = size_t{1} << 20;
constexpr size_t kMaxTestVectors = 4096;
constexpr size_t kMaxPlans = 64;
// Names, shapes and lists may take at most this many times the bytes of the structure they are read from: see
// schemas/README.md, rule 5.
constexpr size_t kMaxUnfolding = 4;

constexpr uint64_t align_up(uint64_t bytes) {
  return rt::align_up(bytes);
}

// Checks and reads a whole file in memory; messages do not name it. `data` needs only a FlatBuffer's alignment (8). The
// tensors of the result point into it; they lie at multiples of 64 if `data` does.
Result<Model> parse_model(const uint8_t* data, size_t size, const std::shared_ptr<const void>& owner);

// The bytes of a file, with the graph or, for devices, without it.
Result<std::vector<uint8_t>> serialize(const Model& model, bool with_graph);

// Check what a file holds besides its graph against the graph, whose shapes must be inferred.
Status check_metadata(const Graph& graph, const Metadata& metadata);
Status check_test_vectors(const Graph& graph, const std::vector<TestVector>& vectors);

// UTF-8 of at most `limit` bytes without control characters (line breaks and tabs only with `lines`): what is safe to
// print and to put into JSON.
Status check_text(const std::string& what, const std::string& text, size_t limit, bool lines = false);

}  // namespace sparsenet
