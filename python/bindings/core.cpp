#include "bindings/core.h"

#include <nanobind/stl/string.h>
#include <sparsenet/session.h>

NB_MODULE(_core, module) {
  using namespace sparsenet::python;
  module.doc() = "What the package sparsenet is built on; private.";
  module.def("version", &sparsenet::version);
  module.def("usable_cpus", &sparsenet::usable_cpus);
  bind_models(module);
  bind_sessions(module);
  bind_trainers(module);
  bind_converter(module);
  bind_images(module);
  bind_command_lines(module);
}
