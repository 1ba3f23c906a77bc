// StructureBudget: limits what is copied out of a file's structure, so that a small file cannot expand to a huge model.
#pragma once

#include <flatbuffers/flatbuffers.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace sparsenet {

class StructureBudget {
 public:
  explicit StructureBudget(uint64_t bytes) : left_(bytes) {}

  Status charge(uint64_t bytes) {
    if (bytes > left_) return invalid_model("the structure refers to the same parts again and again");
    left_ -= bytes;
    return {};
  }

  template <class T, class U>
  Status read_list(const flatbuffers::Vector<T>* list, const std::string& what, size_t limit, std::vector<U>* out) {
    static_assert(std::is_same_v<T, U>);
    out->clear();
    if (!list) return {};
    if (list->size() > limit) {
      return invalid_model(what + ": expected at most " + std::to_string(limit) + " numbers, found " +
                           std::to_string(list->size()));
    }
    SPARSENET_RETURN_IF_ERROR(charge(list->size() * sizeof(T)));
    // The verifier accepts 8-byte numbers at multiples of 4, so their bytes are copied; they need no conversion,
    // because the host is little-endian.
    out->resize(list->size());
    if (!out->empty()) std::memcpy(out->data(), list->Data(), list->size() * sizeof(T));
    return {};
  }

 private:
  uint64_t left_;
};

}  // namespace sparsenet
