#include "converter/io/npy.h"

#include <algorithm>
#include <cstring>

#include "converter/report.h"

namespace sparsenet::converter {
namespace {

// The header is a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }. This parser accepts
// exactly that form: the three keys in any order, no nesting.
class HeaderParser {
 public:
  explicit HeaderParser(std::string text) : text_(std::move(text)) {}

  Status parse(std::string* descr, bool* fortran_order, Shape* shape) {
    if (!take('{')) return bad("'{'");
    int seen = 0;
    for (;;) {
      if (take('}')) break;
      std::string key;
      if (!take_string(&key)) return bad("a quoted key");
      if (!take(':')) return bad("':'");
      if (key == "descr") {
        seen |= 1;
        if (!take_string(descr)) return bad("a simple element type");
      } else if (key == "fortran_order") {
        seen |= 2;
        if (take_word("True")) {
          *fortran_order = true;
        } else if (take_word("False")) {
          *fortran_order = false;
        } else {
          return bad("True or False");
        }
      } else if (key == "shape") {
        seen |= 4;
        if (!take_shape(shape)) return bad("a tuple of sizes");
      } else {
        return bad("descr, fortran_order or shape");
      }
      take(',');
    }
    if (seen != 7) return bad("descr, fortran_order and shape");
    return {};
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(const char* word) {
    skip_blanks();
    const size_t length = std::strlen(word);
    if (text_.compare(at_, length, word) != 0) return false;
    at_ += length;
    return true;
  }
  bool take_string(std::string* out) {
    skip_blanks();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return false;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string::npos) return false;
    *out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  bool take_shape(Shape* out) {
    if (!take('(')) return false;
    out->clear();
    for (;;) {
      if (take(')')) return true;
      skip_blanks();
      int64_t value = 0;
      size_t digits = 0;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
        if (++digits > 15) return false;
        value = value * 10 + (text_[at_++] - '0');
      }
      if (digits == 0 || out->size() >= 32) return false;
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // written by Python 2
      out->push_back(value);
      take(',');
    }
  }
  Status bad(const char* expected) const {
    return invalid_model("npy header: expected " + std::string(expected) + ", found '" +
                         printable(text_.substr(std::min(at_, text_.size()), 20)) + "'");
  }

  std::string text_;
  size_t at_ = 0;
};

Result<ElementType> parse_descr(const std::string& descr) {
  struct Row {
    const char* code;
    ElementType type;
  };
  static const Row kRows[] = {
      {"f4", ElementType::kFloat32}, {"f8", ElementType::kFloat64}, {"f2", ElementType::kFloat16},
      {"i1", ElementType::kInt8},    {"u1", ElementType::kUInt8},   {"i2", ElementType::kInt16},
      {"u2", ElementType::kUInt16},  {"i4", ElementType::kInt32},   {"u4", ElementType::kUInt32},
      {"i8", ElementType::kInt64},   {"u8", ElementType::kUInt64},  {"b1", ElementType::kBool},
  };
  for (const Row& row : kRows) {
    if (descr.size() != 3 || descr.compare(1, 2, row.code) != 0) continue;
    const bool one_byte = size_of(row.type) == 1;
    if (descr[0] == '<' || (one_byte && (descr[0] == '|' || descr[0] == '='))) return row.type;
  }
  return unsupported("npy element type: expected little-endian floats or integers, found '" + printable(descr) + "'");
}

}  // namespace

Result<NpyView> parse_npy(const uint8_t* data, size_t size) {
  if (size < 10 || std::memcmp(data, "\x93NUMPY", 6) != 0) return invalid_model("not a .npy array (no NUMPY magic)");
  const uint8_t major = data[6];
  if (major < 1 || major > 3) {
    return unsupported("npy format version: expected 1 to 3, found " + std::to_string(major));
  }
  const size_t prefix = major == 1 ? 10 : 12;
  if (size < prefix) return invalid_model("npy header is cut short");
  const uint64_t length = major == 1 ? load_u16(data + 8) : load_u32(data + 8);
  if (length > size - prefix || length > (uint64_t{1} << 20)) {
    return invalid_model("npy header: expected at most " + std::to_string(size - prefix) + " bytes, found " +
                         std::to_string(length));
  }
  std::string descr;
  NpyView view;
  HeaderParser parser(std::string(reinterpret_cast<const char*>(data + prefix), static_cast<size_t>(length)));
  SPARSENET_RETURN_IF_ERROR(parser.parse(&descr, &view.fortran_order, &view.shape));
  Result<ElementType> type = parse_descr(descr);
  if (!type.ok()) return type.status();
  view.type = *type;
  view.data = data + prefix + length;
  const uint64_t available = size - prefix - length;
  const int64_t count = element_count(view.shape);
  uint64_t wanted = 0;
  if (count < 0 || !multiply(static_cast<uint64_t>(count), size_of(view.type), &wanted) || wanted != available) {
    return invalid_model("npy data: expected " + std::to_string(wanted) + " bytes for " + to_string(view.shape) + " " +
                         name(view.type) + ", found " + std::to_string(available));
  }
  return view;
}

Elements<float> npy_floats(const NpyView& view, const std::shared_ptr<const void>& owner) {
  const auto count = static_cast<size_t>(element_count(view.shape));
  if (!view.fortran_order || view.shape.size() < 2) {
    return load_or_share_floats(view.type, view.data, count, owner);
  }
  Elements<float> elements;
  elements.resize(count);
  float* values = elements.data();
  std::vector<size_t> index(view.shape.size(), 0);
  const size_t step = size_of(view.type);
  for (size_t i = 0; i < count; ++i) {  // i counts in C order, `offset` is the same element's position in Fortran order
    size_t offset = 0, stride = 1;
    for (size_t d = 0; d < index.size(); ++d) {
      offset += index[d] * stride;
      stride *= static_cast<size_t>(view.shape[d]);
    }
    values[i] = load_float(view.type, view.data + offset * step);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < static_cast<size_t>(view.shape[d])) break;
      index[d] = 0;
    }
  }
  return elements;
}

}  // namespace sparsenet::converter
