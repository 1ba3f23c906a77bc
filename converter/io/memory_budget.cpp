#include "converter/io/memory_budget.h"

#include <limits>

namespace sparsenet::converter {
namespace {

// Owned by a UseBudget. A variable with a destructor would not work: if there is no memory to register the destructor
// for a thread, libc ends the process.
thread_local const std::shared_ptr<MemoryBudget>* current_of_thread = nullptr;

std::string bytes_text(uint64_t bytes) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  return bytes < 10 * kMiB ? std::to_string(bytes) + " bytes" : std::to_string(bytes / kMiB) + " MiB";
}

}  // namespace

void MemoryBudget::add_bytes(uint64_t bytes) {
  if (fixed_) return;
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  const uint64_t more = bytes > most / kPerFileByte ? most : bytes * kPerFileByte;
  limit_ = more > most - limit_ ? most : limit_ + more;
}

void MemoryBudget::add_file(uint64_t device, uint64_t inode, uint64_t bytes) {
  if (files_.emplace(device, inode).second) add_bytes(bytes);
}

uint64_t MemoryBudget::left() const {
  const uint64_t used = used_, limit = limit_;
  return used < limit ? limit - used : 0;
}

std::string MemoryBudget::limit_text() const {
  const std::string limit = bytes_text(limit_);
  return fixed_ ? "the " + limit + " of --max-memory"
                : "the " + limit + " that files of this size are given (--max-memory BYTES allows more)";
}

Status MemoryBudget::take(uint64_t bytes) {
  const uint64_t available = left();
  if (bytes > available) {
    return out_of_memory("asks for " + bytes_text(bytes) + " of memory where " + bytes_text(available) +
                         " are left of " + limit_text());
  }
  const uint64_t limit = limit_;
  const uint64_t most = limit > std::numeric_limits<uint64_t>::max() / kTakenInAll
                            ? std::numeric_limits<uint64_t>::max()
                            : limit * kTakenInAll;
  if (bytes > most - taken_) {
    return out_of_memory("asks for more and more memory, in all more than " + std::to_string(kTakenInAll) + " times " +
                         limit_text());
  }
  taken_ += bytes;
  used_ += bytes;
  return {};
}

const std::shared_ptr<MemoryBudget>& MemoryBudget::current() {
  static const auto unlimited = std::make_shared<MemoryBudget>(std::numeric_limits<uint64_t>::max());
  return current_of_thread != nullptr && *current_of_thread ? *current_of_thread : unlimited;
}

UseBudget::UseBudget(std::shared_ptr<MemoryBudget> budget)
    : budget_(std::move(budget)), before_(std::exchange(current_of_thread, &budget_)) {}

UseBudget UseBudget::keep_or_make(uint64_t file_bytes) {
  std::shared_ptr<MemoryBudget> budget = current_of_thread != nullptr ? *current_of_thread : nullptr;
  if (!budget) {
    budget = std::make_shared<MemoryBudget>();
    budget->add_bytes(file_bytes);
  }
  return UseBudget(std::move(budget));
}

UseBudget::~UseBudget() {
  current_of_thread = before_;
}

Status MemoryCharge::raise_to(uint64_t bytes) {
  if (bytes <= bytes_) return {};
  if (!budget_) budget_ = MemoryBudget::current();
  SPARSENET_RETURN_IF_ERROR(budget_->take(bytes - bytes_));
  bytes_ = bytes;
  return {};
}

}  // namespace sparsenet::converter
