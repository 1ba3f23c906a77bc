// A trial runs one check in a process of its own: a plugin that crashes or hangs fails that check, and the others still
// run. The plugin is never loaded into the parent, because drivers do not survive a fork().
#pragma once

#include <string>

#include "plugin_check/checks.h"

namespace sparsenet::plugin_check {

struct Verdict {
  enum Kind { kPassed, kSkipped, kFailed } kind = kFailed;
  std::string text;
  uint32_t cases = 0, unsupported = 0;  // random cases that ran, and that the plugin does not support
  double worst = 0;                     // the largest error
  std::string reason;                   // against a case that is not supported
};

Verdict try_check(const Check& check, const Settings& settings);

// Loads the plugin in a process of its own and tells its capabilities.
Verdict try_loading(const Settings& settings, uint32_t* capabilities);

}  // namespace sparsenet::plugin_check
