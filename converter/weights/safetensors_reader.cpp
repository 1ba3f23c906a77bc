// safetensors: 8 bytes with the header's length, a JSON header, the raw tensors.
// Format: https://huggingface.co/docs/safetensors, "Format".
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "converter/report.h"
#include "converter/weights/readers.h"

namespace sparsenet::converter {
namespace {

using nlohmann::ordered_json;

Result<ElementType> parse_dtype(const std::string& text) {
  struct Row {
    const char* name;
    ElementType type;
  };
  static const Row kRows[] = {
      {"F32", ElementType::kFloat32},   {"F64", ElementType::kFloat64}, {"F16", ElementType::kFloat16},
      {"BF16", ElementType::kBFloat16}, {"I8", ElementType::kInt8},     {"U8", ElementType::kUInt8},
      {"I16", ElementType::kInt16},     {"U16", ElementType::kUInt16},  {"I32", ElementType::kInt32},
      {"U32", ElementType::kUInt32},    {"I64", ElementType::kInt64},   {"U64", ElementType::kUInt64},
      {"BOOL", ElementType::kBool},
  };
  for (const Row& row : kRows) {
    if (text == row.name) return row.type;
  }
  return unsupported("dtype '" + printable(text) + "'");
}

bool read_unsigned(const ordered_json& value, uint64_t* out) {
  if (!value.is_number_unsigned()) return false;
  *out = value.get<uint64_t>();
  return true;
}

struct Entry {
  SourceTensor tensor;
  uint64_t begin = 0, end = 0;
};

Result<Entry> parse_entry(const std::string& key, const ordered_json& value, uint64_t data_size) {
  const std::string what = "tensor '" + printable(key) + "'";
  const Status malformed = invalid_model(what + ": expected dtype, shape and data_offsets");
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets")) {
    return malformed;
  }
  const ordered_json& dtype = value["dtype"];
  const ordered_json& shape = value["shape"];
  const ordered_json& offsets = value["data_offsets"];
  if (!dtype.is_string() || !shape.is_array() || shape.size() > 16 || !offsets.is_array() || offsets.size() != 2) {
    return malformed;
  }
  Entry entry;
  entry.tensor.name = key;
  Result<ElementType> type = parse_dtype(dtype.get<std::string>());
  if (!type.ok()) return type.status().with_context(what);
  entry.tensor.type = *type;
  for (const ordered_json& item : shape) {
    uint64_t dim = 0;
    if (!read_unsigned(item, &dim) || dim > static_cast<uint64_t>(INT64_MAX)) return malformed;
    entry.tensor.shape.push_back(static_cast<int64_t>(dim));
  }
  if (!read_unsigned(offsets[0], &entry.begin) || !read_unsigned(offsets[1], &entry.end)) return malformed;
  const int64_t count = element_count(entry.tensor.shape);
  uint64_t wanted = 0;
  const bool fits = count >= 0 && multiply(static_cast<uint64_t>(count), size_of(*type), &wanted);
  if (!fits || entry.begin > entry.end || entry.end > data_size || entry.end - entry.begin != wanted) {
    return invalid_model(what + ": expected " + std::to_string(wanted) + " bytes for " + to_string(entry.tensor.shape) +
                         " " + name(*type) + " within the " + std::to_string(data_size) +
                         " bytes of data, found bytes " + std::to_string(entry.begin) + " to " +
                         std::to_string(entry.end));
  }
  return entry;
}

}  // namespace

Result<SourceTensors> read_safetensors(const uint8_t* data, size_t size) {
  constexpr uint64_t kMaxHeader = 100u << 20;
  if (size < 8) return invalid_model("safetensors: the file ends before its header");
  const uint64_t length = load_u64(data);
  if (length > size - 8 || length > kMaxHeader) {
    return invalid_model("safetensors header: expected at most " +
                         std::to_string(std::min<uint64_t>(size - 8, kMaxHeader)) + " bytes, found " +
                         std::to_string(length));
  }
  // The parser keeps the last of two equal keys; a file that has them is ambiguous and refused.
  std::unordered_set<std::string> keys;
  std::string twice;
  bool deep = false;
  const auto watch = [&](int depth, ordered_json::parse_event_t event, ordered_json& parsed) {
    if (event == ordered_json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second) {
      twice = parsed.get<std::string>();
    }
    // The format nests three levels; a bomb of brackets is dropped as it is read.
    if (depth > 4) deep = true;
    return depth <= 4;
  };
  const auto* text = reinterpret_cast<const char*>(data + 8);
  const ordered_json header = ordered_json::parse(text, text + length, watch, false);
  if (header.is_discarded() || !header.is_object() || deep) {
    return invalid_model("safetensors header is not a JSON object of tensors");
  }
  if (!twice.empty()) return invalid_model("safetensors header lists tensor '" + printable(twice) + "' twice");

  SourceTensors out;
  out.format = "safetensors";
  out.ordered = false;
  const uint64_t data_size = size - 8 - length;
  const uint8_t* base = data + 8 + length;
  std::vector<Entry> entries;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      if (value.is_object() && value.contains("format") && value["format"].is_string()) {
        out.producer = printable(value["format"].get<std::string>());
      }
      continue;
    }
    Result<Entry> entry = parse_entry(key, value, data_size);
    if (!entry.ok()) return entry.status();
    entries.push_back(std::move(entry).value());
  }
  // Every byte belongs to exactly one tensor.
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (Entry& entry : entries) {
    if (entry.begin != at) {
      return invalid_model("tensor '" + printable(entry.tensor.name) + "': expected to begin at byte " +
                           std::to_string(at) + ", found " + std::to_string(entry.begin));
    }
    at = entry.end;
    SourceTensor& tensor = entry.tensor;
    if (is_float(tensor.type)) {
      tensor.values = load_floats(tensor.type, base + entry.begin, static_cast<size_t>(element_count(tensor.shape)));
    }
    out.tensors.push_back(std::move(tensor));
  }
  if (at != data_size) {
    return invalid_model("safetensors: " + std::to_string(data_size - at) +
                         " bytes after the last tensor belong to none");
  }
  if (out.tensors.empty()) return unsupported("the file holds no tensor");
  return out;
}

}  // namespace sparsenet::converter
