// sparsenet: the command line of the engine. Each command is a file of its own; see arguments.h.
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "cli/arguments.h"

namespace sparsenet::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  sparsenet create sparsenet-abc-v1 -o net.snet
  sparsenet info net.snet --plan-svg plan.svg
  sparsenet classify net.snet photo.jpg
  sparsenet eval net.snet --data cifar10:data/cifar10
  sparsenet bench net.snet --threads 1 --json

Every command has --help with examples. Exit codes: 0 done, 1 failed, 2 wrong usage.
Networks trained elsewhere come in through sparsenet-convert.)";

struct Command {
  const char* name;
  void (*add)(CLI::App&, Action&);
};
constexpr Command kCommands[] = {
    {"create", add_create}, {"info", add_info},         {"run", add_run},         {"classify", add_classify},
    {"eval", add_eval},     {"bench", add_bench},       {"profile", add_profile}, {"verify", add_verify},
    {"train", add_train},   {"quantize", add_quantize},
};

bool is_command(const std::string& word) {
  for (const Command& command : kCommands) {
    if (word == command.name) return true;
  }
  return false;
}

int main_or_throw(int argc, char** argv) {
  CLI::App app("Runs SparseNet, DenseNet and other convolutional image classifiers on the CPU.", "sparsenet");
  app.set_version_flag("--version", "sparsenet " + version());
  app.require_subcommand(1);
  Action action;
  for (const Command& command : kCommands) command.add(app, action);
  app.footer(kFooter);  // after them, or they would inherit it

  // The parser would call an unknown command a missing one.
  if (argc > 1 && argv[1][0] != '-' && !is_command(argv[1])) {
    return usage_error(std::string("unknown command '") + argv[1] + "'; `sparsenet --help` lists the commands");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);  // help, version
    std::string help = "sparsenet";
    for (const CLI::App* command : app.get_subcommands()) help += " " + command->get_name();
    return usage_error(std::string(error.what()) + "; see `" + help + " --help`");
  }
  return action();
}

}  // namespace
}  // namespace sparsenet::cli

int main(int argc, char** argv) {
  int code = sparsenet::cli::kFailed;
  try {
    code = sparsenet::cli::main_or_throw(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  // A full disk behind stdout must not look like success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "error: cannot write to standard output\n");
    if (code == sparsenet::cli::kDone) code = sparsenet::cli::kFailed;
  }
  return code;
}
