// Arrays of Python as plain memory, without copies where their type and layout allow it.
#pragma once

#include <nanobind/nanobind.h>
#include <sparsenet/session.h>

#include <cstddef>
#include <string>

namespace sparsenet::python {

// An array for reading: row-major, of one type. It keeps the Python object alive and must be destroyed with the GIL
// held; in between the memory may be read without it.
class ReadArray {
 public:
  // Anything that NumPy takes as an array, tensors of other frameworks included. `name` is for messages:
  // sparsenet.Error if the shape differs (an empty `shape`: any), or if the numbers cannot become `type` without a loss
  // that matters (sparsenet._arrays.as_array decides). `of_session`: hints may be about sessions.
  ReadArray(nanobind::handle object, DataType type, const Shape& shape, const std::string& name,
            bool of_session = false);
  ~ReadArray();
  ReadArray(const ReadArray&) = delete;
  ReadArray& operator=(const ReadArray&) = delete;

  template <class T>
  const T* data() const {
    return static_cast<const T*>(view_.buf);
  }
  const void* bytes() const { return view_.buf; }
  size_t elements() const { return elements_; }
  Shape shape() const;

 private:
  bool take(nanobind::handle object, DataType type, const Shape& shape);

  Py_buffer view_{};
  size_t elements_ = 0;
};

// An array of NumPy for writing: `object` if it fits, or a new one if it is None.
class WriteArray {
 public:
  WriteArray(nanobind::handle object, DataType type, const Shape& shape, const std::string& name);
  ~WriteArray();
  WriteArray(const WriteArray&) = delete;
  WriteArray& operator=(const WriteArray&) = delete;

  template <class T>
  T* data() const {
    return static_cast<T*>(view_.buf);
  }
  nanobind::object object() const { return object_; }

 private:
  nanobind::object object_;
  Py_buffer view_{};
};

nanobind::tuple to_tuple(const Shape& shape);

// Name, type, shape, and of integers scale and zero point (else None): the fields of sparsenet.TensorSpec.
nanobind::tuple describe(const TensorInfo& tensor);

// A read-only array of NumPy over the tensor's own memory, which it keeps alive.
nanobind::object view_of(const Tensor& tensor);

}  // namespace sparsenet::python
