// Commands that are planned but not implemented yet. They accept any arguments and say so, so that scripts get a clear
// answer.
#include "cli/arguments.h"

namespace sparsenet::cli {
namespace {

void add_unavailable(CLI::App& app, Action& action, const std::string& name, const std::string& purpose) {
  CLI::App* command = app.add_subcommand(name, purpose + " (not available in this version)");
  command->allow_extras();
  command->callback([&action, name] {
    action = [name] { return fail(unsupported("`sparsenet " + name + "` is not available in this version")); };
  });
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  add_unavailable(app, action, "quantize", "Reduce a network to int8");
}

}  // namespace sparsenet::cli
