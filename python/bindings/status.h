// From the engine's Status and Result to Python's exceptions.
#pragma once

#include <sparsenet/status.h>

#include <utility>

namespace sparsenet::python {

// Raises sparsenet.Error with the message and the code's name if the status is a failure. Needs the GIL.
void check(const Status& status);

template <class T>
T take(Result<T>&& result) {
  check(result.status());
  return std::move(result).value();
}

}  // namespace sparsenet::python
