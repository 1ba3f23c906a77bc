// What the program prints: for people, line by line while it works; or one JSON document at the end.
#pragma once

#include <string>
#include <vector>

#include "plugin_check/trial.h"

namespace sparsenet::plugin_check {

struct Row {
  std::string name;
  bool is_step;
  Verdict verdict;
};

void print_row(const Row& row);
// The table of the kinds of steps, and the verdict on the whole.
void print_end(const std::vector<Row>& rows, const std::string& verdict);
void print_json(const std::string& path, const std::vector<Row>& rows, bool conformant, const std::string& verdict);

}  // namespace sparsenet::plugin_check
