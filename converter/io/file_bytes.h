// Source files in memory. Only regular files are read: a named pipe would be waited for without end, a device has no
// size.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet::converter {

// Bytes that live as long as `owner`; without an owner, as long as whoever handed them over says.
struct FileBytes {
  const uint8_t* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;
};

// Memory of `length` bytes at a multiple of 64, asked of the current budget (memory_budget.h); `*writable` is where to
// fill it.
Result<FileBytes> make_bytes(uint64_t length, uint8_t** writable);

// The whole file, read into memory of its own (a mapping would kill the process where somebody shortens the file).
// Errors name the path; memory is asked of the current budget, which the file raises first.
Result<FileBytes> load_file(const std::string& path);

// `length` bytes from `offset` of a file inside `folder`. `name` is what an untrusted file says: relative, without
// "..", and no part of it may be a symbolic link, so that nothing outside the folder is ever read.
Result<FileBytes> load_beside(const std::string& folder, const std::string& name, uint64_t offset, uint64_t length);

// The whole file as a list of bytes, for small ones.
Result<std::vector<uint8_t>> read_file(const std::string& path);

// A text file as lines, without line ends, trailing blanks removed. At most 4 MiB.
Result<std::vector<std::string>> read_lines(const std::string& path);

// The last component of a path.
std::string base_name(const std::string& path);

}  // namespace sparsenet::converter
