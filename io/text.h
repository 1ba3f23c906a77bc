// Text from files that may hold anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::io {

// The lines of a text, without line ends, with trailing blanks removed.
std::vector<std::string> split_lines(const uint8_t* text, size_t bytes);

// The text as it may stand in a message of one line: control characters become '?', and very long texts are cut.
std::string printable(const std::string& text);

}  // namespace sparsenet::io
