// Call: what every function of the fake driver begins with: the lock, the count, a fault that was asked for, and
// whether a context is current.
#pragma once

#include <string>

#include "tests/fake_cuda/books.h"

#define FAKE_EXPORT extern "C" __attribute__((visibility("default")))

namespace fake {

class Call {
 public:
  explicit Call(const char* name) : books_(Books::get()), lock_(books_.mutex), name_(name) {
    injected_ = books_.faults.count(name);
    if (is_fault(injected_) && !context_stack().empty()) context_stack().back()->lost = injected_;
  }

  Books& books() { return books_; }
  // The code that was asked for; 0: none. Functions that free something free it nevertheless: nobody frees twice.
  Result injected() const { return injected_; }
  Result misused(const std::string& what, Result code) { return books_.misused(name_ + ": " + what, code); }

  // Whether the function can go on without a context, or in the current one; otherwise *result is what it returns.
  bool begin(Result* result) {
    *result = injected_;
    if (!injected_ && !books_.is_initialized) *result = misused("cuInit has not been called", kNotInitialized);
    return *result == 0;
  }
  bool begin(Context** context, Result* result) {
    return begin(result) && has_context(context, result) && (*result = (*context)->lost) == 0;
  }
  // For functions that free something.
  bool begin_release(Context** context, Result* result) {
    if (!has_context(context, result)) return false;
    *result = injected_ ? injected_ : (*context)->lost;
    return true;
  }

  // The object of a handle; null, and a misuse, if it is not one or is of another context.
  template <class Registry, class Handle>
  auto find(const Registry& registry, Handle handle, const Context* context) {
    auto object = registry.find(handle);
    if (object && object->context == context) return object;
    misused(object ? "the object is of another context" : "the handle is not, or no longer, valid", 0);
    object.reset();
    return object;
  }

 private:
  static bool is_fault(Result code) { return code == 700 || code == 702 || (code >= 714 && code <= 719); }
  bool has_context(Context** context, Result* result) {
    if (context_stack().empty()) {
      *result = misused("no context is current", kInvalidContext);
      return false;
    }
    *context = context_stack().back();
    if ((*context)->retained == 0) misused("the current context has been released", 0);
    return true;
  }

  Books& books_;
  std::lock_guard<std::mutex> lock_;
  std::string name_;
  Result injected_ = 0;
};

}  // namespace fake
