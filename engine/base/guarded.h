// guarded(): the border of the library. Every public function that returns a Status or a Result has its body in one, so
// that no exception leaves it; see sparsenet/status.h for what that promises.
#pragma once

#include <sparsenet/status.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace sparsenet {

// Where not even the message has room, one that std::string keeps within itself.
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

// What `function` returns, a Status or a Result. `doing` completes "while ...": "loading a model"; `subject` stands in
// front, where there is one: a path.
template <class Function>
auto guarded(const char* doing, const std::string& subject, Function&& function) noexcept -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return no_memory(doing, subject);
  } catch (const std::length_error&) {  // a container beyond what can be addressed
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
