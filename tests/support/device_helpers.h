// Shared by the suites about the C API.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/checksum.h"
#include "support/check_session.h"
#include "support/skip.h"

namespace sparsenet::test {

// Bytes aligned to SN_ALIGNMENT, with a border that reveals writes beyond them.
class Room {
 public:
  explicit Room(size_t bytes) : storage_(bytes + 3 * kBorder, kMark), bytes_(bytes) {
    at_ = storage_.data() + kBorder;
    at_ += (SN_ALIGNMENT - reinterpret_cast<uintptr_t>(at_) % SN_ALIGNMENT) % SN_ALIGNMENT;
  }
  explicit Room(const std::vector<uint8_t>& content) : Room(content.size()) {
    std::copy(content.begin(), content.end(), at_);
  }
  uint8_t* at() { return at_; }
  size_t bytes() const { return bytes_; }
  bool border_is_whole() {
    const auto is_mark = [](uint8_t byte) { return byte == kMark; };
    return std::all_of(storage_.data(), at_, is_mark) &&
           std::all_of(at_ + bytes_, storage_.data() + storage_.size(), is_mark);
  }

 private:
  static constexpr size_t kBorder = 64;
  static constexpr uint8_t kMark = 0xA5;
  std::vector<uint8_t> storage_;
  size_t bytes_;
  uint8_t* at_ = nullptr;
};

// Adds a test vector with the outputs that the session computes.
inline void add_test_vector(Model& model, float tolerance, uint32_t seed = 3) {
  Session session = *Session::create(model, {});
  const std::vector<Array> inputs = random_inputs(model.graph, seed);
  TestVector vector;
  vector.tolerance = tolerance;
  vector.inputs.push_back(Tensor::from(session.inputs()[0].shape, {inputs[0].data.begin(), inputs[0].data.end()}));
  const auto outputs = run_session(session, inputs);
  REQUIRE(outputs.ok());
  vector.outputs.push_back(Tensor::from(session.outputs()[0].shape, (*outputs)[0]));
  model.test_vectors.push_back(vector);
}

inline sn_needs needs_of(Room& model, const sn_options* options = nullptr) {
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{};
  why.struct_size = sizeof why;
  const sn_status status = sn_measure(model.at(), model.bytes(), options, &needs, &why);
  REQUIRE_MESSAGE(status == SN_OK, why.text);
  return needs;
}

inline sn_session* prepared(Room& model, Room& memory, const sn_options* options = nullptr) {
  sn_session* session = nullptr;
  sn_message why{};
  why.struct_size = sizeof why;
  const sn_status status = sn_prepare(model.at(), model.bytes(), options, memory.at(), memory.bytes(), &session, &why);
  REQUIRE_MESSAGE(status == SN_OK, why.text);
  return session;
}

// Makes the checksum of a damaged file correct, so that the checks behind it are reached.
inline void repair(std::vector<uint8_t>& bytes) {
  const uint64_t sum = xxh64(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
}

// Bytes of a file's structure.
inline uint64_t structure_of(const std::vector<uint8_t>& file) {
  uint64_t structure = 0;
  std::memcpy(&structure, file.data() + file.size() - 24, sizeof structure);
  return structure;
}

struct DamageCounts {
  int refused = 0, run = 0;
};

// Changes every `step`-th byte of the structure, one at a time, and sets the checksum right. Files that are accepted,
// with each of the options (null: none), are given to use(session); nothing may be written beyond their memory.
template <class Use>
void run_damaged(const std::vector<uint8_t>& good, size_t step, const std::vector<const sn_options*>& options, Use use,
                 DamageCounts* counts) {
  for (size_t i = 0, end = structure_of(good); i < end; i += std::max<size_t>(1, step)) {
    std::vector<uint8_t> bytes = good;
    bytes[i] = static_cast<uint8_t>(bytes[i] + 1 + i % 255);
    repair(bytes);
    Room model(bytes);
    for (const sn_options* o : options) {
      sn_needs needs{};
      needs.struct_size = sizeof needs;
      if (sn_measure(model.at(), model.bytes(), o, &needs, nullptr) != SN_OK) {
        ++counts->refused;
        continue;
      }
      REQUIRE(needs.memory_bytes < (size_t{1} << 30));
      Room memory(needs.memory_bytes);
      sn_session* session = nullptr;
      if (sn_prepare(model.at(), model.bytes(), o, memory.at(), memory.bytes(), &session, nullptr) != SN_OK) continue;
      use(session);
      CHECK(memory.border_is_whole());
      ++counts->run;
    }
  }
}

// Both must happen often, or little was tested.
inline void check_counts(const DamageCounts& counts) {
  MESSAGE(counts.refused, " refused, ", counts.run, " run");
  CHECK(counts.refused > scaled_by_effort(100));
  CHECK(counts.run > scaled_by_effort(100));
}

}  // namespace sparsenet::test
