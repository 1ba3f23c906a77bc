// One NumPy array (.npy, format versions 1 to 3) in memory.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include "converter/io/numeric.h"

namespace sparsenet::converter {

struct NpyView {
  ElementType type = ElementType::kFloat32;
  bool fortran_order = false;
  Shape shape;
  const uint8_t* data = nullptr;  // within the given bytes
};

// Little-endian floats, integers and booleans; C and Fortran order. Checks that the data has exactly the length that
// type and shape require.
Result<NpyView> parse_npy(const uint8_t* data, size_t size);

// The elements as float32 in C order. Throws BudgetExceeded. If the bytes have an `owner`, they are shared if possible.
Elements<float> npy_floats(const NpyView& view, const std::shared_ptr<const void>& owner = nullptr);

}  // namespace sparsenet::converter
