#include "data/npy.h"

#include <sparsenet/model.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "io/numbers.h"

namespace sparsenet::io {
namespace {

constexpr size_t kChunkBytes = 1 << 16;

float to_float(uint64_t bits, char kind, size_t bytes) {
  if (kind == 'f') {
    if (bytes == 2) return half_to_float(static_cast<uint16_t>(bits));
    if (bytes == 4) return bits_to_float(static_cast<uint32_t>(bits));
    return static_cast<float>(bits_to_double(bits));
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
      // NumPy writes 0 and 1; whatever else a byte holds is true.
      SPARSENET_RETURN_IF_ERROR(use(done + i, header.kind == 'b' ? uint64_t{bits != 0} : bits));
    }
    done += now;
  }
  return {};
}

// Row-major values of an array whose values stand in column-major order.
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

Result<NpyHeader> read_npy_header(const File& file) {
  uint8_t start[kNpyStartBytes] = {};
  const auto there = static_cast<size_t>(std::min<uint64_t>(sizeof start, file.size()));
  SPARSENET_RETURN_IF_ERROR(file.read_at(0, start, there));
  const Result<size_t> bytes = npy_header_bytes(start, file.size());
  if (!bytes.ok()) return bytes.status().with_context(file.path());
  std::vector<uint8_t> header(*bytes);
  SPARSENET_RETURN_IF_ERROR(file.read_at(0, header.data(), header.size()));
  Result<NpyHeader> parsed = parse_npy_header(header.data(), header.size(), file.size());
  return parsed.ok() ? std::move(parsed) : parsed.status().with_context(file.path());
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
  SPARSENET_ASSIGN_OR_RETURN(auto file, File::open(path));
  SPARSENET_ASSIGN_OR_RETURN(auto header, read_npy_header(file));
  FloatArray array;
  array.shape = header.shape;
  array.type_name = header.type_name();
  array.values.resize(static_cast<size_t>(header.elements()));
  SPARSENET_RETURN_IF_ERROR(read_npy_floats(file, header, 0, header.elements(), array.values.data()));
  if (header.fortran_order && array.shape.size() > 1) array.values = from_fortran_order(array.shape, array.values);
  return array;
}

namespace {

Status write_array(const std::string& path, const Shape& shape, const char* type, const std::vector<uint8_t>& data) {
  std::string sizes;
  for (const int64_t size : shape) sizes += std::to_string(size) + ", ";
  if (shape.size() > 1) sizes.resize(sizes.size() - 2);
  if (shape.size() == 1) sizes.pop_back();
  std::string text = std::string("{'descr': '") + type + "', 'fortran_order': False, 'shape': (" + sizes + "), }";
  // NumPy aligns the data to 64 bytes and ends the header with a line feed.
  text.append(63 - (10 + text.size()) % 64, ' ');
  text.push_back('\n');

  std::vector<uint8_t> bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  bytes.push_back(static_cast<uint8_t>(text.size() & 255));
  bytes.push_back(static_cast<uint8_t>(text.size() >> 8));
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return write_file_atomically(path, bytes.data(), bytes.size());
}

Result<size_t> count_of(const std::string& path, const Shape& shape) {
  const int64_t elements = element_count(shape);
  if (elements >= 0 && shape.size() <= kMaxNpyRank) return static_cast<size_t>(elements);
  return invalid_argument(path + ": cannot write an array of shape " + to_string(shape));
}

}  // namespace

Status write_npy(const std::string& path, const Shape& shape, const float* values) {
  SPARSENET_ASSIGN_OR_RETURN(const size_t count, count_of(path, shape));
  std::vector<uint8_t> data;
  data.reserve(count * 4);
  for (size_t i = 0; i < count; ++i) {
    uint32_t word;
    std::memcpy(&word, values + i, sizeof word);
    for (int shift = 0; shift < 32; shift += 8) data.push_back(static_cast<uint8_t>(word >> shift));
  }
  return write_array(path, shape, "<f4", data);
}

Status write_npy(const std::string& path, const Shape& shape, DataType type, const uint8_t* values) {
  SPARSENET_ASSIGN_OR_RETURN(const size_t count, count_of(path, shape));
  return write_array(path, shape, type == DataType::kInt8 ? "|i1" : "|u1", {values, values + count});
}

}  // namespace sparsenet::io
