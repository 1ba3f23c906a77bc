// Files of the cache folder: written whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace sparsenet::gpu {

// FOLDER/HASH.ENDING, where the hash is that of the key, of 64 bits.
std::string cache_path(const std::string& folder, const std::string& key, const char* ending);

// Empty, or why the file could not be written. Makes the folder.
std::string write_cache_file(const std::string& folder, const std::string& path, const void* data, size_t bytes);

}  // namespace sparsenet::gpu
