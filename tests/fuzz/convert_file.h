// Runs the whole converter, in this process, on one file.
#pragma once

#include "converter/convert.h"
#include "fuzz/target.h"

namespace sparsenet::fuzz {

// Converts the bytes according to `options` (input and output are set here) and produces the report in every form. What
// was written must be readable, and if it is small it is also run: with a plan and without, on test vectors made from
// it.
void convert_file(const uint8_t* data, size_t size, const std::string& ending, converter::Options options);

}  // namespace sparsenet::fuzz
