// The list of checks. Each runs in a process of its own (trial.h), so that a plugin that crashes fails that check
// alone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "plugin_check/subject.h"

namespace sparsenet::plugin_check {

// What a check tells its parent while it runs.
struct Progress {
  virtual ~Progress() = default;
  virtual void at(const std::string& what) = 0;  // said if the process ends on its own
  virtual void count_case(double error) = 0;     // that a case ran, and its error
  virtual void count_unsupported(const std::string& reason) = 0;
  virtual void note(const std::string& text) = 0;  // said if the check passes
};

struct Check {
  std::string name;
  std::function<void(Subject&, const Settings&, Progress&)> run;   // ends with an exception if it fails
  bool is_step = false;                                            // a row of the table of steps
  std::function<void(const Settings&, Progress&)> run_alone = {};  // in place of `run`: loads the plugin itself
};

// The checks for a plugin with these capabilities, in the order in which they run.
std::vector<Check> checks_for(uint32_t capabilities);

// By source: each adds its own.
void add_table_checks(std::vector<Check>* all);                        // check_table.cpp
void add_refusal_checks(std::vector<Check>* all);                      // check_refusals.cpp
void add_step_checks(uint32_t capabilities, std::vector<Check>* all);  // check_steps.cpp
void add_memory_checks(std::vector<Check>* all);                       // check_memory.cpp
void add_run_checks(std::vector<Check>* all);                          // check_runs.cpp
void add_port_checks(std::vector<Check>* all);                         // check_ports.cpp

}  // namespace sparsenet::plugin_check
