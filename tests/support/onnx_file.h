// ONNX files of a few nodes, for tests of the importer: written field by field, so that a test can contain what no
// exporter would write. Field numbers are those of onnx.proto.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace sparsenet::test {

class OnnxFile {
 public:
  enum Type : uint8_t {
    kFloat = 1,
    kUInt8 = 2,
    kInt8 = 3,
    kInt32 = 6,
    kInt64 = 7,
    kString = 8,
    kBool = 9,
    kFloat16 = 10,
    kDouble = 11,
    kBFloat16 = 16
  };

  struct Attribute {
    Attribute(std::string name_, int64_t value) : name(std::move(name_)) { integer(3, value, &body), kind(2); }
    Attribute(std::string name_, int value) : Attribute(std::move(name_), int64_t{value}) {}
    Attribute(std::string name_, float value) : name(std::move(name_)) { number(2, value, &body), kind(1); }
    Attribute(std::string name_, const char* value) : name(std::move(name_)) { bytes(4, value, &body), kind(3); }
    Attribute(std::string name_, const std::vector<int64_t>& values) : name(std::move(name_)) {
      for (int64_t value : values) integer(8, value, &body);
      kind(7);
    }
    // A branch: the file's graph.
    Attribute(std::string name_, const OnnxFile& file) : name(std::move(name_)) {
      bytes(6, file.graph_, &body), kind(5);
    }
    std::string name, body;

   private:
    void kind(int64_t type) { integer(20, type, &body); }
  };

  explicit OnnxFile(int64_t opset) : opset_(opset) {}

  OnnxFile& input(const std::string& name, const std::vector<int64_t>& shape, Type type = kFloat) {
    bytes(11, value_info(name, shape, type), &graph_);
    return *this;
  }
  OnnxFile& output(const std::string& name) {
    std::string info;
    bytes(1, name, &info);
    bytes(12, info, &graph_);
    return *this;
  }
  OnnxFile& constant(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    std::string raw(values.size() * sizeof(float), '\0');
    if (!values.empty()) std::memcpy(raw.data(), values.data(), raw.size());
    return tensor(name, shape, kFloat, raw);
  }
  OnnxFile& integers(const std::string& name, const std::vector<int64_t>& shape, const std::vector<int64_t>& values) {
    std::string raw(values.size() * sizeof(int64_t), '\0');
    if (!values.empty()) std::memcpy(raw.data(), values.data(), raw.size());
    return tensor(name, shape, kInt64, raw);
  }
  OnnxFile& int8s(const std::string& name, const std::vector<int64_t>& shape, const std::vector<int8_t>& values) {
    return tensor(name, shape, kInt8, std::string(values.begin(), values.end()));
  }
  OnnxFile& uint8s(const std::string& name, const std::vector<int64_t>& shape, const std::vector<uint8_t>& values) {
    return tensor(name, shape, kUInt8, std::string(values.begin(), values.end()));
  }
  OnnxFile& int32s(const std::string& name, const std::vector<int64_t>& shape, const std::vector<int32_t>& values) {
    std::string raw(values.size() * sizeof(int32_t), '\0');
    if (!values.empty()) std::memcpy(raw.data(), values.data(), raw.size());
    return tensor(name, shape, kInt32, raw);
  }
  // Zeros of a type of `size` bytes.
  OnnxFile& zeros(const std::string& name, const std::vector<int64_t>& shape, int type = kFloat, size_t size = 4) {
    for (int64_t dim : shape) size *= static_cast<size_t>(dim);
    return tensor(name, shape, type, std::string(size, '\0'));
  }
  // A tensor whose data is in another file.
  OnnxFile& outside(const std::string& name, const std::vector<int64_t>& shape, const std::string& path) {
    std::string body, entry;
    for (int64_t size : shape) integer(1, size, &body);
    integer(2, kFloat, &body);
    bytes(8, name, &body);
    bytes(1, "location", &entry);
    bytes(2, path, &entry);
    bytes(13, entry, &body);
    integer(14, 1, &body);
    bytes(5, body, &graph_);
    return *this;
  }
  OnnxFile& ints(const std::string& name, const std::vector<int64_t>& values) {
    std::string raw(values.size() * sizeof(int64_t), 0);
    std::memcpy(&raw[0], values.data(), raw.size());
    return tensor(name, {static_cast<int64_t>(values.size())}, kInt64, raw);
  }
  OnnxFile& flag(const std::string& name, bool value) { return tensor(name, {}, kBool, std::string(1, value ? 1 : 0)); }
  OnnxFile& node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<Attribute>& attributes = {}) {
    return named(op, op + "_node", inputs, outputs, "", attributes);
  }
  OnnxFile& named(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
                  const std::vector<std::string>& outputs, const std::string& domain = "",
                  const std::vector<Attribute>& attributes = {}) {
    std::string body;
    for (const std::string& input : inputs) bytes(1, input, &body);
    for (const std::string& output : outputs) bytes(2, output, &body);
    bytes(3, name, &body);
    bytes(4, op, &body);
    if (!domain.empty()) bytes(7, domain, &body);
    for (const Attribute& attribute : attributes) {
      std::string text;
      bytes(1, attribute.name, &text);
      bytes(5, text + attribute.body, &body);
    }
    bytes(1, body, &graph_);
    return *this;
  }
  std::string text() const {
    std::string file, opset;
    integer(1, 8, &file);  // IR version
    bytes(7, graph_, &file);
    integer(2, opset_, &opset);
    bytes(8, opset, &file);
    return file;
  }

 private:
  static void varint(uint64_t value, std::string* out) {
    for (; value >= 0x80; value >>= 7) *out += static_cast<char>(value | 0x80);
    *out += static_cast<char>(value);
  }
  static void integer(int field, int64_t value, std::string* out) {
    varint(static_cast<uint64_t>(field) << 3, out);
    varint(static_cast<uint64_t>(value), out);
  }
  static void number(int field, float value, std::string* out) {
    varint(static_cast<uint64_t>(field) << 3 | 5, out);
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    out->append(raw, sizeof raw);
  }
  static void bytes(int field, const std::string& value, std::string* out) {
    varint(static_cast<uint64_t>(field) << 3 | 2, out);
    varint(value.size(), out);
    *out += value;
  }
  static std::string value_info(const std::string& name, const std::vector<int64_t>& shape, Type type) {
    std::string dims, tensor_type, type_text, info;
    for (int64_t size : shape) {
      std::string dim;
      integer(1, size, &dim);
      bytes(1, dim, &dims);
    }
    integer(1, type, &tensor_type);
    bytes(2, dims, &tensor_type);
    bytes(1, tensor_type, &type_text);
    bytes(1, name, &info);
    bytes(2, type_text, &info);
    return info;
  }
  OnnxFile& tensor(const std::string& name, const std::vector<int64_t>& shape, int type, const std::string& raw) {
    std::string body;
    for (int64_t size : shape) integer(1, size, &body);
    integer(2, type, &body);
    bytes(8, name, &body);
    bytes(9, raw, &body);
    bytes(5, body, &graph_);
    return *this;
  }

  int64_t opset_;
  std::string graph_;
};

}  // namespace sparsenet::test
