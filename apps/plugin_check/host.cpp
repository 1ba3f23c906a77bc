#include "plugin_check/host.h"

#include <cstring>

#include "plugin_check/failure.h"
#include "plugin_check/wire.h"

namespace sparsenet::plugin_check {

Host::Host(uint32_t growth) : table_((sizeof(snp_host) + growth) / 8) {
  static_assert(sizeof(snp_host) % 8 == 0);
  std::memset(static_cast<void*>(table_.data()), kGarbage, table_.size() * 8);
  *table() = {
      SNP_MAJOR, SNP_MINOR, static_cast<uint32_t>(table_.size() * 8), SNP_HOST_ACCOUNTS | SNP_HOST_LOGS, this, reserve,
      release,   log};
}

Host::Books Host::books() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return books_;
}

void Host::refuse(int64_t index) {
  const std::lock_guard<std::mutex> lock(mutex_);
  until_refusal_ = index;
  books_.refused = 0;
}

std::string Host::left() {
  const Books now = books();
  if (now.bytes[0] == 0 && now.bytes[1] == 0) return {};
  return text("%llu bytes of the host's memory and %llu of the device's",
              static_cast<unsigned long long>(now.bytes[SNP_HOST_MEMORY]),
              static_cast<unsigned long long>(now.bytes[SNP_DEVICE_MEMORY]));
}

snp_status Host::reserve(void* self, uint32_t memory, uint64_t bytes) {
  Host& host = *static_cast<Host*>(self);
  const std::lock_guard<std::mutex> lock(host.mutex_);
  if (memory > SNP_DEVICE_MEMORY) {
    host.books_.fault = text("reserve(): expected a memory of 0 or 1, found %u", memory);
    return SNP_INVALID_ARGUMENT;
  }
  if (host.until_refusal_ >= 0 && host.until_refusal_-- == 0) {
    ++host.books_.refused;
    return SNP_NO_MEMORY;
  }
  host.books_.bytes[memory] += bytes;
  ++host.books_.reservations[memory];
  return SNP_OK;
}

void Host::release(void* self, uint32_t memory, uint64_t bytes) {
  Host& host = *static_cast<Host*>(self);
  const std::lock_guard<std::mutex> lock(host.mutex_);
  if (memory > SNP_DEVICE_MEMORY || bytes > host.books_.bytes[memory]) {
    host.books_.fault = text("release() of %llu bytes of memory %u, of which less is reserved",
                             static_cast<unsigned long long>(bytes), memory);
    return;
  }
  host.books_.bytes[memory] -= bytes;
}

void Host::log(void* self, const char* line) {
  Host& host = *static_cast<Host*>(self);
  const std::lock_guard<std::mutex> lock(host.mutex_);
  if (std::strchr(line, '\n')) host.books_.fault = "log(): a line break in its text";
}

}  // namespace sparsenet::plugin_check
