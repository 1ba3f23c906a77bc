#include "data/mat_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "data/mat_stream.h"

namespace sparsenet::io {
namespace {

constexpr uint64_t kHeaderBytes = 128, kTagBytes = 8;
constexpr uint32_t kMatrixType = 14, kCompressedType = 15;
constexpr uint32_t kFirstNumericClass = 6, kLastNumericClass = 15;
constexpr size_t kMostDims = 32, kMostName = 255, kMostVariables = 1 << 16;

// Size in bytes of one number of a stored type; 0: the type does not hold numbers.
size_t bytes_of_type(uint32_t type) {
  switch (type) {
    case 1:  // int8
    case 2:  // uint8
      return 1;
    case 3:  // int16
    case 4:  // uint16
      return 2;
    case 5:  // int32
    case 6:  // uint32
    case 7:  // single
      return 4;
    case 9:   // double
    case 12:  // int64
    case 13:  // uint64
      return 8;
    default:
      return 0;
  }
}

uint64_t word(const uint8_t* bytes, size_t count, bool little) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= uint64_t{bytes[i]} << (8 * (little ? i : count - 1 - i));
  return value;
}

uint32_t word32(const uint8_t* bytes, bool little) {
  return static_cast<uint32_t>(word(bytes, 4, little));
}

double to_double(const uint8_t* bytes, uint32_t type, bool little) {
  const size_t count = bytes_of_type(type);
  const uint64_t bits = word(bytes, count, little);
  if (type == 9) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  if (type == 7) {
    const auto narrow = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &narrow, sizeof value);
    return static_cast<double>(value);
  }
  const bool has_sign = type == 1 || type == 3 || type == 5 || type == 12;
  if (!has_sign) return static_cast<double>(bits);
  const uint64_t sign = uint64_t{1} << (8 * count - 1);
  if ((bits & sign) == 0) return static_cast<double>(bits);
  return -static_cast<double>((~bits + 1) & (sign | (sign - 1)));
}

// The tag of a part of a matrix: type and size; for up to four bytes it contains the data itself.
struct Part {
  uint32_t type = 0;
  uint64_t size = 0;
  bool small = false;
  uint8_t data[4] = {};

  uint64_t padding() const { return small ? 0 : (8 - size % 8) % 8; }
};

// Reads the parts of one matrix, none of which may be longer than the rest of the matrix.
class MatrixReader {
 public:
  MatrixReader(MatStream& stream, uint64_t size, bool little) : stream_(stream), left_(size), little_(little) {}

  uint64_t left() const { return left_; }

  Status tag(Part* part) {
    uint8_t bytes[kTagBytes];
    SPARSENET_RETURN_IF_ERROR(take(bytes, sizeof bytes));
    const uint32_t first = word32(bytes, little_);
    part->small = (first >> 16) != 0;
    part->type = part->small ? first & 0xffff : first;
    part->size = part->small ? first >> 16 : word32(bytes + 4, little_);
    if (part->small) std::memcpy(part->data, bytes + 4, 4);
    if (part->small ? part->size > 4 : part->size > left_) return too_long();
    return {};
  }
  // Copies the data of a part to memory of the caller, who has checked its size.
  Status data(const Part& part, void* out) {
    if (part.small) {
      std::memcpy(out, part.data, static_cast<size_t>(part.size));
      return {};
    }
    SPARSENET_RETURN_IF_ERROR(take(out, static_cast<size_t>(part.size)));
    return pass(std::min(part.padding(), left_));
  }
  Status pass(uint64_t bytes) {
    if (bytes > left_) return too_long();
    left_ -= bytes;
    return stream_.skip(bytes);
  }

 private:
  Status too_long() const { return invalid_argument("a part is longer than what is left of it"); }
  Status take(void* out, size_t bytes) {
    if (bytes > left_) return too_long();
    left_ -= bytes;
    return stream_.read(out, bytes);
  }

  MatStream& stream_;
  uint64_t left_;
  bool little_;
};

Status not_understood(const char* what) {
  return invalid_argument(std::string("its ") + what + " are damaged");
}

// Reads everything before the numbers; `data` is the tag of the real part, whose numbers come next.
Status read_description(MatrixReader& reader, bool little, MatVariable* variable, Part* data) {
  Part part;
  SPARSENET_RETURN_IF_ERROR(reader.tag(&part));
  uint8_t flags[8];
  if (part.type != 6 || part.size != sizeof flags) return not_understood("flags");
  SPARSENET_RETURN_IF_ERROR(reader.data(part, flags));
  variable->array_class = word32(flags, little) & 0xff;
  variable->complex = (word32(flags, little) & 0x800) != 0;

  SPARSENET_RETURN_IF_ERROR(reader.tag(&part));
  uint8_t dims[4 * kMostDims];
  if (part.type != 5 || part.size % 4 != 0 || part.size < 8 || part.size > sizeof dims) return not_understood("sizes");
  SPARSENET_RETURN_IF_ERROR(reader.data(part, dims));
  variable->elements = 1;
  for (size_t i = 0; i < part.size / 4; ++i) {
    const uint64_t dim = word32(dims + 4 * i, little);
    if (dim > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) return not_understood("sizes");
    variable->dims.push_back(dim);
    // An array of more than 2^48 numbers is rejected below; up to that the product cannot overflow.
    constexpr uint64_t kMost = uint64_t{1} << 48;
    variable->elements = dim > 0 && variable->elements > kMost / dim ? kMost + 1 : variable->elements * dim;
  }

  SPARSENET_RETURN_IF_ERROR(reader.tag(&part));
  if (part.size > kMostName) return not_understood("name's length");
  variable->name.resize(static_cast<size_t>(part.size));
  SPARSENET_RETURN_IF_ERROR(reader.data(part, variable->name.data()));
  if (variable->array_class < kFirstNumericClass || variable->array_class > kLastNumericClass) return {};

  SPARSENET_RETURN_IF_ERROR(reader.tag(data));
  variable->stored_type = data->type;
  variable->data_bytes = data->size;
  const size_t one = bytes_of_type(data->type);
  if (one == 0) return not_understood("numbers");
  if (variable->elements > data->size / one || variable->elements * one != data->size) {
    return invalid_argument("it claims to be " + variable->describe() + ", which does not fit its " +
                            std::to_string(data->size) + " bytes of numbers");
  }
  return {};
}

// The element that begins at `at`, opened and read up to the numbers of its variable.
struct OpenVariable {
  std::unique_ptr<MatStream> stream;
  uint64_t next = 0;         // where the file's next element begins
  bool is_matrix = false;    // other elements are skipped
  uint64_t matrix_left = 0;  // bytes from the numbers to the matrix's end
  MatVariable variable;
  Part data;
};

Result<OpenVariable> open_variable(const File& file, bool little, uint64_t at) {
  const auto cut = [&] {
    return invalid_argument(file.path() + ": the file is cut: the element at byte " + std::to_string(at) +
                            " is longer than what is left of " + std::to_string(file.size()) + " bytes");
  };
  OpenVariable result;
  uint8_t tag[kTagBytes];
  if (file.size() - at < kTagBytes) return cut();
  SPARSENET_RETURN_IF_ERROR(file.read_at(at, tag, kTagBytes));
  uint32_t type = word32(tag, little);
  uint64_t size = word32(tag + 4, little);
  if (size > file.size() - at - kTagBytes) return cut();
  result.next = at + kTagBytes + size;
  result.stream = std::make_unique<MatStream>(file, at + kTagBytes, size, type == kCompressedType);
  if (type == kCompressedType) {
    SPARSENET_RETURN_IF_ERROR(result.stream->read(tag, kTagBytes));
    type = word32(tag, little);
    size = word32(tag + 4, little);
    if (size > result.stream->most_left()) {
      return invalid_argument(file.path() + ": the compressed data at byte " + std::to_string(at + kTagBytes) +
                              " claims " + std::to_string(size) + " bytes, more than it can hold");
    }
  }
  result.is_matrix = type == kMatrixType && size > 0;
  if (!result.is_matrix) return result;
  MatrixReader reader(*result.stream, size, little);
  const Status read = read_description(reader, little, &result.variable, &result.data);
  if (!read.ok()) {
    // The stream's own errors already name the file.
    if (read.message().rfind(file.path(), 0) == 0) return read;
    return read.with_context(file.path() + ": the variable " + result.variable.name + " at byte " + std::to_string(at));
  }
  result.variable.element_at = at;
  result.matrix_left = reader.left();
  return result;
}

bool resize(std::vector<uint8_t>* bytes, uint64_t size) {
  try {
    bytes->resize(static_cast<size_t>(size));
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace

std::string MatVariable::describe() const {
  static constexpr const char* kNames[] = {"double", "single", "int8",   "uint8", "int16",
                                           "uint16", "int32",  "uint32", "int64", "uint64"};
  const bool numeric = array_class >= kFirstNumericClass && array_class <= kLastNumericClass;
  std::string text = numeric ? kNames[array_class - kFirstNumericClass] : "no numbers";
  if (complex) text = "complex " + text;
  for (size_t i = 0; i < dims.size(); ++i) text += (i > 0 ? ", " : " [") + std::to_string(dims[i]);
  return text + "]";
}

Result<MatFile> MatFile::open(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(auto file, File::open(path));
  MatFile result(std::move(file));
  SPARSENET_RETURN_IF_ERROR(result.read_headers());
  return result;
}

Status MatFile::read_headers() {
  const auto not_matlab = [&] {
    return invalid_argument(path() + ": expected a MATLAB file (version 5), found something else");
  };
  uint8_t header[kHeaderBytes];
  if (file_.size() < kHeaderBytes) return not_matlab();
  SPARSENET_RETURN_IF_ERROR(file_.read_at(0, header, kHeaderBytes));
  little_ = header[126] == 'I' && header[127] == 'M';
  const bool big = header[126] == 'M' && header[127] == 'I';
  if ((!little_ && !big) || word(header + 124, 2, little_) != 0x0100) return not_matlab();
  for (uint64_t at = kHeaderBytes; at < file_.size();) {
    SPARSENET_ASSIGN_OR_RETURN(auto opened, open_variable(file_, little_, at));
    at = opened.next;
    if (!opened.is_matrix) continue;
    if (variables_.size() == kMostVariables) return invalid_argument(path() + ": more than 65,536 variables");
    variables_.push_back(std::move(opened.variable));
  }
  return {};
}

const MatVariable* MatFile::find(const std::string& name) const {
  const auto found =
      std::find_if(variables_.begin(), variables_.end(), [&](const MatVariable& v) { return v.name == name; });
  return found == variables_.end() ? nullptr : &*found;
}

Status MatFile::read_data(const MatVariable& variable, std::vector<uint8_t>* out) const {
  SPARSENET_ASSIGN_OR_RETURN(auto opened, open_variable(file_, little_, variable.element_at));
  const Part& data = opened.data;
  MatrixReader reader(*opened.stream, opened.matrix_left, little_);
  // The headers fit the file when they were read; a file that changed since must not decide about memory either.
  const uint64_t most = std::min(opened.stream->most_left(), opened.matrix_left);
  if (data.size != variable.data_bytes || (!data.small && data.size > most)) {
    return invalid_argument(path() + ": variable " + variable.name + ": it claims " + std::to_string(data.size) +
                            " bytes, more than the file can hold");
  }
  if (!resize(out, data.size)) {
    return out_of_memory(path() + ": variable " + variable.name + ": no memory for its " + std::to_string(data.size) +
                         " bytes");
  }
  SPARSENET_RETURN_IF_ERROR(reader.data(data, out->data()));
  return opened.stream->finish(reader.left());
}

Result<std::vector<uint8_t>> MatFile::read_bytes(const MatVariable& variable) const {
  if (!variable.is_uint8() || variable.stored_type != 2) {
    return invalid_argument(path() + ": variable " + variable.name + ": expected uint8 numbers, found " +
                            variable.describe());
  }
  std::vector<uint8_t> bytes;
  SPARSENET_RETURN_IF_ERROR(read_data(variable, &bytes));
  return bytes;
}

Result<std::vector<double>> MatFile::read_numbers(const MatVariable& variable) const {
  const size_t one = bytes_of_type(variable.stored_type);
  if (one == 0 || variable.complex) {
    return invalid_argument(path() + ": variable " + variable.name + ": expected real numbers, found " +
                            variable.describe());
  }
  std::vector<uint8_t> bytes;
  SPARSENET_RETURN_IF_ERROR(read_data(variable, &bytes));
  std::vector<double> numbers;
  numbers.reserve(bytes.size() / one);
  for (size_t at = 0; at + one <= bytes.size(); at += one) {
    numbers.push_back(to_double(bytes.data() + at, variable.stored_type, little_));
  }
  return numbers;
}

}  // namespace sparsenet::io
