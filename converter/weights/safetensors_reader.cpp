// safetensors: 8 bytes with the header's length, a JSON header, and the raw tensors. Format:
// https://huggingface.co/docs/safetensors, "Format".
#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "converter/report.h"
#include "converter/weights/readers.h"

namespace sparsenet::converter {
namespace {

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

struct Entry {
  SourceTensor tensor;
  uint64_t begin = 0, end = 0;
};

// Processes the header's parts as the parser encounters them. No tree is built: it would take many times the header's
// size, and looking names up in it would take quadratic time.
class HeaderReader {
 public:
  explicit HeaderReader(uint64_t data_size) : data_size_(data_size) {}

  Result<std::vector<Entry>> read(const uint8_t* text, size_t length) {
    const char* const begin = reinterpret_cast<const char*>(text);
    const bool parsed = nlohmann::json::sax_parse(begin, begin + length, this);
    if (!status_.ok()) return status_;
    if (!parsed) return invalid_model("safetensors header is not a JSON object of tensors");
    return std::move(entries_);
  }
  const std::string& producer() const { return producer_; }

  // Callbacks of the parser; returning false ends it.
  bool key(std::string& text) {
    if (depth_ == 1) {
      name_ = text;
      return true;
    }
    field_ = text == "dtype"          ? Field::kType
             : text == "shape"        ? Field::kShape
             : text == "data_offsets" ? Field::kOffsets
             : text == "format"       ? Field::kFormat
                                      : Field::kOther;
    return true;
  }
  bool start_object(size_t) {
    if (depth_ == 1) begin_entry();
    const bool expected = depth_ < 2 || metadata_ || field_ == Field::kOther;
    field_ = Field::kOther;
    return deeper(expected);
  }
  bool end_object() {
    --depth_;
    field_ = Field::kOther;
    return depth_ == 1 ? end_entry() : true;
  }
  bool start_array(size_t) {
    const bool known = depth_ == 2 && (field_ == Field::kShape || field_ == Field::kOffsets);
    in_list_ = known && !metadata_;
    if (in_list_ && field_ == Field::kShape && has_shape_) return malformed();
    has_shape_ = has_shape_ || (in_list_ && field_ == Field::kShape);
    return deeper(in_list_ || (depth_ >= 2 && (metadata_ || field_ == Field::kOther)));
  }
  bool end_array() {
    --depth_;
    in_list_ = in_list_ && depth_ > 2;
    return true;
  }
  bool number_unsigned(uint64_t number) {
    if (depth_ == 3 && in_list_ && field_ == Field::kShape && shape_.size() < kMaxRank &&
        number <= static_cast<uint64_t>(INT64_MAX)) {
      shape_.push_back(static_cast<int64_t>(number));
      return true;
    }
    if (depth_ == 3 && in_list_ && field_ == Field::kOffsets && offsets_.size() < 2) {
      offsets_.push_back(number);
      return true;
    }
    return other();
  }
  bool string(std::string& text) {
    if (depth_ == 2 && metadata_) {
      if (field_ == Field::kFormat) producer_ = printable(text);
      return true;
    }
    if (depth_ == 2 && field_ == Field::kType && !has_type_) {
      type_ = text;
      has_type_ = true;
      return true;
    }
    return other();
  }
  bool null() { return other(); }
  bool boolean(bool) { return other(); }
  bool number_integer(int64_t) { return other(); }
  bool number_float(double, const std::string&) { return other(); }
  bool binary(nlohmann::json::binary_t&) { return other(); }
  bool parse_error(size_t, const std::string&, const nlohmann::json::exception&) { return false; }

 private:
  enum class Field : uint8_t { kOther, kType, kShape, kOffsets, kFormat };
  static constexpr size_t kMaxRank = 16;
  static constexpr int kMaxDepth = 4;  // the format nests three levels

  std::string subject() const { return "tensor '" + printable(name_) + "'"; }
  bool fail(Status status) {
    status_ = std::move(status);
    return false;
  }
  bool malformed() { return fail(invalid_model(subject() + ": expected dtype, shape and data_offsets")); }

  bool deeper(bool expected) {
    ++depth_;
    if (expected && depth_ <= kMaxDepth) return true;
    return depth_ > 2 && depth_ <= kMaxDepth ? malformed() : false;
  }
  // A value that no field of the format has: ignored in fields that the format does not know.
  bool other() {
    if (depth_ >= 2 && (metadata_ || field_ == Field::kOther)) return true;
    return depth_ >= 2 ? malformed() : false;
  }

  void begin_entry() {
    metadata_ = name_ == "__metadata__";
    type_.clear();
    shape_.clear();
    offsets_.clear();
    has_type_ = has_shape_ = false;
  }
  bool end_entry();

  const uint64_t data_size_;
  int depth_ = 0;
  bool metadata_ = false, in_list_ = false, has_type_ = false, has_shape_ = false;
  Field field_ = Field::kOther;
  std::string name_, type_, producer_;
  Shape shape_;
  std::vector<uint64_t> offsets_;
  std::unordered_set<std::string> names_;
  std::vector<Entry> entries_;
  MemoryCharge charge_;
  uint64_t taken_ = 0;
  Status status_;
};

bool HeaderReader::end_entry() {
  // The name is stored in the set and in the entry, and again when it is reported.
  constexpr uint64_t kEntryBytes = 2 * sizeof(Entry) + 256;
  taken_ += kEntryBytes + 3 * name_.size();
  const Status paid = charge_.raise_to(taken_);
  if (!paid.ok()) return fail(paid.with_context("safetensors header"));
  // Of two equal keys the last would win; a file with duplicates is ambiguous.
  if (!names_.insert(name_).second) {
    return fail(invalid_model("safetensors header lists tensor '" + printable(name_) + "' twice"));
  }
  if (metadata_) return true;
  if (!has_type_ || !has_shape_ || offsets_.size() != 2) return malformed();
  const Status count = check_tensor_count(entries_.size() + 1);
  if (!count.ok()) return fail(count);
  Entry entry;
  entry.tensor.name = name_;
  Result<ElementType> type = parse_dtype(type_);
  if (!type.ok()) return fail(type.status().with_context(subject()));
  entry.tensor.type = *type;
  entry.tensor.shape = shape_;
  entry.begin = offsets_[0];
  entry.end = offsets_[1];
  const int64_t elements = element_count(shape_);
  uint64_t wanted = 0;
  const bool fits = elements >= 0 && multiply(static_cast<uint64_t>(elements), size_of(*type), &wanted);
  if (!fits || entry.begin > entry.end || entry.end > data_size_ || entry.end - entry.begin != wanted) {
    return fail(invalid_model(subject() + ": expected " + std::to_string(wanted) + " bytes for " + to_string(shape_) +
                              " " + name(*type) + " within the " + std::to_string(data_size_) +
                              " bytes of data, found bytes " + std::to_string(entry.begin) + " to " +
                              std::to_string(entry.end)));
  }
  entries_.push_back(std::move(entry));
  return true;
}

}  // namespace

Result<SourceTensors> read_safetensors(const FileBytes& file) {
  const UseBudget budget = UseBudget::keep_or_make(file.size);
  const uint8_t* const data = file.data;
  const size_t size = file.size;
  constexpr uint64_t kMaxHeader = 100u << 20;
  if (size < 8) return invalid_model("safetensors: the file ends before its header");
  const uint64_t length = load_u64(data);
  if (length > size - 8 || length > kMaxHeader) {
    return invalid_model("safetensors header: expected at most " +
                         std::to_string(std::min<uint64_t>(size - 8, kMaxHeader)) + " bytes, found " +
                         std::to_string(length));
  }
  const uint64_t data_size = size - 8 - length;
  const uint8_t* base = data + 8 + length;
  HeaderReader header(data_size);
  SPARSENET_ASSIGN_OR_RETURN(std::vector<Entry> read, header.read(data + 8, static_cast<size_t>(length)));
  std::vector<Entry>& entries = read;
  SourceTensors out;
  out.format = "safetensors";
  out.ordered = false;
  out.producer = header.producer();
  // Every byte must belong to exactly one tensor.
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
    const Status status = within_budget([&]() -> Status {
      if (!is_float(tensor.type)) return {};
      const auto count = static_cast<size_t>(element_count(tensor.shape));
      tensor.values = load_or_share_floats(tensor.type, base + entry.begin, count, file.owner);
      return {};
    });
    if (!status.ok()) return status.with_context("tensor '" + printable(tensor.name) + "'");
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
