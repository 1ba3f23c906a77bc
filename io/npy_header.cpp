#include "io/npy_header.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "io/numbers.h"
#include "io/text.h"

namespace sparsenet::io {
namespace {

constexpr size_t kMaxHeaderBytes = 1 << 16;  // a header of 32 dimensions needs some hundred bytes

// The header is the text of a Python dictionary with three known keys. This reads just that grammar: strings, booleans,
// and one tuple of integers.
class HeaderParser {
 public:
  explicit HeaderParser(const std::string& text) : text_(text) {}

  // An empty string, or what is wrong.
  std::string parse(std::string& descr, bool& fortran_order, Shape& shape) {
    bool seen_descr = false, seen_order = false, seen_shape = false;
    if (!take('{')) return "no dictionary";
    while (!take('}')) {
      std::string key;
      if (!string(key) || !take(':')) return "a key that is not a string";
      if (key == "descr" && !seen_descr) {
        if (!string(descr)) return "a type that is not a plain number (structured arrays are not read)";
        seen_descr = true;
      } else if (key == "fortran_order" && !seen_order) {
        if (!boolean(fortran_order)) return "a fortran_order that is neither True nor False";
        seen_order = true;
      } else if (key == "shape" && !seen_shape) {
        if (!tuple(shape)) return "a shape that is not a tuple of up to 32 sizes";
        seen_shape = true;
      } else {
        return "an unexpected key";
      }
      if (!take(',') && !(peek() == '}')) return "no comma between keys";
    }
    if (peek() != '\0') return "text after the dictionary";
    if (!seen_descr || !seen_order || !seen_shape) return "a missing key (descr, fortran_order, shape are needed)";
    return "";
  }

 private:
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  bool word(const char* expected) {
    peek();
    const size_t length = std::strlen(expected);
    if (text_.compare(at_, length, expected) != 0) return false;
    at_ += length;
    return true;
  }
  bool string(std::string& out) {
    const char quote = peek();
    if (quote != '\'' && quote != '"') return false;
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string::npos) return false;
    out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  bool boolean(bool& out) {
    if (word("True")) return out = true, true;
    if (word("False")) return out = false, true;
    return false;
  }
  bool tuple(Shape& out) {
    if (!take('(')) return false;
    out.clear();
    while (!take(')')) {
      if (peek() < '0' || peek() > '9' || out.size() == kMaxNpyRank) return false;
      int64_t size = 0;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
        if (size > (std::numeric_limits<int64_t>::max() - 9) / 10) return false;
        size = size * 10 + (text_[at_] - '0');
      }
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote long integers so
      out.push_back(size);
      if (!take(',') && peek() != ')') return false;
    }
    return true;
  }

  const std::string& text_;
  size_t at_ = 0;
};

Status parse_type(const std::string& descr, NpyHeader& header) {
  Status unknown = unsupported("expected an array of float16/32/64, boolean or integers, found type '" +
                               printable(descr.substr(0, 40)) + "'");
  if (descr.size() != 3 || std::strchr("<>|=", descr[0]) == nullptr) return unknown;
  header.big_endian = descr[0] == '>';
  header.kind = descr[1];
  header.item_bytes = static_cast<size_t>(descr[2] - '0');
  const std::string type = descr.substr(1);
  for (const char* known : {"f2", "f4", "f8", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}) {
    if (type == known) return {};
  }
  return unknown;
}

}  // namespace

std::string NpyHeader::type_name() const {
  if (kind == 'b') return "bool";
  const std::string prefix = kind == 'f' ? "float" : kind == 'i' ? "int" : "uint";
  return prefix + std::to_string(item_bytes * 8);
}

Result<size_t> npy_header_bytes(const uint8_t* start, uint64_t file_bytes) {
  if (file_bytes < 10) {
    return invalid_argument("expected a .npy file, found only " + std::to_string(file_bytes) + " bytes");
  }
  if (std::memcmp(start, "\x93NUMPY", 6) != 0) {
    return invalid_argument("expected a .npy file, found no \\x93NUMPY at its start");
  }
  const int major = start[6];
  if (major < 1 || major > 3) return unsupported("expected .npy format 1 to 3, found " + std::to_string(major));
  const size_t length_bytes = major == 1 ? 2 : 4, text_at = 8 + length_bytes;
  const uint64_t room = file_bytes > text_at ? file_bytes - text_at : 0;
  const uint64_t length = room == 0 ? 0 : load_bits(start + 8, length_bytes, false);
  const uint64_t most = std::min<uint64_t>(kMaxHeaderBytes, room);
  if (length > most) {
    return invalid_argument("expected a .npy header of at most " + std::to_string(most) + " bytes, found " +
                            std::to_string(length));
  }
  return text_at + static_cast<size_t>(length);
}

Result<NpyHeader> parse_npy_header(const uint8_t* header, size_t bytes, uint64_t file_bytes) {
  const size_t text_at = header[6] == 1 ? 10 : 12;
  const std::string text(reinterpret_cast<const char*>(header) + text_at, bytes > text_at ? bytes - text_at : 0);
  NpyHeader found;
  std::string descr;
  const std::string problem = HeaderParser(text).parse(descr, found.fortran_order, found.shape);
  if (!problem.empty()) return invalid_argument("damaged .npy header: " + problem);
  SPARSENET_RETURN_IF_ERROR(parse_type(descr, found));
  found.data_offset = bytes;
  const int64_t elements = element_count(found.shape);
  const uint64_t left = file_bytes - bytes;
  const bool fits = elements >= 0 && static_cast<uint64_t>(elements) <= left / found.item_bytes;
  if (!fits || static_cast<uint64_t>(elements) * found.item_bytes != left) {
    return invalid_argument("expected the data of a " + found.type_name() + " array " + to_string(found.shape) +
                            ", found " + std::to_string(left) + " bytes");
  }
  return found;
}

}  // namespace sparsenet::io
