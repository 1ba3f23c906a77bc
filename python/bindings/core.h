// The parts of the extension module sparsenet._core. It is private: the package's Python classes are what users meet,
// and the place of documentation and defaults. Functions release the GIL while they compute; objects that hold state
// are locked, so that several threads of Python may share one.
#pragma once

#include <nanobind/nanobind.h>
#include <sparsenet/model.h>

#include <cstdint>
#include <memory>
#include <string>

namespace sparsenet::python {

// A model as Python holds it. Sessions and trainers take what they need from it and do not keep it.
struct PyModel {
  Model model;
  std::string path;         // for messages; empty: it was not read from a file
  uint64_t file_bytes = 0;  // 0: likewise

  // The name that it states, or else that of its file.
  std::string name() const;
};

void bind_models(nanobind::module_& module);
void bind_sessions(nanobind::module_& module);
void bind_trainers(nanobind::module_& module);
void bind_converter(nanobind::module_& module);
void bind_images(nanobind::module_& module);
void bind_command_lines(nanobind::module_& module);

}  // namespace sparsenet::python
