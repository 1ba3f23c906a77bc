// Between the engine and the interpreter: names, paths and arguments, and how long calls go on without the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <sparsenet/status.h>

#include <string>

namespace sparsenet::python {

// sparsenet.MODULE.NAME
inline nanobind::object python_part(const char* module, const char* name) {
  return nanobind::module_::import_((std::string("sparsenet.") + module).c_str()).attr(name);
}

// Names in files need not be valid UTF-8; what is not becomes surrogates, as in Python's own names of files.
nanobind::str to_text(const std::string& bytes);

// The reverse: the bytes of a text or a path, which Python has encoded (sparsenet._values).
std::string bytes_of(const nanobind::bytes& encoded);

// Releases the GIL for as long as the object lives. A thread that comes back while the interpreter is being shut down
// waits forever instead of being ended inside the engine.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

// To be called at the interpreter's exit, by the thread that ends it.
void close_down();

}  // namespace sparsenet::python
