// Models made from other frameworks' files, with the same program that users run.
#pragma once

#include <sparsenet/model.h>

#include <string>
#include <vector>

namespace sparsenet::test {

bool can_convert();  // false if this build has neither sparsenet-convert nor SPARSENET_HOST_CONVERTER

// Runs `sparsenet-convert ARGUMENTS -o FILE`, loads FILE and removes it. The message of a failure contains the
// program's output.
Result<Model> convert(const std::vector<std::string>& arguments);

}  // namespace sparsenet::test
