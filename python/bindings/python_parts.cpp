#include "bindings/python_parts.h"

#include <atomic>
#include <chrono>
#include <thread>

namespace nb = nanobind;

namespace sparsenet::python {
namespace {

std::atomic<bool> closing{false};
std::atomic<int> coming_back{0};
std::thread::id closer;  // written before `closing`

}  // namespace

nb::str to_text(const std::string& bytes) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape"));
}

std::string bytes_of(const nb::bytes& encoded) {
  return std::string(encoded.c_str(), encoded.size());
}

WithoutGil::WithoutGil() : state_(PyEval_SaveThread()) {}

WithoutGil::~WithoutGil() {
  // Either close_down() sees this thread here and waits for it, or this thread sees that it has begun.
  ++coming_back;
  if (closing && std::this_thread::get_id() != closer) {
    --coming_back;
    for (;;) std::this_thread::sleep_for(std::chrono::hours(24));
  }
  PyEval_RestoreThread(state_);
  --coming_back;
}

void close_down() {
  closer = std::this_thread::get_id();
  closing = true;
  PyThreadState* const state = PyEval_SaveThread();
  while (coming_back > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  PyEval_RestoreThread(state);
}

}  // namespace sparsenet::python
