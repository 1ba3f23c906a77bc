#include "backends/gpu/host.h"

#include <algorithm>
#include <cstddef>

namespace sparsenet::gpu {
namespace {

// Whether the host's table reaches as far as the end of a member.
bool reaches(const snp_host* table, size_t end) {
  return table->size >= end;
}

}  // namespace

Host::Host(const snp_host* table) {
  if (!table || !reaches(table, offsetof(snp_host, self) + sizeof table->self)) return;
  if ((table->capabilities & SNP_HOST_ACCOUNTS) != 0 &&
      reaches(table, offsetof(snp_host, release) + sizeof table->release) && table->reserve && table->release) {
    accounts_ = table;
  }
  if ((table->capabilities & SNP_HOST_LOGS) != 0 && reaches(table, offsetof(snp_host, log) + sizeof table->log) &&
      table->log) {
    logs_ = table;
  }
}

Outcome Host::reserve(snp_memory memory, uint64_t bytes, const char* purpose) const {
  if (!accounts_ || accounts_->reserve(accounts_->self, memory, bytes) == SNP_OK) return {};
  return failure(SNP_NO_MEMORY, "the limit on memory leaves no " + std::to_string(bytes) + " bytes of " +
                                    (memory == SNP_DEVICE_MEMORY ? "device" : "host") + " memory for " + purpose +
                                    "; use a smaller batch or a higher limit");
}

void Host::release(snp_memory memory, uint64_t bytes) const {
  if (accounts_) accounts_->release(accounts_->self, memory, bytes);
}

void Host::log(const std::string& line) const {
  if (!logs_) return;
  std::string text = line;
  std::replace(text.begin(), text.end(), '\n', ' ');
  logs_->log(logs_->self, text.c_str());
}

Outcome Reservation::reserve(const Host& host, snp_memory memory, uint64_t bytes, const char* purpose) {
  clear();
  if (bytes == 0) return {};
  const Outcome outcome = host.reserve(memory, bytes, purpose);
  if (!outcome.ok()) return outcome;
  host_ = host;
  memory_ = memory;
  bytes_ = bytes;
  return {};
}

void Reservation::clear() {
  if (bytes_ != 0) host_.release(memory_, bytes_);
  bytes_ = 0;
}

}  // namespace sparsenet::gpu
