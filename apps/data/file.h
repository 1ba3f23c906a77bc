// Read-only files with checked reads.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::io {

// An open file. Reads go through pread and keep no position, so a File may be read by several threads at once, and a
// file that shrinks while it is open gives an error, where a mapping would end the process.
class File {
 public:
  static Result<File> open(const std::string& path);
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // at the time of opening

  // All `bytes` from `offset`, or an error that names the file.
  Status read_at(uint64_t offset, void* out, size_t bytes) const;

 private:
  File(std::string path, int descriptor, uint64_t size);
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// The whole file; files larger than `limit` bytes are rejected before anything is allocated.
Result<std::vector<uint8_t>> read_file(const std::string& path, uint64_t limit);

std::string join_path(const std::string& directory, const std::string& name);
bool is_directory(const std::string& path);
// For cases in which a wrong "no" would silently leave something out: false if there is nothing at the path or
// something else, an error if that cannot be determined.
Result<bool> find_directory(const std::string& path);
bool is_file(const std::string& path);
Result<bool> find_file(const std::string& path);  // likewise

// The names in a directory, sorted bytewise, without hidden ones.
Result<std::vector<std::string>> list_directory(const std::string& path);

// The non-empty lines of a text file, without line ends or trailing blanks. At most 1 MiB.
Result<std::vector<std::string>> read_lines(const std::string& path);

}  // namespace sparsenet::io
