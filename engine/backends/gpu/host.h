// What the host gives: limits on memory, and a log. A host may lack either.
#pragma once

#include <sparsenet/plugin.h>

#include <string>

#include "backends/gpu/device.h"

namespace sparsenet::gpu {

class Host {
 public:
  Host() = default;
  explicit Host(const snp_host* table);
  // `purpose` completes the message: "N bytes of device memory for PURPOSE".
  Outcome reserve(snp_memory memory, uint64_t bytes, const char* purpose) const;
  void release(snp_memory memory, uint64_t bytes) const;
  void log(const std::string& line) const;

 private:
  const snp_host* accounts_ = nullptr;  // null: there are no limits
  const snp_host* logs_ = nullptr;
};

// Memory that is reserved with the host as long as this lives. Declare it before what owns the memory, so that the
// memory is freed first.
class Reservation {
 public:
  Reservation() = default;
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() { clear(); }
  Outcome reserve(const Host& host, snp_memory memory, uint64_t bytes, const char* purpose);
  void clear();

 private:
  Host host_;
  snp_memory memory_ = SNP_HOST_MEMORY;
  uint64_t bytes_ = 0;
};

}  // namespace sparsenet::gpu
