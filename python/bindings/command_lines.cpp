// The programs sparsenet and sparsenet-convert, as functions.
#include <string>
#include <vector>

#include "bindings/core.h"
#include "bindings/python_parts.h"
#include "cli/command_line.h"
#include "converter/command_line.h"
#include "program/program.h"

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

// Returns the exit code of the process.
int run(const nb::list& arguments, int (*body)(int, char**)) {
  std::vector<std::string> words;
  for (const nb::handle word : arguments) words.push_back(bytes_of(nb::cast<nb::bytes>(word)));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const WithoutGil released;
  return program::run(static_cast<int>(words.size()), argv.data(), body);
}

}  // namespace

void bind_command_lines(nb::module_& module) {
  module.def("run_sparsenet", [](const nb::list& argv) { return run(argv, cli::command_line); });
  module.def("run_sparsenet_convert", [](const nb::list& argv) {
    program::set_activity("converting");
    return run(argv, converter::command_line);
  });
}

}  // namespace sparsenet::python
