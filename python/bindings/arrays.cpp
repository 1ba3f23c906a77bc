#include "bindings/arrays.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "bindings/python_parts.h"
#include "bindings/status.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

// The letters of Python's module `struct`, as buffers name their types.
bool has_type(const Py_buffer& view, DataType type) {
  const char* format = view.format != nullptr ? view.format : "B";
  if (*format == '=' || *format == '<' || *format == '@') ++format;
  if (format[0] == 0 || format[1] != 0) return false;
  if (view.itemsize != static_cast<Py_ssize_t>(size_of(type))) return false;
  switch (type) {
    case DataType::kFloat32:
      return *format == 'f';
    case DataType::kFloat16:
      return *format == 'e';
    case DataType::kInt32:
      return *format == 'i' || *format == 'l';
    case DataType::kInt64:
      return *format == 'l' || *format == 'q';
    case DataType::kUInt8:
      return *format == 'B';
    case DataType::kInt8:
      return *format == 'b';
  }
  return false;
}

bool has_shape(const Py_buffer& view, const Shape& shape) {
  return view.ndim == static_cast<int>(shape.size()) &&
         std::equal(shape.begin(), shape.end(), view.shape, [](int64_t a, Py_ssize_t b) { return a == b; });
}

size_t elements_of(const Py_buffer& view) {
  return view.itemsize > 0 ? static_cast<size_t>(view.len / view.itemsize) : 0;
}

nb::object new_array(DataType type, const Shape& shape) {
  // Looked up once: an output is made in every run.
  static const nb::handle empty = nb::module_::import_("numpy").attr("empty").inc_ref();
  return empty(to_tuple(shape), nb::str(name(type)));
}

}  // namespace

ReadArray::ReadArray(nb::handle object, DataType type, const Shape& shape, const std::string& name, bool of_session) {
  if (take(object, type, shape)) return;
  const nb::object converted = python_part("_arrays", "as_array")(object, nb::str(sparsenet::name(type)),
                                                                  to_tuple(shape), to_text(name), of_session);
  if (!take(converted, type, shape)) check(internal_error("'" + name + "': an array that was converted does not fit"));
}

ReadArray::~ReadArray() {
  if (view_.obj != nullptr) PyBuffer_Release(&view_);
}

bool ReadArray::take(nb::handle object, DataType type, const Shape& shape) {
  if (!PyObject_CheckBuffer(object.ptr())) return false;
  if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    view_ = {};
    return false;
  }
  if (has_type(view_, type) && (shape.empty() || has_shape(view_, shape))) {
    elements_ = elements_of(view_);
    return true;
  }
  PyBuffer_Release(&view_);
  view_ = {};
  return false;
}

Shape ReadArray::shape() const {
  return Shape(view_.shape, view_.shape + view_.ndim);
}

WriteArray::WriteArray(nb::handle object, DataType type, const Shape& shape, const std::string& name) {
  const bool given = object.is_valid() && !object.is_none();
  object_ = given ? nb::borrow(object) : new_array(type, shape);
  constexpr int kFlags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE;
  const bool open = PyObject_CheckBuffer(object_.ptr()) != 0 && PyObject_GetBuffer(object_.ptr(), &view_, kFlags) == 0;
  if (!open) {
    PyErr_Clear();
    view_ = {};
  }
  if (open && has_type(view_, type) && has_shape(view_, shape)) return;
  if (open) PyBuffer_Release(&view_);
  view_ = {};
  check(invalid_argument("output '" + name + "': expected a writable, C-contiguous array of " + sparsenet::name(type) +
                         " " + to_string(shape)));
}

WriteArray::~WriteArray() {
  if (view_.obj != nullptr) PyBuffer_Release(&view_);
}

nb::tuple to_tuple(const Shape& shape) {
  nb::list list;
  for (const int64_t size : shape) list.append(size);
  return nb::tuple(list);
}

nb::tuple describe(const TensorInfo& tensor) {
  nb::object scale = nb::none(), zero_point = nb::none();
  if (tensor.quantization.scales.size() == 1) {
    scale = nb::cast(static_cast<double>(tensor.quantization.scales[0]));
    zero_point = nb::cast(tensor.quantization.zero_points[0]);
  }
  return nb::make_tuple(to_text(tensor.name), name(tensor.type), to_tuple(tensor.shape), scale, zero_point);
}

nb::object view_of(const Tensor& tensor) {
  auto kept = std::make_unique<Tensor>(tensor);
  const nb::capsule owner(kept.get(), [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  const Tensor* const t = kept.release();
  using Code = nb::dlpack::dtype_code;
  const bool real = t->type == DataType::kFloat32 || t->type == DataType::kFloat16;
  nb::dlpack::dtype type{};
  type.code = static_cast<uint8_t>(real ? Code::Float : t->type == DataType::kUInt8 ? Code::UInt : Code::Int);
  type.bits = static_cast<uint8_t>(8 * size_of(t->type));
  type.lanes = 1;
  const std::vector<size_t> shape(t->shape.begin(), t->shape.end());
  return nb::cast(nb::ndarray<nb::numpy, nb::ro>(t->data, shape.size(), shape.data(), owner, nullptr, type));
}

}  // namespace sparsenet::python
