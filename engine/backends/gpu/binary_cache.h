// A cache of compiled kernels on disk. Nothing depends on it: a file that is missing, damaged or someone else's is a
// miss, and a file that cannot be written is not written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::gpu {

// `key` is all that the binary depends on: device, driver, compiler, options and source. It is kept in the file in
// full, so that two keys with one hash cannot be mistaken for each other. An empty `folder`: there is no cache. Returns
// whether `binary` was found.
bool read_cached_binary(const std::string& folder, const std::string& key, std::vector<uint8_t>* binary);

// Replaces the file as a whole, so that other processes read either the old or the new one. Makes the folder.
void write_cached_binary(const std::string& folder, const std::string& key, const std::vector<uint8_t>& binary);

}  // namespace sparsenet::gpu
