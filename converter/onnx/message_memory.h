// Estimates how much memory the parsed form of an ONNX message takes, from its bytes, before it is parsed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparsenet::converter {

// An upper estimate. In the protobuf encoding an empty node takes two bytes and becomes an object of hundreds, so the
// file's size says little. Only lengths are read, so it costs next to nothing; for damaged messages, which the parser
// rejects, the result is meaningless.
uint64_t message_memory(const uint8_t* data, size_t size);

}  // namespace sparsenet::converter
