// `--map`: lines of rules, applied to the names of a network's tensors.
#include <string>

#include "converter/weights/name_rules.h"
#include "fuzz/target.h"

namespace sparsenet::fuzz {
namespace {

// The first lines up to an empty one are rules, the others names.
void run(const uint8_t* data, size_t size) {
  const std::string text(data, data + size);
  std::vector<std::string> rules, names{"module.layer1.0.bn1.running_mean", std::string(60, 'a') + "b"};
  bool in_rules = true;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty()) in_rules = false;
    (in_rules ? rules : names).push_back(line);
  }
  const Result<converter::NameRules> parsed = converter::NameRules::parse(rules);
  if (!parsed.ok()) return;
  for (const std::string& name : names) {
    std::string target;
    if (const size_t rule = parsed->apply(name, &target); rule > 0) (void)parsed->text(rule).size();
  }
}

}  // namespace

extern const Target map_target{"map", 512, run};

}  // namespace sparsenet::fuzz
