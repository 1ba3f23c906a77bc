// Files for parsers that read by path: in a folder of this process that goes with it, in memory where the system has
// such a place.
#pragma once

#include <string>
#include <utility>

#include "fuzz/target.h"

namespace sparsenet::fuzz {

const std::string& scratch_folder();

// Writes scratch_folder()/name anew and gives its path.
std::string scratch_file(const std::string& name, const uint8_t* data, size_t size);

// Several files in one input: for each, a byte with the length of its name, the name, two bytes with the length of its
// content (little-endian), the content. Everything that can be read as such is; what is cut ends where the input does.
using Files = std::vector<std::pair<std::string, Bytes>>;
Files unpack_files(const uint8_t* data, size_t size);
Bytes pack_files(const Files& files);
// A mutator for them.
void mutate_files(Random& random, Bytes& bytes, size_t most);

// Writes them below a folder of their own, which is emptied first, and gives its path. A name may have folders; parts
// that would lead out of it are left out.
std::string scratch_tree(const Files& files);

}  // namespace sparsenet::fuzz
