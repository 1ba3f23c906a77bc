// Limits the memory that a file can make a conversion allocate.
//
// A file of a kilobyte can ask for gigabytes: a constant of any shape, an archive that expands a thousandfold, a list
// that is copied again and again. So every allocation whose size is determined by a file is first requested from the
// conversion's budget, which may refuse. Freed memory is returned: the budget limits what is held at the same time. The
// sum of everything ever taken is limited as well, to a multiple of the budget, which also limits the time: even a file
// of a megabyte can ask for work like making a constant a million times and dropping it each time.
//
// There is one budget per conversion. The containers that hold the contents of files (elements.h) find it as the
// current budget of their thread, so no importer can forget to ask.
#pragma once

#include <sparsenet/status.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>

namespace sparsenet::converter {

// Thrown if a container would grow beyond the budget. Importers catch it where they know the tensor or the node.
class BudgetExceeded : public std::bad_alloc {
 public:
  explicit BudgetExceeded(std::string message) : message_(std::make_shared<const std::string>(std::move(message))) {}
  const char* what() const noexcept override { return message_->c_str(); }

 private:
  std::shared_ptr<const std::string> message_;  // copying an exception must not throw
};

class MemoryBudget {
 public:
  // The default limit, if the user sets none: this much plus a multiple of the size of the files read. Converting takes
  // about twice the file's size; more if numbers become wider than in the file, or if archives are highly compressed.
  static constexpr uint64_t kBase = uint64_t{256} << 20;
  static constexpr uint64_t kPerFileByte = 8;
  static constexpr uint64_t kTakenInAll = 4;  // times the limit

  // 0: the default limit above.
  explicit MemoryBudget(uint64_t limit = 0) : fixed_(limit != 0), limit_(limit != 0 ? limit : kBase) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // Every file that the conversion reads raises the limit once, unless the user has set it.
  void add_file(uint64_t device, uint64_t inode, uint64_t bytes);
  void add_bytes(uint64_t bytes);

  Status take(uint64_t bytes);  // kOutOfMemory, with advice on how to proceed
  void give_back(uint64_t bytes) { used_ -= bytes; }
  uint64_t left() const;
  std::string limit_text() const;  // for messages: the limit and the reason for it

  // The budget of this thread's conversion. If none has been set: one without a limit.
  static const std::shared_ptr<MemoryBudget>& current();

 private:
  const bool fixed_;
  std::atomic<uint64_t> limit_;
  uint64_t taken_ = 0;             // total
  std::atomic<uint64_t> used_{0};  // atomic: constants are returned by whoever drops the model, on any thread
  std::set<std::pair<uint64_t, uint64_t>> files_;
};

// Makes a budget the current one of this thread for the lifetime of the object.
class UseBudget {
 public:
  explicit UseBudget(std::shared_ptr<MemoryBudget> budget);
  // Keeps the current budget, or if there is none creates a default one for a file of that size: for calls of an
  // importer outside a conversion.
  static UseBudget keep_or_make(uint64_t file_bytes);
  UseBudget(const UseBudget&) = delete;
  UseBudget& operator=(const UseBudget&) = delete;
  ~UseBudget();

 private:
  std::shared_ptr<MemoryBudget> budget_;
  const std::shared_ptr<MemoryBudget>* before_;  // the previous one, which outlives this one
};

// Ends the import of a whole graph: after a node or tensor that asks for too much, everything else would only be
// refused for the same reason.
struct OutOfBudget {
  std::string subject, reason;
};

inline const Status& status_of(const Status& status) {
  return status;
}
template <class T>
const Status& status_of(const Result<T>& result) {
  return result.status();
}

// The result of `step`; kOutOfMemory if the budget is exceeded.
template <class Step>
auto within_budget(Step step) -> decltype(step()) {
  try {
    return step();
  } catch (const BudgetExceeded& error) {
    return out_of_memory(error.what());
  }
}

// The result of `step`; throws OutOfBudget if the budget is exceeded.
template <class Step>
auto within_budget(const std::string& subject, Step step) -> decltype(step()) {
  auto result = within_budget(step);
  if (status_of(result).code() == StatusCode::kOutOfMemory) throw OutOfBudget{subject, status_of(result).message()};
  return result;
}

// Bytes taken from the current budget and returned when the object is destroyed.
class MemoryCharge {
 public:
  MemoryCharge() = default;
  MemoryCharge(MemoryCharge&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryCharge& operator=(MemoryCharge&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MemoryCharge() {
    if (budget_) budget_->give_back(bytes_);
  }
  // Raises the charge to at least this many bytes, or fails and leaves it unchanged.
  Status raise_to(uint64_t bytes);
  uint64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<MemoryBudget> budget_;
  uint64_t bytes_ = 0;
};

}  // namespace sparsenet::converter
