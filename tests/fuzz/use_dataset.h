// A data set as the commands use it.
#pragma once

#include <string>

namespace sparsenet::fuzz {

// Opens it and reads the first and last of its images.
void use_dataset(const std::string& spec);

}  // namespace sparsenet::fuzz
