// A source file in memory.
#pragma once

#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::converter {

// The whole file. Errors name the path; a file above 8 GiB is refused before anything is allocated.
Result<std::vector<uint8_t>> read_file(const std::string& path);

// `length` bytes from `offset`; an error where the file has fewer.
Result<std::string> read_range(const std::string& path, uint64_t offset, uint64_t length);

// A text file as lines, without line ends, trailing blanks removed. At most 4 MiB.
Result<std::vector<std::string>> read_lines(const std::string& path);

// The last component of a path.
std::string base_name(const std::string& path);

}  // namespace sparsenet::converter
