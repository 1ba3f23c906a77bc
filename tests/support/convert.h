// Models out of other frameworks' files, by the very program that users run.
#pragma once

#include <sparsenet/model.h>

#include <string>
#include <vector>

namespace sparsenet::test {

bool can_convert();  // false where this build has no sparsenet-convert, nor SPARSENET_HOST_CONVERTER

// Runs `sparsenet-convert ARGUMENTS -o FILE` and loads FILE, which is removed again. The message of a failure holds
// what the program said.
Result<Model> convert(const std::vector<std::string>& arguments);

}  // namespace sparsenet::test
