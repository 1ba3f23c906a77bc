// What wrappers and larger networks put in front of the names of a network's tensors.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace sparsenet::converter {

struct NamePrefix {
  std::string text;     // with its separator, "backbone."; empty: none
  bool of_all = false;  // every name begins with it
};

// The prefix behind which most of the names are those of constants, of the names that are none without it.
NamePrefix find_name_prefix(const std::vector<const std::string*>& names,
                            const std::function<bool(const std::string&)>& is_constant);

// `name` without the prefix, if it is one of all names, and without those that training wrappers add (module.,
// _orig_mod., model., ...). Where only some tensors have a prefix, which of the others are wanted is not for us to say.
std::string without_prefixes(const std::string& name, const NamePrefix& prefix);

// A sentence with the rule that takes the prefix off, as --map wants it.
std::string rule_against(const NamePrefix& prefix);

}  // namespace sparsenet::converter
