// How checks end early: by exceptions, which the process of the check turns into a line for people.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace sparsenet::plugin_check {

// The plugin does not do what the interface says.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// There is nothing to check.
struct Skip : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[gnu::format(printf, 1, 2)]] inline std::string text(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  return line;
}

inline void require(bool condition, const std::string& otherwise) {
  if (!condition) throw Failure(otherwise);
}

}  // namespace sparsenet::plugin_check
