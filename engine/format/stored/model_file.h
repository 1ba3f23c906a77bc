// Where things lie in a .snet file (docs/file-format.md describes it in words), and the check of a whole file.
//
//   byte 0                  the structure: a FlatBuffer of schemas/model.fbs, identifier "SNET" at byte 4
//   structure_bytes         zeros up to the next multiple of 64
//   data                    constants, each at a multiple of 64; Model.data_bytes long
//   payload_bytes           the footer, 32 bytes: magic, structure_bytes, payload_bytes, and the checksum of all bytes
//                           in front of it
//
// The constants lie beside the FlatBuffer, not in it. Therefore they may exceed its limit of 2 GiB, need no alignment
// beyond what older FlatBuffers promise (32), and are never copied through a builder.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::schema {
struct Model;
}

namespace sparsenet::rt {

// The newest version of the format that this runtime writes and reads; schemas/README.md has the rules for raising it.
//   2: Elu, Softplus, Silu, Mish, Gelu, GeluTanh, Erf; float16; quantisation
//   3: Exp, Log, Pow, Max, Min, Prelu, MatMul, LayerNorm
//   4: nodes that compute with integers: Quantize, Dequantize, Scale, how a node rounds
//   5: test vectors that hold a float32 input as integers
constexpr uint32_t kFormatVersion = 5;

constexpr size_t kDataAlignment = 64;
constexpr size_t kFooterBytes = 32;
constexpr char kFooterMagic[8] = {'S', 'N', 'E', 'T', 'S', 'U', 'M', '1'};  // the last: the footer's own version
constexpr size_t kChecksumOffset = 24;     // within the footer; the checksum covers the footer up to here, too
constexpr size_t kMinStructureBytes = 12;  // root offset, identifier, one table
constexpr size_t kMaxStructureBytes = size_t{64} << 20;
constexpr uint32_t kMaxDepth = 16, kMaxTables = 4 << 20;  // limits for the FlatBuffer

constexpr uint64_t align_up(uint64_t bytes) {
  return (bytes + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
}

struct ModelFile {
  const schema::Model* model;
  const uint8_t* data;  // the data section
  uint64_t data_bytes;
};

enum class FileState { kGood, kDamaged, kNewer, kWrongHost };

// Checks a file in memory from end to end, without a heap: layout, checksum, structure, versions. What its contents
// mean is checked by the code that uses them. `*message` has static storage and is set if the result is not kGood.
// `bytes` must be aligned to kDataAlignment.
FileState open_model_file(const uint8_t* bytes, size_t size, ModelFile* file, const char** message);

}  // namespace sparsenet::rt
