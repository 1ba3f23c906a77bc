// NumPy .npy files (format versions 1.0 to 3.0): float16/32/64, booleans and integers, either byte order, C and Fortran
// order, any rank up to 32. Object and structured arrays are refused.
// Format: numpy.lib.format, "NPY format" in the NumPy manual.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/file.h"
#include "io/npy_header.h"

namespace sparsenet::io {

// Checks that the data is exactly as long as shape and type ask for.
Result<NpyHeader> read_npy_header(const File& file);

// Reads elements [first, first + count) in the order in which they are stored. Integers become the nearest float32;
// float64 is rounded.
Status read_npy_floats(const File& file, const NpyHeader& header, int64_t first, int64_t count, float* out);
// The same for integer arrays. kInvalidArgument for floats and for values above the int64 range.
Status read_npy_integers(const File& file, const NpyHeader& header, int64_t first, int64_t count, int64_t* out);

struct FloatArray {
  Shape shape;
  std::vector<float> values;  // row-major
  std::string type_name;      // in the file, as NumPy calls it: "float32", "int8", ...
};

// A whole array, converted to row-major order.
Result<FloatArray> read_npy(const std::string& path);

// Float32, row-major, version 1.0; there is never an incomplete file at `path`.
Status write_npy(const std::string& path, const Shape& shape, const float* values);
// The same for bytes: int8, or uint8.
Status write_npy(const std::string& path, const Shape& shape, DataType type, const uint8_t* values);

}  // namespace sparsenet::io
