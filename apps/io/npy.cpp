#include "io/npy.h"

#include <sparsenet/model.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sparsenet::io {
namespace {

constexpr size_t kMaxHeaderBytes = 1 << 16;  // a header with 32 dimensions needs a few hundred bytes
constexpr size_t kMaxRank = 32;              // NumPy's own limit
constexpr size_t kChunkBytes = 1 << 16;

// The header is the text of a Python dictionary with three known keys. This parser accepts only that grammar: strings,
// booleans, and one tuple of integers.
class HeaderParser {
 public:
  explicit HeaderParser(const std::string& text) : text_(text) {}

  // Returns an empty string, or what is wrong.
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
      if (peek() < '0' || peek() > '9' || out.size() == kMaxRank) return false;
      int64_t size = 0;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
        if (size > (std::numeric_limits<int64_t>::max() - 9) / 10) return false;
        size = size * 10 + (text_[at_] - '0');
      }
      if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2 wrote long integers like this
      out.push_back(size);
      if (!take(',') && peek() != ')') return false;
    }
    return true;
  }

  const std::string& text_;
  size_t at_ = 0;
};

Status parse_type(const std::string& descr, const std::string& path, NpyHeader& header) {
  Status unknown = unsupported(path + ": expected an array of float16/32/64, boolean or integers, found type '" +
                               descr.substr(0, 40) + "'");
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

float half_to_float(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  float magnitude;
  if (exponent == 31) {
    magnitude = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

// The bits of one item, independent of the byte order of the file and of this machine.
uint64_t load_bits(const uint8_t* item, size_t bytes, bool big_endian) {
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes; ++i) {
    const size_t position = big_endian ? bytes - 1 - i : i;
    bits |= static_cast<uint64_t>(item[position]) << (8 * i);
  }
  return bits;
}

int64_t sign_extend(uint64_t bits, size_t bytes) {
  if (bytes == 8) return static_cast<int64_t>(bits);
  const uint64_t sign = uint64_t{1} << (8 * bytes - 1);
  return static_cast<int64_t>(bits ^ sign) - static_cast<int64_t>(sign);
}

float to_float(uint64_t bits, char kind, size_t bytes) {
  if (kind == 'f') {
    if (bytes == 2) return half_to_float(static_cast<uint16_t>(bits));
    if (bytes == 4) {
      const auto word = static_cast<uint32_t>(bits);
      float value;
      std::memcpy(&value, &word, sizeof value);
      return value;
    }
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<float>(value);
  }
  if (kind == 'i') return static_cast<float>(sign_extend(bits, bytes));
  return static_cast<float>(bits);
}

// Calls use(index, bits) for each element of the range, reading through a small buffer.
template <class Use>
Status for_each_item(const File& file, const NpyHeader& header, int64_t first, int64_t count, const Use& use) {
  if (first < 0 || count < 0 || first > header.elements() || count > header.elements() - first) {
    return invalid_argument(file.path() + ": elements " + std::to_string(first) + " + " + std::to_string(count) +
                            " asked for, found " + std::to_string(header.elements()));
  }
  uint8_t buffer[kChunkBytes];
  const auto chunk = static_cast<int64_t>(kChunkBytes / header.item_bytes);
  for (int64_t done = 0; done < count;) {
    const int64_t now = std::min(chunk, count - done);
    const uint64_t offset = header.data_offset + static_cast<uint64_t>(first + done) * header.item_bytes;
    SPARSENET_RETURN_IF_ERROR(file.read_at(offset, buffer, static_cast<size_t>(now) * header.item_bytes));
    for (int64_t i = 0; i < now; ++i) {
      const uint8_t* item = buffer + static_cast<size_t>(i) * header.item_bytes;
      const uint64_t bits = load_bits(item, header.item_bytes, header.big_endian);
      // NumPy writes 0 and 1; any other value of a byte means true.
      SPARSENET_RETURN_IF_ERROR(use(done + i, header.kind == 'b' ? uint64_t{bits != 0} : bits));
    }
    done += now;
  }
  return {};
}

// The values in row-major order, from an array stored in column-major order.
std::vector<float> from_fortran_order(const Shape& shape, const std::vector<float>& stored) {
  std::vector<float> result(stored.size());
  std::vector<int64_t> index(shape.size(), 0);
  std::vector<size_t> stride(shape.size(), 1);
  for (size_t d = 1; d < shape.size(); ++d) stride[d] = stride[d - 1] * static_cast<size_t>(shape[d - 1]);
  for (float& value : result) {
    size_t from = 0;
    for (size_t d = 0; d < shape.size(); ++d) from += static_cast<size_t>(index[d]) * stride[d];
    value = stored[from];
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return result;
}

}  // namespace

std::string NpyHeader::type_name() const {
  if (kind == 'b') return "bool";
  const std::string prefix = kind == 'f' ? "float" : kind == 'i' ? "int" : "uint";
  return prefix + std::to_string(item_bytes * 8);
}

Result<NpyHeader> read_npy_header(const File& file) {
  const std::string& path = file.path();
  uint8_t start[12];
  if (file.size() < 10)
    return invalid_argument(path + ": expected a .npy file, found only " + std::to_string(file.size()) + " bytes");
  SPARSENET_RETURN_IF_ERROR(file.read_at(0, start, 10));
  if (std::memcmp(start, "\x93NUMPY", 6) != 0) {
    return invalid_argument(path + ": expected a .npy file, found no \\x93NUMPY at its start");
  }
  const int major = start[6];
  if (major < 1 || major > 3) {
    return unsupported(path + ": expected .npy format 1 to 3, found " + std::to_string(major));
  }
  const size_t length_bytes = major == 1 ? 2 : 4;
  SPARSENET_RETURN_IF_ERROR(file.read_at(8, start + 8, length_bytes));
  const uint64_t length = load_bits(start + 8, length_bytes, false);
  const uint64_t text_offset = 8 + length_bytes;
  if (length > kMaxHeaderBytes || length > file.size() - text_offset) {
    return invalid_argument(path + ": expected a .npy header of at most " +
                            std::to_string(std::min<uint64_t>(kMaxHeaderBytes, file.size() - text_offset)) +
                            " bytes, found " + std::to_string(length));
  }
  std::string text(static_cast<size_t>(length), '\0');
  SPARSENET_RETURN_IF_ERROR(file.read_at(text_offset, text.data(), text.size()));

  NpyHeader header;
  std::string descr;
  const std::string problem = HeaderParser(text).parse(descr, header.fortran_order, header.shape);
  if (!problem.empty()) return invalid_argument(path + ": damaged .npy header: " + problem);
  SPARSENET_RETURN_IF_ERROR(parse_type(descr, path, header));
  header.data_offset = text_offset + length;

  const int64_t elements = element_count(header.shape);
  const uint64_t found = file.size() - header.data_offset;
  const bool fits = elements >= 0 && static_cast<uint64_t>(elements) <= found / header.item_bytes;
  if (!fits || static_cast<uint64_t>(elements) * header.item_bytes != found) {
    return invalid_argument(path + ": expected the data of a " + header.type_name() + " array " +
                            to_string(header.shape) + ", found " + std::to_string(found) + " bytes");
  }
  return header;
}

Status read_npy_floats(const File& file, const NpyHeader& header, int64_t first, int64_t count, float* out) {
  return for_each_item(file, header, first, count, [&](int64_t i, uint64_t bits) {
    out[i] = to_float(bits, header.kind, header.item_bytes);
    return Status();
  });
}

Status read_npy_integers(const File& file, const NpyHeader& header, int64_t first, int64_t count, int64_t* out) {
  if (!header.is_integer()) {
    return invalid_argument(file.path() + ": expected integers, found " + header.type_name());
  }
  return for_each_item(file, header, first, count, [&](int64_t i, uint64_t bits) {
    if (header.kind != 'i' && bits > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return invalid_argument(file.path() + ": element " + std::to_string(first + i) + " is too large");
    }
    out[i] = header.kind == 'i' ? sign_extend(bits, header.item_bytes) : static_cast<int64_t>(bits);
    return Status();
  });
}

Result<FloatArray> read_npy(const std::string& path) {
  auto file = File::open(path);
  if (!file.ok()) return file.status();
  auto header = read_npy_header(*file);
  if (!header.ok()) return header.status();
  FloatArray array;
  array.shape = header->shape;
  array.values.resize(static_cast<size_t>(header->elements()));
  SPARSENET_RETURN_IF_ERROR(read_npy_floats(*file, *header, 0, header->elements(), array.values.data()));
  if (header->fortran_order && array.shape.size() > 1) array.values = from_fortran_order(array.shape, array.values);
  return array;
}

Status write_npy(const std::string& path, const Shape& shape, const float* values) {
  const int64_t elements = element_count(shape);
  if (elements < 0 || shape.size() > kMaxRank) {
    return invalid_argument(path + ": cannot write an array of shape " + to_string(shape));
  }
  std::string sizes;
  for (const int64_t size : shape) sizes += std::to_string(size) + ", ";
  if (shape.size() > 1) sizes.resize(sizes.size() - 2);
  if (shape.size() == 1) sizes.pop_back();
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
  // NumPy aligns the data to 64 bytes and ends the header with a line feed.
  text.append(63 - (10 + text.size()) % 64, ' ');
  text.push_back('\n');

  std::vector<uint8_t> bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  bytes.push_back(static_cast<uint8_t>(text.size() & 255));
  bytes.push_back(static_cast<uint8_t>(text.size() >> 8));
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.reserve(bytes.size() + static_cast<size_t>(elements) * 4);
  for (int64_t i = 0; i < elements; ++i) {
    uint32_t word;
    std::memcpy(&word, values + i, sizeof word);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(word >> shift));
  }
  return write_file_atomically(path, bytes.data(), bytes.size());
}

}  // namespace sparsenet::io
