// The folder in which a user's machine keeps what can be made again: compiled kernels, tuned sizes, verdicts.
#pragma once

#include <string>

namespace sparsenet {

// `wanted` if it is not empty; else `sparsenet` in $XDG_CACHE_HOME or in $HOME/.cache. Empty if there is neither, or if
// the folder cannot be made.
std::string cache_folder(const std::string& wanted);

}  // namespace sparsenet
