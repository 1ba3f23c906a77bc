// Files for parsers that read by path: in a folder of this process that is removed with it, in memory if the system has
// such a place.
#pragma once

#include <string>
#include <utility>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

const std::string& scratch_folder();

// Writes scratch_folder()/name anew and returns its path.
std::string scratch_file(const std::string& name, const uint8_t* data, size_t size);

// Several files in one input: for each, a byte with the length of its name, the name, two bytes with the length of its
// content (little-endian), the content. Input that is cut off is read as far as possible.
using Files = std::vector<std::pair<std::string, Bytes>>;
Files unpack_files(const uint8_t* data, size_t size);
Bytes pack_files(const Files& files);
// A mutator for such inputs.
void mutate_files(Random& random, Bytes& bytes, size_t most);

// Writes the files below a separate folder, which is emptied first, and returns its path. A name may contain folders;
// components that would lead out of it are left out.
std::string scratch_tree(const Files& files);

}  // namespace sparsenet::fuzz
