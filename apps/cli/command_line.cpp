#include "cli/command_line.h"

#include <cstring>
#include <string>

#include "cli/arguments.h"
#include "program/program.h"

namespace sparsenet::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  sparsenet create sparsenet-abc-v1 -o net.snet
  sparsenet info net.snet --plan-svg plan.svg
  sparsenet classify net.snet photo.jpg
  sparsenet eval net.snet --data cifar10:data/cifar10
  sparsenet bench net.snet --threads 1 --json

Every command has --help with examples. Exit codes: 0 done, 1 failed, 2 wrong usage.
Networks trained elsewhere are imported with sparsenet-convert.)";

struct Command {
  const char* name;
  void (*add)(CLI::App&, Action&);
  const char* activity;
};
constexpr Command kCommands[] = {
    {"create", add_create, "creating a network"},    {"info", add_info, "describing a network"},
    {"run", add_run, "running a network"},           {"classify", add_classify, "classifying images"},
    {"eval", add_eval, "evaluating a network"},      {"bench", add_bench, "measuring a network"},
    {"profile", add_profile, "profiling a network"}, {"verify", add_verify, "verifying a network"},
    {"train", add_train, "training a network"},      {"quantize", add_quantize, "quantizing a network"},
    {"devices", add_devices, "listing devices"},
};

const Command* find_command(const char* word) {
  for (const Command& command : kCommands) {
    if (std::strcmp(word, command.name) == 0) return &command;
  }
  return nullptr;
}

}  // namespace

int command_line(int argc, char** argv) {
  const Command* const asked = argc > 1 ? find_command(argv[1]) : nullptr;
  program::set_activity(asked != nullptr ? asked->activity : "reading the command line");
  CLI::App app("Runs SparseNet, DenseNet and other convolutional image classifiers on the CPU.", "sparsenet");
  app.set_version_flag("--version", "sparsenet " + version());
  app.require_subcommand(1);
  Action action;
  for (const Command& command : kCommands) command.add(app, action);
  app.footer(kFooter);  // after the subcommands, which would inherit it otherwise

  // The parser would report an unknown command as a missing one.
  if (argc > 1 && argv[1][0] != '-' && asked == nullptr) {
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
  const std::string empty = option_without_value(app);
  if (!empty.empty()) return usage_error(empty + ": expected a value, found an empty one");
  return action();
}

}  // namespace sparsenet::cli
