// A zip file in memory, read through libzip. Memory for what is inflated is asked of the conversion's budget first:
// deflate reaches 1000:1, so a small file could want any amount.
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
  // The entry's bytes, inflated, its CRC checked; the memory is theirs.
  Result<FileBytes> read(const std::string& entry);

 private:
  struct Handle;
  explicit ZipArchive(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
  std::vector<std::string> names_;
  uint64_t inflated_ = 0;
  MemoryCharge charge_;  // for what was inflated in all: entries may overlap, and inflating them takes time
};

}  // namespace sparsenet::converter
