// Files that goldens are stored in; a test fails where one cannot be read.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "support/reference.h"

namespace sparsenet::test {

inline std::vector<uint8_t> read_bytes(const std::string& path) {
  Result<std::vector<uint8_t>> bytes = converter::read_file(path);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
  return std::move(bytes).value();
}

inline Array read_array(const std::string& npy) {
  const std::vector<uint8_t> bytes = read_bytes(npy);
  const Result<converter::NpyView> view = converter::parse_npy(bytes.data(), bytes.size());
  REQUIRE_MESSAGE(view.ok(), view.status().message());
  Array out;
  out.shape = view->shape;
  for (const float value : converter::npy_floats(*view)) out.data.push_back(static_cast<double>(value));
  return out;
}

}  // namespace sparsenet::test
