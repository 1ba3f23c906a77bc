// Source files in memory. Only regular files are read: reading a named pipe could block forever, and a device has no
// size.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet::converter {

// Bytes that live as long as `owner`; without an owner, as long as their provider states.
struct FileBytes {
  const uint8_t* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;
};

// Memory of `length` bytes, aligned to 64, charged to the current budget (memory_budget.h); the caller fills it through
// `*writable`.
Result<FileBytes> make_bytes(uint64_t length, uint8_t** writable);

// The whole file, read into memory of its own (with a mapping, shortening the file would kill the process). Errors name
// the path. The file first raises the current budget, to which the memory is then charged.
Result<FileBytes> load_file(const std::string& path);

// `length` bytes from `offset` of a file inside `folder`. `name` comes from an untrusted file: it must be relative and
// without "..", and no component may be a symbolic link, so that nothing outside the folder is ever read.
Result<FileBytes> load_beside(const std::string& folder, const std::string& name, uint64_t offset, uint64_t length);

// The whole file as a list of bytes, for small files.
Result<std::vector<uint8_t>> read_file(const std::string& path);

// The lines of a text file, without line ends and trailing blanks. At most 4 MiB.
Result<std::vector<std::string>> read_lines(const std::string& path);

// The last component of a path.
std::string base_name(const std::string& path);

}  // namespace sparsenet::converter
