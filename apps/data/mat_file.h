// Numeric arrays from MATLAB files (version 5, "Level 5 MAT-file"), compressed or not, either byte order.
//
// Reading follows one rule: memory is allocated only for data that the file can contain. Before any allocation, the
// size that an array claims is compared with its shape, with the size of the file, and for compressed data with the
// largest expansion that deflate can achieve. Afterwards the data is compared with the claimed size, and compressed
// data with its checksum. Format: "MAT-File Format", The MathWorks.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/file.h"

namespace sparsenet::io {

// One variable, as its header describes it.
struct MatVariable {
  std::string name;
  uint32_t array_class = 0;  // as in the format: 6 double, 9 uint8, ...; 1 to 5 are not plain numbers
  bool complex = false;
  std::vector<uint64_t> dims;  // column-major: the first index runs fastest
  uint64_t element_at = 0;     // position of its description in the file
  uint64_t elements = 0;       // the product of dims
  uint32_t stored_type = 0;    // type of the numbers in the file, which may be narrower than the class
  uint64_t data_bytes = 0;

  bool is_uint8() const { return array_class == 9 && !complex; }
  bool is_double() const { return array_class == 6 && !complex; }
  std::string describe() const;  // "uint8 [32, 32, 3, 4]"
};

class MatFile {
 public:
  // Reads the headers of all variables. Errors name the file, what was expected and what was found.
  static Result<MatFile> open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  // Null if there is none with this name.
  const MatVariable* find(const std::string& name) const;

  // All numbers in the order in which they are stored. read_bytes: only for uint8 arrays. read_numbers: for any real
  // array.
  Result<std::vector<uint8_t>> read_bytes(const MatVariable& variable) const;
  Result<std::vector<double>> read_numbers(const MatVariable& variable) const;

 private:
  explicit MatFile(File file) : file_(std::move(file)) {}
  Status read_headers();
  Status read_data(const MatVariable& variable, std::vector<uint8_t>* out) const;

  File file_;
  bool little_ = true;
  std::vector<MatVariable> variables_;
};

}  // namespace sparsenet::io
