// How much memory the parsed form of an ONNX message takes, told from its bytes before it is parsed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sparsenet::converter {

// An upper estimate. In the protobuf encoding an empty node is two bytes and becomes an object of hundreds, so the
// file's size says little. Reads no more than the lengths, so it costs next to nothing; damaged messages, which the
// parser refuses, give any number.
uint64_t message_memory(const uint8_t* data, size_t size);

}  // namespace sparsenet::converter
