// Reading whole files without copying them. (Writing them safely: write_file_atomically in sparsenet/model.h.) POSIX.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace sparsenet {

struct MappedFile {
  const uint8_t* data = nullptr;  // page-aligned; null when the file is empty
  size_t size = 0;
  std::shared_ptr<const void> owner;  // unmaps the file when the last copy goes
};

// Maps a regular file for reading. Who replaces the file by renaming another over it (as we always do) leaves the
// mapping intact; who shortens it in place makes later reads of the missing pages fail with SIGBUS, as with every
// mapped file. Errors (kNotFound, kIo) begin with the path.
Result<MappedFile> map_file(const std::string& path);
// The same without an owner: whoever called unmaps it.
Result<MappedFile> map_memory(const std::string& path);
// Reads it instead: the bytes are the caller's own, whatever becomes of the file. `data` is aligned to 64 bytes.
Result<MappedFile> copy_file(const std::string& path);

}  // namespace sparsenet
