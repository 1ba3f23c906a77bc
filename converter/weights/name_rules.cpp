#include "converter/weights/name_rules.h"

#include <algorithm>
// GCC takes parts of its own <regex> for uninitialised when it builds with sanitizers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <regex>

#include "converter/io/file_bytes.h"
#include "converter/report.h"

namespace sparsenet::converter {

struct NameRules::Rule {
  std::string text;
  std::regex from;
  std::string to;
};

NameRules::NameRules() = default;
NameRules::NameRules(NameRules&&) noexcept = default;
NameRules& NameRules::operator=(NameRules&&) noexcept = default;
NameRules::~NameRules() = default;

Result<NameRules> NameRules::parse(const std::vector<std::string>& lines) {
  constexpr size_t kMaxRules = 10000, kMaxLength = 1000;
  NameRules rules;
  for (const std::string& raw : lines) {
    const size_t start = raw.find_first_not_of(" \t");
    if (start == std::string::npos || raw[start] == '#') continue;
    const std::string line = raw.substr(start);
    const size_t separator = line.rfind('=');
    if (separator == std::string::npos || separator == 0) {
      return invalid_argument("rule '" + printable(line) + "': expected FROM=TO");
    }
    if (line.size() > kMaxLength || rules.rules_.size() >= kMaxRules) {
      return invalid_argument("rules: expected at most " + std::to_string(kMaxRules) + " of at most " +
                              std::to_string(kMaxLength) + " characters");
    }
    Rule rule;
    rule.text = line;
    rule.to = line.substr(separator + 1);
    try {  // std::regex has no other way to say that an expression is wrong
      rule.from = std::regex(line.substr(0, separator), std::regex::ECMAScript);
    } catch (const std::regex_error& error) {
      return invalid_argument("rule '" + printable(line) + "': not a regular expression (" + error.what() + ")");
    }
    rules.rules_.push_back(std::move(rule));
  }
  return rules;
}

Result<NameRules> NameRules::load(const std::string& text) {
  Result<std::vector<std::string>> lines = read_lines(text);
  if (lines.ok()) return parse(*lines);
  if (lines.status().code() != StatusCode::kNotFound || text.find('=') == std::string::npos) return lines.status();
  std::vector<std::string> inline_rules;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(';', at), text.size());
    inline_rules.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parse(inline_rules);
}

size_t NameRules::apply(const std::string& name, std::string* target) const {
  constexpr size_t kMaxName = 512;  // the matcher of the standard library recurses with the length of its text
  if (name.size() > kMaxName) return 0;
  for (size_t i = 0; i < rules_.size(); ++i) {
    try {
      std::smatch match;
      if (!std::regex_match(name, match, rules_[i].from)) continue;
      *target = match.format(rules_[i].to);
      return i + 1;
    } catch (const std::regex_error&) {  // too complex for this name: it does not match
    }
  }
  return 0;
}

size_t NameRules::size() const {
  return rules_.size();
}
const std::string& NameRules::text(size_t number) const {
  return rules_[number - 1].text;
}

}  // namespace sparsenet::converter
