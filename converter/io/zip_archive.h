// A zip file in memory, read through libzip. Memory for inflated data is first requested from the conversion's budget:
// deflate reaches 1000:1, so a small file could ask for any amount.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "converter/io/file_bytes.h"
#include "converter/io/memory_budget.h"

namespace sparsenet::converter {

class ZipArchive {
 public:
  // `data` must outlive the archive.
  static Result<ZipArchive> open(const uint8_t* data, size_t size);
  ZipArchive(ZipArchive&&) noexcept;
  ZipArchive& operator=(ZipArchive&&) noexcept;
  ~ZipArchive();

  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& entry) const;
  // The entry's bytes, inflated and with their CRC checked; the result owns its memory.
  Result<FileBytes> read(const std::string& entry);

 private:
  struct Handle;
  explicit ZipArchive(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
  std::vector<std::string> names_;
  uint64_t inflated_ = 0;
  MemoryCharge charge_;  // for everything inflated so far: entries may overlap, and inflating them takes time
};

}  // namespace sparsenet::converter
