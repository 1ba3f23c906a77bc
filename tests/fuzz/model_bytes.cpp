#include "fuzz/model_bytes.h"

#include <algorithm>
#include <cstring>

#include "fuzz/mutate_flatbuffer.h"
#include "graph/checksum.h"
#include "graph/model_format.h"

namespace sparsenet::fuzz {
namespace {

// A file in its parts.
struct Parts {
  Bytes structure, data;
};

bool split(const Bytes& file, Parts* parts) {
  if (file.size() < kMinStructureBytes + kFooterBytes) return false;
  const size_t payload = file.size() - kFooterBytes;
  uint64_t structure = 0;
  std::memcpy(&structure, file.data() + payload + 8, 8);
  if (structure > payload || align_up(structure) > payload) return false;
  parts->structure.assign(file.data(), file.data() + structure);
  parts->data.assign(file.data() + align_up(structure), file.data() + payload);
  return true;
}

Bytes join(const Parts& parts) {
  Bytes file = parts.structure;
  file.resize(static_cast<size_t>(align_up(file.size())));
  file.insert(file.end(), parts.data.begin(), parts.data.end());
  file.resize(file.size() + kFooterBytes);
  const uint64_t structure = parts.structure.size();
  std::memcpy(file.data() + file.size() - kFooterBytes + 8, &structure, 8);
  return file;
}

}  // namespace

Aligned aligned(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kDataAlignment, bytes) != 0) std::abort();
  return Aligned(static_cast<uint8_t*>(memory));
}

Aligned aligned_copy(const uint8_t* data, size_t size) {
  Aligned copy = aligned(size);
  if (size > 0) std::memcpy(copy.get(), data, size);
  return copy;
}

void repair_model(Bytes& bytes) {
  if (bytes.size() < kMinStructureBytes + kFooterBytes) return;
  std::memcpy(bytes.data() + 4, "SNET", 4);
  uint8_t* footer = bytes.data() + bytes.size() - kFooterBytes;
  const uint64_t payload = bytes.size() - kFooterBytes;
  std::memcpy(footer, kFooterMagic, 8);
  std::memcpy(footer + 16, &payload, 8);
  const uint64_t sum = xxh64(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
}

void mutate_model(Random& random, Bytes& bytes, size_t most) {
  static const FlatBufferMutator mutator(SPARSENET_FUZZ_SCHEMAS "/model.bfbs");
  Parts parts;
  if (!random.one_in(4) && split(bytes, &parts)) {
    const size_t rest = bytes.size() - parts.structure.size();
    if (random.one_in(16)) {
      mutate_bytes(parts.data, std::max(parts.data.size(), size_t{64}));
    } else if (!mutator.mutate(random, parts.structure, most > rest ? most - rest : 0)) {
      mutate_bytes(parts.structure, std::max(parts.structure.size(), kMinStructureBytes));
    }
    bytes = join(parts);
  } else {
    mutate_bytes(bytes, most);
  }
  repair_model(bytes);
}

}  // namespace sparsenet::fuzz
