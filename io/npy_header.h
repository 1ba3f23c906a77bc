// The header of a NumPy array file (.npy, format versions 1.0 to 3.0): float16/32/64, booleans and integers, either
// byte order, C and Fortran order, any rank up to 32. Object and structured arrays are refused. Format:
// numpy.lib.format, "NPY format" in the NumPy manual.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace sparsenet::io {

constexpr size_t kNpyStartBytes = 12;  // at most so many tell how long the header is
constexpr size_t kMaxNpyRank = 32;     // NumPy's own limit

struct NpyHeader {
  char kind = 'f';  // as in NumPy: 'f' float, 'i' signed, 'u' unsigned, 'b' boolean
  size_t item_bytes = 4;
  bool big_endian = false;
  bool fortran_order = false;
  Shape shape;
  uint64_t data_offset = 0;  // from the start of the file

  int64_t elements() const { return element_count(shape); }
  bool is_integer() const { return kind == 'i' || kind == 'u' || kind == 'b'; }
  std::string type_name() const;  // "float32", "uint8", ...
};

// How many bytes the header takes with what stands in front of it, from the first bytes of a file of `file_bytes` bytes
// (kNpyStartBytes of them, or all that there are).
Result<size_t> npy_header_bytes(const uint8_t* start, uint64_t file_bytes);

// Reads a header of that many bytes, and checks that the data is exactly as long as shape and type ask for. Messages do
// not name the file.
Result<NpyHeader> parse_npy_header(const uint8_t* header, size_t bytes, uint64_t file_bytes);

}  // namespace sparsenet::io
