// Status and Result<T>: what every call of the library that can fail returns.
//
// The library never aborts on bad input. A failed call returns a Status whose message is one line that names the file,
// the node or the tensor, what was expected and what was found. Both types are plain values; copies are independent,
// and const access is safe from several threads.
//
// Exceptions. No function that returns a Status or a Result throws: if memory runs out it returns kOutOfMemory, if need
// be with a message that itself needs no memory. (oneDNN and its OpenMP runtime, if used, end the process then.) An
// exception from a caller's callback becomes kInternal with its text. Moves, destructors, and functions that look
// something up or copy into the caller's memory do not throw either. All others create values of standard containers;
// they can fail only for lack of memory, and then throw std::bad_alloc and change nothing:
//
// - constructing a Status with a message, with_context(), and copying Status, Graph, Model and the other value types
//   (try_copy() below copies without throwing);
// - to_string(), Tensor::from(), Tensor::filled(), the add_ functions of Graph and Graph::parameter_count();
// - known_architectures(), epoch_order(), and the first call of plan_targets().
#pragma once

#include <cassert>
#include <new>
#include <optional>
#include <string>
#include <utility>

namespace sparsenet {

enum class StatusCode : int {
  kOk = 0,
  kInvalidArgument = 1,  // the caller's request makes no sense
  kInvalidModel = 2,     // a file or a graph is damaged or contradicts itself
  kUnsupported = 3,      // meaningful, but not supported by this build or this backend
  kNotFound = 4,         // a file, a name or a tensor is missing
  kIo = 5,               // the operating system refused to read or to write
  kOutOfMemory = 6,
  kInternal = 7,   // a bug in the library
  kNotFinite = 8,  // a computation gave NaN or infinity
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure with context in front: "context: message". An ok status stays as it is.
  Status with_context(const std::string& context) const {
    return ok() ? *this : Status(code_, context + ": " + message_);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status invalid_argument(std::string m) {
  return {StatusCode::kInvalidArgument, std::move(m)};
}
inline Status invalid_model(std::string m) {
  return {StatusCode::kInvalidModel, std::move(m)};
}
inline Status unsupported(std::string m) {
  return {StatusCode::kUnsupported, std::move(m)};
}
inline Status not_found(std::string m) {
  return {StatusCode::kNotFound, std::move(m)};
}
inline Status io_error(std::string m) {
  return {StatusCode::kIo, std::move(m)};
}
inline Status out_of_memory(std::string m) {
  return {StatusCode::kOutOfMemory, std::move(m)};
}
inline Status internal_error(std::string m) {
  return {StatusCode::kInternal, std::move(m)};
}

// Either a value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                                  // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT: implicit on purpose

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  // Only when ok().
  T& value() & {
    assert(ok());
    return *value_;
  }
  const T& value() const& {
    assert(ok());
    return *value_;
  }
  T&& value() && {
    assert(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

// Returns a copy of a Graph, a Model or any other value, or kOutOfMemory; does not throw.
template <class T>
Result<T> try_copy(const T& value) noexcept {
  try {
    return Result<T>(T(value));
  } catch (const std::bad_alloc&) {
    return Result<T>(Status(StatusCode::kOutOfMemory, "no memory"));  // short enough to need no memory itself
  }
}

}  // namespace sparsenet

// Returns the failure of `expr` from the enclosing function, if it failed.
#define SPARSENET_RETURN_IF_ERROR(expr)                    \
  do {                                                     \
    ::sparsenet::Status sparsenet_status_ = (expr);        \
    if (!sparsenet_status_.ok()) return sparsenet_status_; \
  } while (false)

// Assigns the value of a Result, or returns its failure from the enclosing function:
//   SPARSENET_ASSIGN_OR_RETURN(const Model model, load_model(path));
// `target` is a declaration or something that can be assigned to. Expands to more than one statement, so it needs
// braces after an `if`.
#define SPARSENET_ASSIGN_OR_RETURN(target, ...) \
  SPARSENET_ASSIGN_RESULT_OR_RETURN(SPARSENET_JOIN(sparsenet_result_, __LINE__), target, (__VA_ARGS__))
#define SPARSENET_ASSIGN_RESULT_OR_RETURN(result, target, expression) \
  auto result = expression;                                           \
  if (!result.ok()) return result.status();                           \
  target = std::move(*result)
#define SPARSENET_JOIN(a, b) SPARSENET_JOIN_EXPANDED(a, b)
#define SPARSENET_JOIN_EXPANDED(a, b) a##b
