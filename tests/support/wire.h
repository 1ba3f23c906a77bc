// Protobuf and zip files written byte by byte, for tests: they can contain what no honest writer would write.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

namespace sparsenet::test::wire {

inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
inline std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
inline std::string bytes(int field, const std::string& value) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(value.size()) + value;
}
inline std::string little(uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// The parts of onnx.proto that tests write. The numbers are those of its fields.
inline std::string tensor(const std::string& name, const std::string& dims, int type, const std::string& raw) {
  return dims + number(2, static_cast<uint64_t>(type)) + bytes(8, name) + (raw.empty() ? "" : bytes(9, raw));
}
inline std::string dim(uint64_t size) {
  return number(1, size);
}
inline std::string external(const std::string& name, const std::string& dims, const std::string& location) {
  return tensor(name, dims, 1, "") + bytes(13, bytes(1, "location") + bytes(2, location)) + number(14, 1);
}
inline std::string node(const std::string& op, const std::string& inputs, const std::string& outputs,
                        const std::string& attributes = "") {
  const auto names = [](int field, const std::string& list) {
    std::string out;
    for (size_t at = 0; at < list.size();) {
      const size_t end = std::min(list.find(' ', at), list.size());
      out += bytes(field, list.substr(at, end - at));
      at = end + 1;
    }
    return out;
  };
  return bytes(1, names(1, inputs) + names(2, outputs) + bytes(4, op) + attributes);
}
// A graph "x" [1, 4] -> "y" around nodes (each made with node()) and initializers (each bytes(5, tensor())).
inline std::string onnx(const std::string& graph) {
  const std::string shape = bytes(1, number(1, 1)) + bytes(1, number(1, 4));
  const std::string x = bytes(1, "x") + bytes(2, bytes(1, number(1, 1) + bytes(2, shape)));
  return number(1, 8) + bytes(7, graph + bytes(11, x) + bytes(12, bytes(1, "y"))) + bytes(8, number(2, 13));
}

// A zip archive with one entry that claims to be `size` bytes long and contains `stored`.
inline std::string zip(const std::string& name, const std::string& stored, uint64_t size, int method) {
  const std::string common = little(20, 2) + little(0, 2) + little(static_cast<uint64_t>(method), 2) + little(0, 4) +
                             little(0, 4) + little(stored.size(), 4) + little(size, 4) + little(name.size(), 2);
  const std::string local = "PK\x03\x04" + common + little(0, 2) + name + stored;
  const std::string central = "PK\x01\x02" + little(20, 2) + common + little(0, 2) + little(0, 2) + little(0, 2) +
                              little(0, 2) + little(0, 4) + little(0, 4) + name;
  return local + central + "PK\x05\x06" + little(0, 4) + little(1, 2) + little(1, 2) + little(central.size(), 4) +
         little(local.size(), 4) + little(0, 2);
}

}  // namespace sparsenet::test::wire
