#include "cli/arguments.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <random>

#include "cli/statistics.h"
#include "io/file_kind.h"

namespace sparsenet::cli {

int fail(const Status& status) {
  std::fflush(stdout);  // keeps the order if both go to the same place
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return kFailed;
}

int usage_error(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return kUsage;
}

void print_note(const std::string& text) {
  if (text.empty()) return;
  std::fflush(stdout);
  std::fprintf(stderr, "note: %s\n", text.c_str());
}

CLI::Validator in_range(int64_t least, int64_t most) {
  CLI::Validator check = CLI::Range(least, most);
  check.description("");
  return check;
}

CLI::Validator no_sign() {
  return CLI::Validator(
      [](std::string& text) {
        const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        errno = 0;
        const bool fits = digits && (std::strtoull(text.c_str(), nullptr, 10), errno == 0);
        return fits ? std::string() : "expected a number from 0 to 2^64 - 1, found '" + text + "'";
      },
      "");
}

std::string option_without_value(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_expected_max() == 0) continue;  // a flag
    for (const std::string& value : option->results()) {
      if (value.empty()) return option->get_name();
    }
  }
  for (const CLI::App* command : app.get_subcommands()) {
    const std::string name = option_without_value(*command);
    if (!name.empty()) return name;
  }
  return "";
}

void ModelArgument::add_to(CLI::App& command) {
  command.add_option("MODEL", positional, "the .snet file");
  command.add_option("-m,--graph,--model", flag, "the .snet file, instead of MODEL");
}

Result<std::string> ModelArgument::resolve(std::string* left_over) const {
  if (flag.empty() && positional.empty()) return invalid_argument("MODEL is missing: expected a .snet file");
  if (flag.empty()) return positional;
  if (left_over != nullptr) {
    *left_over = positional;
  } else if (!positional.empty()) {
    return invalid_argument("the model is given twice: '" + flag + "' and '" + positional + "'");
  }
  return flag;
}

void BackendOptions::add_to(CLI::App& command) {
  command
      .add_option("--backend", backend,
                  "auto, portable, onednn or reference; or a plugin, such as opencl or cuda, with :N for its device N "
                  "(`sparsenet devices` lists them)")
      ->default_str("auto");
  command
      .add_option("--precision", precision,
                  "f32; bf16: products in bfloat16, on CPUs that have it (faster, less exact); f16: values stored as "
                  "float16, on opencl and cuda")
      ->default_str("f32");
  command.add_option("-t,--threads,--num_threads", threads, "CPU threads; 0: as many as this process may use")
      ->check(in_range(0, 4096))
      ->default_str("0");
  command
      .add_option(
          "--max-memory", max_memory,
          "most memory that the network may take, as 512MB or 2GiB (default: 384 MiB per image + 16 x the file)")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::PositiveNumber.description(""));
  command.add_flag("--strict", strict, "with a plugin: fail instead of falling back to the CPU");
  command.add_flag("--tensor-cores", tensor_cores,
                   "with --precision f16 on a plugin: products in float16, where it can");
  command.add_flag("--tune", tune, "with a plugin: find its fastest settings by timing, and keep them");
  auto* check =
      command.add_flag("--check-steps", check_steps,
                       "with a plugin: compare each step of the first run with the CPU, not the outputs alone");
  command.add_flag("--no-device-check", no_device_check, "with a plugin: do not compare the first run with the CPU")
      ->excludes(check);
  command.add_flag("--large-weights", large_weights, "speed over memory: keep weights in whatever form is fastest");
}

size_t default_memory(uint64_t file_bytes, int64_t batch) {
  constexpr uint64_t kPerImage = uint64_t{384} << 20, kPerFileByte = 16;
  const double wanted = static_cast<double>(kPerImage) * static_cast<double>(std::max<int64_t>(batch, 1)) +
                        static_cast<double>(kPerFileByte) * static_cast<double>(file_bytes);
  const double most = static_cast<double>(std::numeric_limits<size_t>::max() / 2);
  return static_cast<size_t>(std::min(wanted, most));
}

void RunOptions::add_to(CLI::App& command) {
  command.add_option("--batch", batch, "images per run")
      ->check(in_range(1, 1 << 16))
      ->default_str(std::to_string(batch));
  command.add_option("--warmup,--warmup_runs", warmup, "runs before the measured ones")
      ->check(in_range(0, 1 << 24))
      ->default_str(std::to_string(warmup));
  command.add_option("-r,--runs,--num_runs", runs, "measured runs")
      ->check(in_range(1, 1 << 24))
      ->default_str(std::to_string(runs));
}

Result<SessionOptions> BackendOptions::resolve(int64_t batch) const {
  SessionOptions options;
  SPARSENET_RETURN_IF_ERROR(parse_backend(backend, &options));
  SPARSENET_ASSIGN_OR_RETURN(options.precision, parse_precision(precision));
  options.threads = threads;
  options.large_weights = large_weights;
  options.strict = strict;
  options.tune = tune;
  options.tensor_cores = tensor_cores;
  options.device_check = no_device_check ? DeviceCheck::kOff
                         : check_steps   ? DeviceCheck::kSteps
                                         : DeviceCheck::kOutputs;
  options.batch = batch;
  options.max_memory_bytes = static_cast<size_t>(std::min<uint64_t>(max_memory, std::numeric_limits<size_t>::max()));
  return options;
}

void warn_of_threads(int threads) {
  static bool warned = false;
  const int cpus = usable_cpus();
  if (warned || threads <= cpus) return;
  warned = true;
  std::fprintf(stderr,
               "warning: %d threads, but %d CPU%s that this process may use: expect it to be slower, not faster\n",
               threads, cpus, cpus == 1 ? "" : "s");
}

std::string LoadedModel::name() const {
  return model.metadata.name.empty() ? std::filesystem::path(path).stem().string() : model.metadata.name;
}

Result<LoadedModel> load(const std::string& path) {
  const Stopwatch watch;
  auto model = load_model(path);
  if (!model.ok()) return io::explain_not_snet(path, model.status());
  LoadedModel loaded;
  loaded.path = path;
  loaded.model = std::move(*model);
  loaded.load_ms = watch.milliseconds();
  std::error_code gone;  // whatever the error, the model is loaded
  const auto bytes = std::filesystem::file_size(path, gone);
  loaded.file_bytes = gone ? 0 : bytes;
  return loaded;
}

Result<Session> make_session(const LoadedModel& model, const SessionOptions& wanted) {
  SessionOptions options = wanted;
  const bool chosen = options.max_memory_bytes > 0;
  if (!chosen) options.max_memory_bytes = default_memory(model.file_bytes, options.batch);
  auto session = Session::create(model.model, options);
  if (!session.ok()) {
    Status status = session.status();
    const bool limited = status.code() == StatusCode::kOutOfMemory && !chosen;
    if (limited) status = out_of_memory(status.message() + " (--max-memory BYTES allows more)");
    return status.with_context(model.path);
  }
  warn_of_threads(session->threads());
  return session;
}

std::vector<std::vector<float>> random_inputs(const Session& session) {
  std::mt19937 random(1);
  std::vector<std::vector<float>> inputs;
  for (const TensorInfo& input : session.inputs()) {
    inputs.emplace_back(static_cast<size_t>(element_count(input.shape)));
    // 24 random bits, which a float holds exactly.
    for (float& value : inputs.back()) value = static_cast<float>(random() >> 8) / float{1 << 23} - 1.0f;
  }
  return inputs;
}

}  // namespace sparsenet::cli
