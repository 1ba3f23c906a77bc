// Status and Result<T>: how every fallible call of the library answers.
//
// The library never aborts on bad input. A failed call returns a Status whose message is one line that names the file,
// the node or the tensor, what was expected and what was found. Both types are plain values; copies are independent,
// and const access is safe from several threads.
//
// Exceptions. No function that returns a Status or a Result throws: where memory runs out the answer is kOutOfMemory,
// with a message that needs none itself if there is none left (oneDNN and its OpenMP, where they are asked for, end the
// process then); what a caller's own callback throws is kInternal with its text. Nor do moves, destructors and
// functions that look something up or copy into the caller's memory. The rest makes values of standard containers, can
// fail at nothing but memory, and throws std::bad_alloc then, with nothing changed:
//
// - making a Status with a message, with_context(), and copies of Status, Graph, Model and the other value types.
//   try_copy() below copies without throwing;
// - to_string(), Tensor::from(), Tensor::filled(), the add_ functions of Graph and Graph::parameter_count();
// - known_architectures(), epoch_order(), and plan_targets() when it is first called.
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
  kUnsupported = 3,      // meaningful, but not something this build or this backend does
  kNotFound = 4,         // a file, a name or a tensor is missing
  kIo = 5,               // the operating system refused to read or to write
  kOutOfMemory = 6,
  kInternal = 7,   // a bug of ours
  kNotFinite = 8,  // a computation gave NaN or infinity
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure seen one level up: "context: message". An ok status stays as it is.
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

// A copy of a Graph, a Model or any other value, or kOutOfMemory; does not throw.
template <class T>
Result<T> try_copy(const T& value) noexcept {
  try {
    return Result<T>(T(value));
  } catch (const std::bad_alloc&) {
    return Result<T>(Status(StatusCode::kOutOfMemory, "no memory"));  // short enough to need none itself
  }
}

}  // namespace sparsenet

// Leaves the enclosing function with the failure of `expr`, if it failed.
#define SPARSENET_RETURN_IF_ERROR(expr)                    \
  do {                                                     \
    ::sparsenet::Status sparsenet_status_ = (expr);        \
    if (!sparsenet_status_.ok()) return sparsenet_status_; \
  } while (false)

// The value of a Result, or out of the enclosing function with its failure:
//   SPARSENET_ASSIGN_OR_RETURN(const Model model, load_model(path));
// `target` is a declaration or something that can be assigned to. Two statements: it needs braces after an `if`.
#define SPARSENET_ASSIGN_OR_RETURN(target, ...) \
  SPARSENET_ASSIGN_RESULT_OR_RETURN(SPARSENET_JOIN(sparsenet_result_, __LINE__), target, (__VA_ARGS__))
#define SPARSENET_ASSIGN_RESULT_OR_RETURN(result, target, expression) \
  auto result = expression;                                           \
  if (!result.ok()) return result.status();                           \
  target = std::move(*result)
#define SPARSENET_JOIN(a, b) SPARSENET_JOIN_EXPANDED(a, b)
#define SPARSENET_JOIN_EXPANDED(a, b) a##b
