// sparsenet-plugin-check: checks that a backend plugin does what sparsenet/plugin.h says (docs/backends.md).
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "plugin_check/failure.h"
#include "plugin_check/report.h"
#include "program/program.h"

namespace sparsenet::plugin_check {
namespace {

constexpr int kConformant = 0, kNotConformant = 1, kUsage = 2;
constexpr uint64_t kQuickSeeds = 6;

constexpr char kHelp[] =
    "Usage: sparsenet-plugin-check PLUGIN.so [options]\n"
    "\n"
    "Checks that a backend plugin conforms to sparsenet/plugin.h. Every check runs in a process of its own.\n"
    "\n"
    "  --seeds N      random cases of each kind of step (default 20)\n"
    "  --quick        6 cases of each kind\n"
    "  --device N     the device that steps run on (default 0)\n"
    "  --cache DIR    keep compiled kernels in this folder, which saves time in further runs\n"
    "  --only TEXT    only checks whose name contains TEXT\n"
    "  --timeout S    seconds after which a check counts as hanging (default 120)\n"
    "  --list         print the names of the checks\n"
    "  --json         print one JSON document\n"
    "  --help         print this text\n"
    "\n"
    "Exit code: 0 if the plugin is conformant, 1 if not, 2 if the program was called wrongly.\n";

struct Arguments {
  Settings settings;
  std::string only;
  bool json = false, list = false, help = false;
  std::string error;
};

bool read_number(const char* from, uint64_t least, uint64_t most, uint64_t* to) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(from, &end, 10);
  if (*from < '0' || *from > '9' || *end || errno != 0 || value < least || value > most) return false;
  *to = value;
  return true;
}

Arguments read_arguments(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc && a.error.empty(); ++i) {
    const std::string name = argv[i];
    if (name.empty() || name[0] != '-') {
      if (name.empty() || !a.settings.path.empty()) a.error = "expected one plugin, found '" + name + "' as well";
      a.settings.path = name;
      continue;
    }
    const bool takes_value =
        name == "--seeds" || name == "--device" || name == "--cache" || name == "--only" || name == "--timeout";
    if (takes_value && i + 1 == argc) {
      a.error = name + ": expected a value behind it";
      continue;
    }
    const char* value = takes_value ? argv[++i] : "";
    uint64_t number = 0;
    if (name == "--seeds") {
      if (!read_number(value, 1, 100000, &a.settings.seeds)) a.error = "--seeds: expected 1 to 100000";
    } else if (name == "--device") {
      if (!read_number(value, 0, 1000, &number)) a.error = "--device: expected 0 to 1000";
      a.settings.device = static_cast<uint32_t>(number);
    } else if (name == "--timeout") {
      if (!read_number(value, 1, 86400, &number)) a.error = "--timeout: expected 1 to 86400 seconds";
      a.settings.timeout = static_cast<unsigned>(number);
    } else if (name == "--cache") {
      a.settings.cache = value;
    } else if (name == "--only") {
      a.only = value;
    } else if (name == "--quick") {
      a.settings.seeds = kQuickSeeds;
    } else if (name == "--json") {
      a.json = true;
    } else if (name == "--list") {
      a.list = true;
    } else if (name == "--help" || name == "-h") {
      a.help = true;
    } else {
      a.error = "unknown option " + name;
    }
    if (takes_value && !a.error.empty()) a.error += std::string(", found '") + value + "'";
  }
  if (a.error.empty() && a.settings.path.empty() && !a.help && !a.list) a.error = "expected a plugin, found none";
  return a;
}

int check_plugin(const Arguments& a) {
  std::vector<Row> rows;
  const auto add = [&](Row row) {
    rows.push_back(std::move(row));
    if (!a.json) print_row(rows.back());
  };
  uint32_t capabilities = 0;
  add({"library", false, try_loading(a.settings, &capabilities)});
  if (rows[0].verdict.kind == Verdict::kPassed) {
    for (const Check& check : checks_for(capabilities)) {
      if (check.name.find(a.only) == std::string::npos) continue;
      add({check.name, check.is_step, try_check(check, a.settings)});
    }
  }
  size_t failed = 0;
  uint64_t cases = 0, steps = 0;
  for (const Row& row : rows) {
    failed += row.verdict.kind == Verdict::kFailed;
    cases += row.verdict.cases;
    steps += row.is_step;
  }
  std::string verdict = "conformant";
  if (failed > 0) {
    verdict = text("not conformant: %zu of %zu checks failed", failed, rows.size());
  } else if (steps > 0 && cases == 0) {
    verdict = "not conformant: the plugin supports no step at all";
  } else if (!a.only.empty()) {
    verdict = text("conformant as far as it was checked: only '%s'", a.only.c_str());
  }
  const bool conformant = failed == 0 && (steps == 0 || cases > 0);
  if (a.json) {
    print_json(a.settings.path, rows, conformant, verdict);
  } else {
    print_end(rows, verdict);
  }
  return conformant ? kConformant : kNotConformant;
}

int run(int argc, char** argv) {
  program::set_activity("checking a plugin");
  const Arguments a = read_arguments(argc, argv);
  if (!a.error.empty()) {
    std::fprintf(stderr, "error: %s (see --help)\n", a.error.c_str());
    return kUsage;
  }
  if (a.help) {
    std::fputs(kHelp, stdout);
    return kConformant;
  }
  if (a.list) {
    for (const Check& check : checks_for(UINT32_MAX)) std::printf("%s\n", check.name.c_str());
    return kConformant;
  }
  if (::access(a.settings.path.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "error: expected a plugin, cannot read '%s': %s\n", a.settings.path.c_str(),
                 std::strerror(errno));
    return kUsage;
  }
  return check_plugin(a);
}

}  // namespace

std::vector<Check> checks_for(uint32_t capabilities) {
  std::vector<Check> all;
  add_table_checks(&all);
  add_refusal_checks(&all);
  add_memory_checks(&all);
  add_run_checks(&all);
  add_port_checks(&all);
  add_step_checks(capabilities, &all);
  return all;
}

}  // namespace sparsenet::plugin_check

int main(int argc, char** argv) {
  return sparsenet::program::run(argc, argv, sparsenet::plugin_check::run);
}
