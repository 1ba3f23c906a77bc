// How much memory a conversion may take for what its file asks.
//
// A file of a kilobyte can ask for gigabytes: a constant of any shape, an archive that unpacks a thousandfold, a list
// that is copied again and again. So every allocation whose size a file chooses is first asked of the budget of the
// conversion, and the answer may be no. What is freed is given back: the budget bounds what is held at a time. What is
// taken in all is bounded, too, at a multiple of it, and with it the time: making a constant a million times and
// dropping each is work that a file of a megabyte can ask for.
//
// There is one budget a conversion, and the containers that hold what files say (elements.h) reach it as the current
// one of their thread; so no importer can forget to ask.
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

// Thrown where a container would grow beyond the budget. Importers catch it where they know the tensor or the node.
class BudgetExceeded : public std::bad_alloc {
 public:
  explicit BudgetExceeded(std::string message) : message_(std::make_shared<const std::string>(std::move(message))) {}
  const char* what() const noexcept override { return message_->c_str(); }

 private:
  std::shared_ptr<const std::string> message_;  // copying an exception must not throw
};

class MemoryBudget {
 public:
  // Without a limit of the user's own: this much and a multiple of the files that are read. Converting takes about
  // twice the file; wider numbers than the file's, and archives that compress well, take more.
  static constexpr uint64_t kBase = uint64_t{256} << 20;
  static constexpr uint64_t kPerFileByte = 8;
  static constexpr uint64_t kTakenInAll = 4;  // times the limit

  // 0: the default above.
  explicit MemoryBudget(uint64_t limit = 0) : fixed_(limit != 0), limit_(limit != 0 ? limit : kBase) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // A file that the conversion reads raises a limit that is not the user's own, once a file.
  void add_file(uint64_t device, uint64_t inode, uint64_t bytes);
  void add_bytes(uint64_t bytes);

  Status take(uint64_t bytes);  // kOutOfMemory, with the way out
  void give_back(uint64_t bytes) { used_ -= bytes; }
  uint64_t left() const;
  std::string limit_text() const;  // for messages: how high the limit is, and why

  // The one that this thread's conversion uses. Where none was chosen: one without a limit.
  static const std::shared_ptr<MemoryBudget>& current();

 private:
  const bool fixed_;
  std::atomic<uint64_t> limit_;
  uint64_t taken_ = 0;             // in all
  std::atomic<uint64_t> used_{0};  // constants are given back by whoever drops the model, on any thread
  std::set<std::pair<uint64_t, uint64_t>> files_;
};

// Makes a budget the current one of this thread as long as the object lives.
class UseBudget {
 public:
  explicit UseBudget(std::shared_ptr<MemoryBudget> budget);
  // Keeps the current budget, or where there is none makes a default one for a file of that size: for calls of an
  // importer outside a conversion.
  static UseBudget keep_or_make(uint64_t file_bytes);
  UseBudget(const UseBudget&) = delete;
  UseBudget& operator=(const UseBudget&) = delete;
  ~UseBudget();

 private:
  std::shared_ptr<MemoryBudget> budget_;
  const std::shared_ptr<MemoryBudget>* before_;  // of those around it, which outlive it
};

// Ends the import of a whole graph: what comes after a node or tensor that asks for too much would only be refused for
// the same reason.
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

// What `step` gives; where the budget ends, kOutOfMemory.
template <class Step>
auto within_budget(Step step) -> decltype(step()) {
  try {
    return step();
  } catch (const BudgetExceeded& error) {
    return out_of_memory(error.what());
  }
}

// What `step` gives; where the budget ends, throws OutOfBudget.
template <class Step>
auto within_budget(const std::string& subject, Step step) -> decltype(step()) {
  auto result = within_budget(step);
  if (status_of(result).code() == StatusCode::kOutOfMemory) throw OutOfBudget{subject, status_of(result).message()};
  return result;
}

// Bytes taken from the current budget, given back with the object.
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
  // Makes the charge at least this large, or fails and leaves it as it is.
  Status raise_to(uint64_t bytes);
  uint64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<MemoryBudget> budget_;
  uint64_t bytes_ = 0;
};

}  // namespace sparsenet::converter
