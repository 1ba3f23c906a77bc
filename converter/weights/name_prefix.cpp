#include "converter/weights/name_prefix.h"

#include <cctype>
#include <map>

#include "converter/report.h"

namespace sparsenet::converter {
namespace {

std::string strip_prefixes(const std::string& name) {
  static const std::string kPrefixes[] = {"module.", "_orig_mod.", "model.", "net.", "network.", "state_dict."};
  size_t at = 0;
  for (bool again = true; again;) {
    again = false;
    for (const std::string& prefix : kPrefixes) {
      if (name.size() - at <= prefix.size() || name.compare(at, prefix.size(), prefix) != 0) continue;
      at += prefix.size();
      again = true;
    }
  }
  return name.substr(at);
}

bool begins_with(const std::string& name, const std::string& prefix) {
  return name.compare(0, prefix.size(), prefix) == 0;
}

}  // namespace

NamePrefix find_name_prefix(const std::vector<const std::string*>& names,
                            const std::function<bool(const std::string&)>& is_constant) {
  constexpr size_t kMaxName = 1000;  // of a name that is looked at, so that hostile ones cannot make this slow
  std::map<std::string, size_t> votes;
  for (const std::string* name : names) {
    if (name->size() > kMaxName || is_constant(strip_prefixes(*name))) continue;
    for (size_t at = name->find_first_of("./"); at != std::string::npos; at = name->find_first_of("./", at + 1)) {
      if (!is_constant(name->substr(at + 1))) continue;
      ++votes[name->substr(0, at + 1)];
      break;
    }
  }
  NamePrefix best;
  size_t most = 0;
  for (const auto& [prefix, count] : votes) {
    if (count <= most) continue;
    best.text = prefix;
    most = count;
  }
  if (most == 0) return best;
  best.of_all = true;
  for (const std::string* name : names) best.of_all = best.of_all && begins_with(*name, best.text);
  // A prefix of only a few names is not a prefix but a coincidence: "block0." before the "bn.weight" of another
  // network.
  return best.of_all || 2 * most >= names.size() ? best : NamePrefix();
}

std::string without_prefixes(const std::string& name, const NamePrefix& prefix) {
  const bool takes_off = prefix.of_all && begins_with(name, prefix.text);
  return strip_prefixes(takes_off ? name.substr(prefix.text.size()) : name);
}

std::string rule_against(const NamePrefix& prefix) {
  std::string pattern;
  for (const char c : prefix.text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '/' || c == '-';
    pattern += plain ? std::string(1, c) : std::string("\\") + c;
  }
  return "tensors that begin with '" + printable(prefix.text) + "' have the names of constants behind it: --map '" +
         printable(pattern) + "(.*)=$1' takes it off";
}

}  // namespace sparsenet::converter
