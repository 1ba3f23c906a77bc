#include "converter/weights/name_rules.h"

#include <re2/re2.h>

#include <algorithm>

#include "converter/io/file_bytes.h"
#include "converter/report.h"

namespace sparsenet::converter {

struct NameRules::Rule {
  std::string text;
  std::unique_ptr<const re2::RE2> from;
  std::string to;
};

namespace {

// RE2 matches in time linear in the text, whatever the expression, so no rule can hang the conversion. It supports no
// back references and no look-around, which would need more.
std::unique_ptr<const re2::RE2> compile(const std::string& expression) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_encoding(re2::RE2::Options::EncodingLatin1);  // names of tensors are bytes
  options.set_max_mem(int64_t{1} << 18);                    // per rule
  return std::make_unique<const re2::RE2>(expression, options);
}

// `to` with $1, $12, $& and $$ replaced by the contents of the groups, as in ECMAScript.
std::string substitute(const std::string& to, const std::vector<re2::StringPiece>& groups) {
  std::string out;
  const auto is_digit = [&to](size_t i) { return i < to.size() && to[i] >= '0' && to[i] <= '9'; };
  const auto append = [&](size_t group) {
    if (groups[group].data() != nullptr) out.append(groups[group].data(), groups[group].size());
  };
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] != '$' || i + 1 == to.size()) {
      out += to[i];
    } else if (to[i + 1] == '$') {
      out += to[++i];
    } else if (to[i + 1] == '&') {
      append(0);
      ++i;
    } else if (is_digit(i + 1)) {
      size_t group = static_cast<size_t>(to[++i] - '0');
      if (is_digit(i + 1) && group * 10 + static_cast<size_t>(to[i + 1] - '0') < groups.size()) {
        group = group * 10 + static_cast<size_t>(to[++i] - '0');
      }
      if (group < groups.size()) append(group);
    } else {
      out += to[i];
    }
  }
  return out;
}

}  // namespace

NameRules::NameRules() = default;
NameRules::NameRules(NameRules&&) noexcept = default;
NameRules& NameRules::operator=(NameRules&&) noexcept = default;
NameRules::~NameRules() = default;

Result<NameRules> NameRules::parse(const std::vector<std::string>& lines) {
  constexpr size_t kMaxRules = 10000, kMaxLength = 1000;
  constexpr int64_t kMaxInstructions = int64_t{1} << 21;  // a rule without large repetition counts has about a hundred
  int64_t instructions = 0;
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
    rule.from = compile(line.substr(0, separator));
    if (!rule.from->ok()) {
      return invalid_argument("rule '" + printable(line) + "': not a regular expression (" + rule.from->error() +
                              "; back references and look-around are not supported)");
    }
    instructions += rule.from->ProgramSize();
    if (instructions > kMaxInstructions) return invalid_argument("rules: together they are too large to match");
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
  for (size_t i = 0; i < rules_.size(); ++i) {
    const re2::RE2& from = *rules_[i].from;
    std::vector<re2::StringPiece> groups(static_cast<size_t>(from.NumberOfCapturingGroups()) + 1);
    if (!from.Match(name, 0, name.size(), re2::RE2::ANCHOR_BOTH, groups.data(), static_cast<int>(groups.size()))) {
      continue;
    }
    *target = substitute(rules_[i].to, groups);
    return i + 1;
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
