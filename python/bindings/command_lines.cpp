// The programs sparsenet and sparsenet-convert, as functions.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/core.h"
#include "cli/command_line.h"
#include "converter/command_line.h"
#include "program/program.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

// Returns the exit code of the process.
int run(std::vector<std::string> words, int (*body)(int, char**)) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const nb::gil_scoped_release release;
  return program::run(static_cast<int>(words.size()), argv.data(), body);
}

}  // namespace

void bind_command_lines(nb::module_& module) {
  module.def("run_sparsenet", [](std::vector<std::string> argv) { return run(std::move(argv), cli::command_line); });
  module.def("run_sparsenet_convert", [](std::vector<std::string> argv) {
    program::set_activity("converting");
    return run(std::move(argv), converter::command_line);
  });
}

}  // namespace sparsenet::python
