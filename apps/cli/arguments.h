// What all commands share: how they are registered, their common options, how they load a model and how they fail.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sparsenet::cli {

// Exit codes of every command.
constexpr int kDone = 0, kFailed = 1, kUsage = 2;

// A parsed command: what main() runs once the whole command line is understood.
using Action = std::function<int()>;

// One of these a subcommand, each in its own file. It adds the subcommand, and sets `action` when that is chosen.
void add_create(CLI::App& app, Action& action);
void add_info(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_classify(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_profile(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);

// Print `error: ...` on stderr and give the exit code.
int fail(const Status& status);
int usage_error(const std::string& message);

// Prints `note: ...` on stderr: what is allowed, but may not be what was meant. Nothing for an empty text.
void print_note(const std::string& text);

// A check of a number's range whose bounds stay out of the help text.
CLI::Validator in_range(int64_t least, int64_t most);

// A check for numbers from 0 to 2^64 - 1, where the parser would take -1 for the largest of them.
CLI::Validator no_sign();

// The name of an option of the command line just parsed whose value is empty, as where a script's variable is; "" where
// there is none.
std::string option_without_value(const CLI::App& app);

// The model comes as the first argument, or with -m as in other tools.
struct ModelArgument {
  std::string positional, flag;
  void add_to(CLI::App& command);
  // The path; kInvalidArgument (a usage error) where it is missing or given twice. A command with further positional
  // arguments gets the first of them in `left_over` where the model came with -m.
  Result<std::string> resolve(std::string* left_over = nullptr) const;
};

struct BackendOptions {
  std::string backend = "auto";
  int threads = 0;
  uint64_t max_memory = 0;  // 0: default_memory()
  void add_to(CLI::App& command);
  Result<SessionOptions> resolve(int64_t batch) const;
};

// Warns on stderr, once a process, of more threads than CPUs, which are slower: each waits for those without a CPU.
void warn_of_threads(int threads);

// How often a measuring command runs.
struct RunOptions {
  int64_t batch = 1;
  int warmup = 10, runs = 100;
  void add_to(CLI::App& command);  // the defaults in the help text are the members' values at this moment
};

struct LoadedModel {
  std::string path;
  Model model;
  double load_ms = 0;  // reading and verifying the file
  uint64_t file_bytes = 0;

  // What the file calls itself, or the file's name without folder and ending.
  std::string name() const;
};
Result<LoadedModel> load(const std::string& path);

// What a network may take where the user sets no limit: far beyond that of any ordinary one, so that a damaged or
// hostile file of a kilobyte cannot claim the machine.
size_t default_memory(uint64_t file_bytes, int64_t batch);

// Session::create with an early, clear answer where the backend is missing, and errors that name the file; without a
// limit of memory, the default is set.
Result<Session> make_session(const LoadedModel& model, const SessionOptions& options);

// For every input of the session uniform numbers in [-1, 1), the same each time: what bench and profile run on.
std::vector<std::vector<float>> random_inputs(const Session& session);

}  // namespace sparsenet::cli
