// Rules that rename the tensors of a source file: `--map`.
#pragma once

#include <sparsenet/status.h>

#include <memory>
#include <string>
#include <vector>

namespace sparsenet::converter {

// A rule is `FROM=TO`: FROM is a regular expression (RE2 syntax) that must match a tensor's whole name, TO is the name
// of a constant of the graph, with $1, $2, ... for the groups of FROM. An empty TO drops the tensor. The first rule
// that matches decides. The last '=' of a line separates the two.
class NameRules {
 public:
  NameRules();
  NameRules(NameRules&&) noexcept;
  NameRules& operator=(NameRules&&) noexcept;
  ~NameRules();

  // From lines; empty ones and those that begin with '#' are skipped. Errors name the line.
  static Result<NameRules> parse(const std::vector<std::string>& lines);
  // `text` is the path of a file of rules or, if it contains a '=' and no such file exists, rules separated by ';'.
  static Result<NameRules> load(const std::string& text);

  // The 1-based number of the first rule that matches `name`, and the name that it gives; 0: none matches.
  size_t apply(const std::string& name, std::string* target) const;
  size_t size() const;
  const std::string& text(size_t number) const;

 private:
  struct Rule;
  std::vector<Rule> rules_;
};

}  // namespace sparsenet::converter
