// What all commands share: registration, common options, loading a model, and reporting failures.
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

// A parsed command: what main() runs once the whole command line has been parsed.
using Action = std::function<int()>;

// One function per subcommand, each in its own file. It adds the subcommand, which sets `action` if it is chosen.
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
void add_devices(CLI::App& app, Action& action);

// Print `error: ...` on stderr and return the exit code.
int fail(const Status& status);
int usage_error(const std::string& message);

// Prints `note: ...` on stderr, about something that is allowed but may not be what was meant. Does nothing for an
// empty text.
void print_note(const std::string& text);

// Checks a number's range; the bounds do not appear in the help text.
CLI::Validator in_range(int64_t least, int64_t most);

// Checks for numbers from 0 to 2^64 - 1. Without it the parser would take -1 for 2^64 - 1.
CLI::Validator no_sign();

// The name of an option on the command line just parsed whose value is empty, for example because a script's variable
// is empty; "" if there is none.
std::string option_without_value(const CLI::App& app);

// The model's path, given as the first argument or, as in other tools, with -m.
struct ModelArgument {
  std::string positional, flag;
  void add_to(CLI::App& command);
  // The path; kInvalidArgument (a usage error) if it is missing or given twice. If the model was given with -m, a
  // command with further positional arguments gets the first of them in `left_over`.
  Result<std::string> resolve(std::string* left_over = nullptr) const;
};

struct BackendOptions {
  std::string backend = "auto", precision = "f32";
  int threads = 0;
  bool large_weights = false;
  bool strict = false, tune = false, tensor_cores = false, check_steps = false, no_device_check = false;  // of plugins
  uint64_t max_memory = 0;  // 0: default_memory()
  void add_to(CLI::App& command);
  Result<SessionOptions> resolve(int64_t batch) const;
};

// Warns on stderr, once per process, if there are more threads than CPUs: such a run is slower, because threads wait
// for those without a CPU.
void warn_of_threads(int threads);

// How often a measuring command runs the network.
struct RunOptions {
  int64_t batch = 1;
  int warmup = 10, runs = 100;
  void add_to(CLI::App& command);  // the defaults in the help text are the members' current values
};

struct LoadedModel {
  std::string path;
  Model model;
  double load_ms = 0;  // reading and verifying the file
  uint64_t file_bytes = 0;

  // The name stored in the file, or else the file's name without folder and extension.
  std::string name() const;
};
Result<LoadedModel> load(const std::string& path);

// How much memory a network may take if the user sets no limit: far more than any ordinary network needs, but little
// enough that a damaged or hostile file of a kilobyte cannot claim all of the machine's memory.
size_t default_memory(uint64_t file_bytes, int64_t batch);

// Session::create, but with an early and clear error if the backend is missing, and errors that name the file. Without
// a memory limit the default is set.
Result<Session> make_session(const LoadedModel& model, const SessionOptions& options);

// Uniform random numbers in [-1, 1) for every input of the session, the same each time: the inputs of bench and
// profile.
std::vector<std::vector<float>> random_inputs(const Session& session);

}  // namespace sparsenet::cli
