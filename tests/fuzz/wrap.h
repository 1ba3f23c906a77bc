// Bytes of a fuzzer as a model file. Odd first bytes: the rest is used as it is. Even ones: the rest is made to pass
// the outer checks (identifier, footer, checksum), so that the search reaches what lies behind them.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "graph/checksum.h"
#include "graph/model_format.h"

namespace sparsenet::fuzz {

inline std::vector<uint8_t> model_bytes(const uint8_t* data, size_t size) {
  if (size == 0) return {};
  std::vector<uint8_t> bytes(data + 1, data + size);
  if (data[0] % 2 != 0 || bytes.size() < kMinStructureBytes + kFooterBytes) return bytes;
  std::memcpy(bytes.data() + 4, "SNET", 4);
  uint8_t* footer = bytes.data() + bytes.size() - kFooterBytes;
  const uint64_t payload = bytes.size() - kFooterBytes;
  std::memcpy(footer, kFooterMagic, 8);
  std::memcpy(footer + 16, &payload, 8);
  const uint64_t sum = xxh64(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &sum, 8);
  return bytes;
}

}  // namespace sparsenet::fuzz
