// A zip file in memory, read through libzip. Sizes are limited before anything is inflated.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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
  // The entry's bytes, inflated, its CRC checked.
  Result<std::vector<uint8_t>> read(const std::string& entry);

 private:
  struct Handle;
  ZipArchive(std::unique_ptr<Handle> handle, uint64_t budget);
  std::unique_ptr<Handle> handle_;
  std::vector<std::string> names_;
  uint64_t budget_;  // bytes that may still be inflated
};

}  // namespace sparsenet::converter
