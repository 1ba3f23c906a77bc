// guarded(): the boundary of the library. Every public function that returns a Status or a Result runs its body in it,
// so that no exception leaves the library; sparsenet/status.h says what that promises.
#pragma once

#include <sparsenet/status.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparsenet {

// The error for a failed allocation. If there is no memory even for its message, the message is one that std::string
// holds without allocating.
inline Status no_memory(const char* doing, const std::string& subject) noexcept {
  try {
    return out_of_memory((subject.empty() ? subject : subject + ": ") + "no memory left while " + doing);
  } catch (...) {
    return {StatusCode::kOutOfMemory, "no memory"};
  }
}

inline Status unexpected(const char* doing, const char* what) noexcept {
  try {
    return internal_error(std::string("an exception while ") + doing + ": " + what);
  } catch (...) {
    return {StatusCode::kInternal, "exception"};
  }
}

// Returns what `function` returns, a Status or a Result; an exception becomes an error. In its message, `doing`
// completes "while ..." ("loading a model"), and `subject`, if not empty, stands in front (a path).
template <class Function>
auto guarded(const char* doing, const std::string& subject, Function&& function) noexcept -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return no_memory(doing, subject);
  } catch (const std::length_error&) {  // a container would be larger than can be addressed
    return no_memory(doing, subject);
  } catch (const std::exception& error) {
    return unexpected(doing, error.what());
  } catch (...) {
    return unexpected(doing, "of an unknown type");
  }
}
template <class Function>
auto guarded(const char* doing, Function&& function) noexcept -> decltype(function()) {
  return guarded(doing, std::string(), std::forward<Function>(function));
}

}  // namespace sparsenet
