#include "format/stored/model_file.h"

#include <model_generated.h>
#include <string.h>

#include "base/checksum.h"
#include "format/stored/stored_plan.h"

namespace sparsenet::rt {
namespace {

uint64_t read64(const uint8_t* at) {
  uint64_t value = 0;
  memcpy(&value, at, sizeof value);
  return value;
}

// A model as devices read it: without the graph, whose part of the generated verifier is larger than all the rest.
struct ModelWithoutGraph : private flatbuffers::Table {
  bool Verify(flatbuffers::Verifier& verifier) const {
    using Model = schema::Model;
    const auto& model = *reinterpret_cast<const Model*>(this);
    return VerifyTableStart(verifier) && has<uint32_t>(verifier, Model::VT_FORMAT_VERSION) &&
           has<uint32_t>(verifier, Model::VT_MIN_RUNTIME) && has<uint64_t>(verifier, Model::VT_DATA_BYTES) &&
           VerifyOffset(verifier, Model::VT_PRODUCER) && verifier.VerifyString(model.producer()) &&
           VerifyOffset(verifier, Model::VT_METADATA) && verifier.VerifyTable(model.metadata()) &&
           VerifyOffset(verifier, Model::VT_TEST_VECTORS) && verifier.VerifyVector(model.test_vectors()) &&
           verifier.VerifyVectorOfTables(model.test_vectors()) && VerifyOffset(verifier, Model::VT_PLANS) &&
           verifier.VerifyVector(model.plans()) && verifier.VerifyVectorOfTables(model.plans()) && verifier.EndTable();
  }

 private:
  template <class T>
  bool has(const flatbuffers::Verifier& verifier, flatbuffers::voffset_t field) const {
    return VerifyField<T>(verifier, field, sizeof(T));
  }
};

}  // namespace

FileState open_model_file(const uint8_t* bytes, size_t size, ModelFile* file, const char** message) {
  const auto state = [message](FileState result, const char* text) {
    *message = text;
    return result;
  };
  if (!FLATBUFFERS_LITTLEENDIAN) return state(FileState::kWrongHost, "models are read on little-endian machines only");
  if (size < kMinStructureBytes + kFooterBytes) return state(FileState::kDamaged, "too short for a .snet file");
  if (memcmp(bytes + 4, "SNET", 4) != 0) return state(FileState::kDamaged, "not a .snet file");
  const uint8_t* footer = bytes + size - kFooterBytes;
  if (memcmp(footer, kFooterMagic, 7) != 0) return state(FileState::kDamaged, "cut short or damaged: no footer");
  if (footer[7] != static_cast<uint8_t>(kFooterMagic[7])) return state(FileState::kNewer, "another footer version");
  const uint64_t structure = read64(footer + 8), payload = read64(footer + 16);
  if (payload != size - kFooterBytes) return state(FileState::kDamaged, "cut short or damaged: another size");
  if (xxh64(bytes, size - kFooterBytes + kChecksumOffset) != read64(footer + kChecksumOffset)) {
    return state(FileState::kDamaged, "damaged: the checksum does not fit");
  }
  if (structure < kMinStructureBytes || structure > kMaxStructureBytes || align_up(structure) > payload) {
    return state(FileState::kDamaged, "damaged: the structure's size");
  }
  flatbuffers::Verifier verifier(bytes, static_cast<size_t>(structure), kMaxDepth, kMaxTables);
  if (!verifier.VerifyBuffer<ModelWithoutGraph>(schema::ModelIdentifier()))
    return state(FileState::kDamaged, "damaged: the structure is not sound");
  const schema::Model* model = schema::GetModel(bytes);
  if (model->min_runtime() > kFormatVersion) return state(FileState::kNewer, "it needs a newer runtime");
  *file = {model, bytes + align_up(structure), payload - align_up(structure)};
  if (model->data_bytes() != file->data_bytes) return state(FileState::kDamaged, "damaged: the data section's size");
  return FileState::kGood;
}

}  // namespace sparsenet::rt
