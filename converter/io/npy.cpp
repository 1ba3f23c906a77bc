#include "converter/io/npy.h"

#include <utility>

#include "io/npy_header.h"

namespace sparsenet::converter {
namespace {

Result<ElementType> element_type(const io::NpyHeader& header) {
  struct Row {
    char kind;
    size_t bytes;
    ElementType type;
  };
  static constexpr Row kRows[] = {
      {'f', 4, ElementType::kFloat32}, {'f', 8, ElementType::kFloat64}, {'f', 2, ElementType::kFloat16},
      {'i', 1, ElementType::kInt8},    {'u', 1, ElementType::kUInt8},   {'i', 2, ElementType::kInt16},
      {'u', 2, ElementType::kUInt16},  {'i', 4, ElementType::kInt32},   {'u', 4, ElementType::kUInt32},
      {'i', 8, ElementType::kInt64},   {'u', 8, ElementType::kUInt64},  {'b', 1, ElementType::kBool},
  };
  if (header.big_endian && header.item_bytes > 1) {
    return unsupported("npy element type: expected little-endian numbers, found big-endian " + header.type_name());
  }
  for (const Row& row : kRows) {
    if (row.kind == header.kind && row.bytes == header.item_bytes) return row.type;
  }
  return internal_error("npy element type " + header.type_name());
}

}  // namespace

Result<NpyView> parse_npy(const uint8_t* data, size_t size) {
  SPARSENET_ASSIGN_OR_RETURN(const size_t header_bytes, io::npy_header_bytes(data, size));
  SPARSENET_ASSIGN_OR_RETURN(io::NpyHeader header, io::parse_npy_header(data, header_bytes, size));
  NpyView view;
  SPARSENET_ASSIGN_OR_RETURN(view.type, element_type(header));
  view.fortran_order = header.fortran_order;
  view.shape = std::move(header.shape);
  view.data = data + header.data_offset;
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
