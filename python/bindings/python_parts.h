// Parts of the package that are written in Python and used by the extension module.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

namespace sparsenet::python {

// sparsenet.MODULE.NAME
inline nanobind::object python_part(const char* module, const char* name) {
  return nanobind::module_::import_((std::string("sparsenet.") + module).c_str()).attr(name);
}

}  // namespace sparsenet::python
