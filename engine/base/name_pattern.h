// Patterns for names of nodes and parameters, as options take them.
#pragma once

#include <string>

namespace sparsenet {

// Whether the pattern matches the whole name; * and ? mean what they mean in a shell.
bool matches(const std::string& pattern, const std::string& name);

}  // namespace sparsenet
