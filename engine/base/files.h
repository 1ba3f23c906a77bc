// Reading whole files, as memory maps or as copies. (To write them safely, see write_file_atomically in
// sparsenet/model.h.) POSIX.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace sparsenet {

struct MappedFile {
  const uint8_t* data = nullptr;  // page-aligned if mapped; null when the file is empty
  size_t size = 0;
  std::shared_ptr<const void> owner;  // unmaps the file, or frees its copy, when the last owner goes
};

// Maps a regular file for reading. Replacing the file by renaming another over it (as we always do) leaves the mapping
// intact; shortening it in place makes later reads of the missing pages fail with SIGBUS, as with every mapped file.
// Errors (kNotFound, kIo) begin with the path.
Result<MappedFile> map_file(const std::string& path);
// The same without an owner: the caller has to unmap it.
Result<MappedFile> map_memory(const std::string& path);
struct MappedRange {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};
// The mapping that an owner made by map_file() keeps, however often it has been copied; nothing for other owners.
MappedRange mapped_range(const std::shared_ptr<const void>& owner);
// Gives back the memory of those pages of a mapping from map_file() that lie wholly in the range. They are read again
// from the file when they are needed.
void give_back_pages(const void* data, size_t bytes);

// Reads the file into memory instead, so that the bytes stay whatever becomes of the file. `data` is aligned to 64
// bytes.
Result<MappedFile> copy_file(const std::string& path);

}  // namespace sparsenet
