#include "bindings/core.h"

#include <nanobind/stl/string.h>
#include <sparsenet/session.h>

#include "bindings/python_parts.h"

NB_MODULE(_core, module) {
  using namespace sparsenet::python;
  module.doc() = "What the package sparsenet is built on; private.";
  module.def("version", &sparsenet::version);
  module.def("usable_cpus", &sparsenet::usable_cpus);
  nanobind::set_leak_warnings(false);  // threads that still run when the interpreter ends keep what they use
  module.def("close_down", &close_down);
  bind_models(module);
  bind_sessions(module);
  bind_trainers(module);
  bind_converter(module);
  bind_images(module);
  bind_command_lines(module);
}
