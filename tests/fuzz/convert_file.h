// The whole converter, in this process, over one file.
#pragma once

#include "converter/convert.h"
#include "fuzz/target.h"

namespace sparsenet::fuzz {

// Converts the bytes as `options` say (input and output are set here) and tells the report in every form. What was
// written can be read, and where it is small it is run, too: with a plan and without, on test vectors made of it.
void convert_file(const uint8_t* data, size_t size, const std::string& ending, converter::Options options);

}  // namespace sparsenet::fuzz
