// Prefixes that wrappers and larger networks add to the names of a network's tensors.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace sparsenet::converter {

struct NamePrefix {
  std::string text;     // including its separator, "backbone."; empty: none
  bool of_all = false;  // whether every name begins with it
};

// The prefix without which most of the names are names of constants, among the names that are not so already.
NamePrefix find_name_prefix(const std::vector<const std::string*>& names,
                            const std::function<bool(const std::string&)>& is_constant);

// `name` without the prefix, if all names have it, and without those that training wrappers add (module., _orig_mod.,
// model., ...). If only some tensors have a prefix, it is up to the user which of the others are wanted.
std::string without_prefixes(const std::string& name, const NamePrefix& prefix);

// A sentence with the --map rule that removes the prefix.
std::string rule_against(const NamePrefix& prefix);

}  // namespace sparsenet::converter
