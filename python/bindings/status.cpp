#include "bindings/status.h"

#include <nanobind/nanobind.h>

#include "bindings/python_parts.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

const char* code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "ok";
    case StatusCode::kInvalidArgument:
      return "invalid_argument";
    case StatusCode::kInvalidModel:
      return "invalid_model";
    case StatusCode::kUnsupported:
      return "unsupported";
    case StatusCode::kNotFound:
      return "not_found";
    case StatusCode::kIo:
      return "io";
    case StatusCode::kOutOfMemory:
      return "out_of_memory";
    case StatusCode::kInternal:
      return "internal";
    case StatusCode::kNotFinite:
      return "not_finite";
  }
  return "internal";
}

}  // namespace

void check(const Status& status) {
  if (status.ok()) return;
  // Names in files need not be valid UTF-8; Python's text has to be.
  const nb::object message = nb::steal(
      PyUnicode_DecodeUTF8(status.message().data(), static_cast<Py_ssize_t>(status.message().size()), "replace"));
  const nb::object type = python_part("_errors", "Error");
  const nb::object error = type(message, code_name(status.code()));
  PyErr_SetObject(type.ptr(), error.ptr());
  throw nb::python_error();
}

}  // namespace sparsenet::python
