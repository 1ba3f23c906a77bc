// Layout and limits of a .snet file, shared by reader and writer. docs/file-format.md tells it in words.
//
//   byte 0                  the structure: a FlatBuffer of schemas/model.fbs, identifier "SNET" at byte 4
//   structure_bytes         zeros up to the next multiple of 64
//   data                    constants, each at a multiple of 64; Model.data_bytes long
//   payload_bytes           the footer, 32 bytes: magic, structure_bytes, payload_bytes, checksum of all bytes before
//   it
//
// The constants stand beside the FlatBuffer, not in it: so they may exceed its 2 GiB, need no alignment beyond what
// older FlatBuffers promise (32), and are never copied through a builder.
#pragma once

#include <sparsenet/model.h>

#include <cstddef>
#include <cstdint>

namespace sparsenet {

constexpr uint32_t kFormatVersion =
    1;  // newest that this runtime writes and reads; raised by schemas/README.md's rules

constexpr size_t kDataAlignment = 64;
constexpr size_t kFooterBytes = 32;
constexpr char kFooterMagic[8] = {'S', 'N', 'E', 'T', 'S', 'U', 'M', '1'};  // the last: the footer's own version
constexpr size_t kChecksumOffset = 24;     // within the footer; what stands before it is summed too
constexpr size_t kMinStructureBytes = 12;  // root offset, identifier, one table

// Far beyond any classifier, near enough to keep a hostile file from claiming the machine.
constexpr size_t kMaxStructureBytes = size_t{64} << 20;
constexpr size_t kMaxValues = size_t{1} << 20;
constexpr size_t kMaxNodes = size_t{1} << 20;
constexpr size_t kMaxRank = 8;
constexpr int64_t kMaxElements = int64_t{1} << 40;  // of one tensor
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxTextBytes = size_t{1} << 20;
constexpr size_t kMaxLabels = size_t{1} << 20;
constexpr size_t kMaxTestVectors = 4096;
constexpr size_t kMaxPlans = 64;
// Names, shapes and lists, read out, are at most this many times the structure: schemas/README.md, rule 5.
constexpr size_t kMaxUnfolding = 4;

constexpr uint64_t align_up(uint64_t bytes) {
  return (bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
}

// Checks and reads a whole file in memory; messages do not name it. `data` need only have a FlatBuffer's alignment (8):
// the tensors of the result point into it, at multiples of 64 when `data` is one.
Result<Model> parse_model(const uint8_t* data, size_t size, const std::shared_ptr<const void>& owner);

// What a file says beside its graph, against the graph (whose shapes are inferred).
Status check_metadata(const Graph& graph, const Metadata& metadata);
Status check_test_vectors(const Graph& graph, const std::vector<TestVector>& vectors);

// UTF-8 of at most `limit` bytes without control characters (line breaks and tabs only with `lines`): what is safe to
// print and to put into JSON.
Status check_text(const std::string& what, const std::string& text, size_t limit, bool lines = false);

}  // namespace sparsenet
