// ONNX files of a few nodes, byte by byte: what a test of the importer says of them stands in the test itself. Field
// numbers are those of onnx.proto.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::test::onnx {

inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7f));
  return out + static_cast<char>(value);
}

inline std::string number(int field, uint64_t value) {
  return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}

inline std::string bytes(int field, const std::string& content) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(content.size()) + content;
}

enum Type { kFloat = 1, kUint8 = 2, kInt64 = 7, kString = 8 };

using Names = std::vector<std::string>;

// As one field of a GraphProto.
inline std::string node(const std::string& op, const std::string& name, const Names& inputs, const Names& outputs,
                        const std::string& domain = "") {
  std::string text;
  for (const std::string& input : inputs) text += bytes(1, input);
  for (const std::string& output : outputs) text += bytes(2, output);
  return bytes(1, text + bytes(3, name) + bytes(4, op) + (domain.empty() ? "" : bytes(7, domain)));
}

// An initializer of zeros; `element_bytes` 0: it has no data.
inline std::string initializer(const std::string& name, const std::vector<uint64_t>& dims, int type = kFloat,
                               size_t element_bytes = 4) {
  std::string text;
  size_t count = element_bytes;
  for (const uint64_t dim : dims) {
    text += number(1, dim);
    count *= dim;
  }
  return bytes(5, text + number(2, static_cast<uint64_t>(type)) + bytes(8, name) + bytes(9, std::string(count, '\0')));
}

// An initializer whose data lie in another file.
inline std::string outside(const std::string& name, const std::vector<uint64_t>& dims, const std::string& file) {
  std::string text;
  for (const uint64_t dim : dims) text += number(1, dim);
  return bytes(
      5, text + number(2, kFloat) + bytes(8, name) + bytes(13, bytes(1, "location") + bytes(2, file)) + number(14, 1));
}

inline std::string value_info(int field, const std::string& name, const std::vector<uint64_t>& dims,
                              int type = kFloat) {
  std::string shape;
  for (const uint64_t dim : dims) shape += bytes(1, number(1, dim));
  return bytes(field, bytes(1, name) + bytes(2, bytes(1, number(1, static_cast<uint64_t>(type)) + bytes(2, shape))));
}
inline std::string input(const std::string& name, const std::vector<uint64_t>& dims, int type = kFloat) {
  return value_info(11, name, dims, type);
}
inline std::string output(const std::string& name, const std::vector<uint64_t>& dims, int type = kFloat) {
  return value_info(12, name, dims, type);
}

// The file with these fields of its graph.
inline std::vector<uint8_t> file(const std::string& graph, uint64_t opset = 13) {
  const std::string text = number(1, 8) + bytes(7, graph) + bytes(8, number(2, opset));
  return {text.begin(), text.end()};
}

}  // namespace sparsenet::test::onnx
