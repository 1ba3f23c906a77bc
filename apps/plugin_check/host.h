// The host that plugins get here: it keeps books of what they reserve, and can refuse.
#pragma once

#include <sparsenet/plugin.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace sparsenet::plugin_check {

class Host {
 public:
  // `growth`: bytes of garbage behind the members, as a later version has members there.
  explicit Host(uint32_t growth = 0);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const snp_host* table() const { return reinterpret_cast<const snp_host*>(table_.data()); }
  snp_host* table() { return reinterpret_cast<snp_host*>(table_.data()); }

  struct Books {
    uint64_t bytes[2] = {0, 0};  // reserved at this moment, by snp_memory
    uint64_t reservations[2] = {0, 0};
    uint32_t refused = 0;
    std::string fault;  // of the plugin's bookkeeping; empty: none so far
  };
  Books books();
  // Refuses reservation number `index` from here on; -1: none.
  void refuse(int64_t index);
  // The two kinds of memory that are reserved, for messages; empty: nothing is.
  std::string left();

 private:
  static snp_status reserve(void* self, uint32_t memory, uint64_t bytes);
  static void release(void* self, uint32_t memory, uint64_t bytes);
  static void log(void* self, const char* text);

  std::mutex mutex_;
  Books books_;
  int64_t until_refusal_ = -1;
  std::vector<uint64_t> table_;
};

}  // namespace sparsenet::plugin_check
