// What of the C API needs an operating system.
#include <sparsenet/sparsenet.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "graph/files.h"
#include "graph/guarded.h"

namespace sparsenet {
namespace {

void say(sn_message* message, const std::string& text) {
  constexpr size_t kText = offsetof(sn_message, text);
  if (!message || message->struct_size <= kText) return;
  const size_t room = std::min<size_t>(message->struct_size - kText, sizeof message->text) - 1;
  const size_t length = std::min(room, text.size());
  std::memcpy(message->text, text.data(), length);
  message->text[length] = '\0';
}

}  // namespace
}  // namespace sparsenet

extern "C" {

sn_status sn_map_file(const char* path, const void** data, size_t* bytes, sn_message* message) {
  if (!path || !data || !bytes) return SN_INVALID_ARGUMENT;
  using sparsenet::StatusCode;
  const auto file = sparsenet::guarded("mapping a file", [&] { return sparsenet::map_memory(path); });
  if (!file.ok()) {
    sparsenet::say(message, file.status().message());
    return file.status().code() == StatusCode::kNotFound      ? SN_NOT_FOUND
           : file.status().code() == StatusCode::kOutOfMemory ? SN_NO_MEMORY
                                                              : SN_IO;
  }
  *data = file->data;
  *bytes = file->size;
  return SN_OK;
}

void sn_unmap_file(const void* data, size_t bytes) {
  if (data) ::munmap(const_cast<void*>(data), bytes);
}

}  // extern "C"
