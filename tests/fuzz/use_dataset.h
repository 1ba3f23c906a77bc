// Uses a data set as the commands do.
#pragma once

#include <string>

namespace sparsenet::fuzz {

// Opens it and reads its first and last images.
void use_dataset(const std::string& spec);

}  // namespace sparsenet::fuzz
