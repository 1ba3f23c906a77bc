// sparsenet-mlperf-tiny: the device side of MLPerf Tiny on this machine. Speaks the benchmark's protocol over standard
// input and output, or scores itself as the benchmark's runners do.
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>
#include <sparsenet/status.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/file_kind.h"
#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/runner.h"
#include "mlperf_tiny/samples.h"
#include "mlperf_tiny/score.h"
#include "mlperf_tiny/task.h"
#include "mlperf_tiny/th.h"
#include "program/program.h"

namespace sparsenet::mlperf {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;
constexpr char kVendor[] = "sparsenet";
constexpr size_t kWindows = 5;
constexpr uint32_t kLeastIterations = 10;

constexpr const char* kFooter =
    R"(Without --score: commands come in on standard input, answers go out on standard output.
  printf 'name%%profile%%' | sparsenet-mlperf-tiny net.snet
With --score: the accuracy on labelled inputs, and the median speed of five windows of inferences.
  sparsenet-mlperf-tiny net.snet --score test_batch.bin --indices perf_samples_idxs.npy
  sparsenet-mlperf-tiny keywords.snet --score datasets/kws01
The model needs a stored plan: sparsenet-convert net.tflite -o net.snet --plan portable-f32)";

int fail(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return kFailed;
}

struct Options {
  std::string model, task, model_id, samples, indices;
  double seconds = 10;
  bool json = false, accuracy_only = false;
};

std::string shape_of(const sn_session* session, bool output) {
  sn_tensor tensor{};
  tensor.struct_size = sizeof tensor;
  if ((output ? sn_output : sn_input)(session, 0, &tensor) != SN_OK) return "none";
  return to_string(Shape(tensor.dims, tensor.dims + tensor.rank));
}

// A mapped model file, a session in separately allocated memory, and the task that the network performs.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() {
    std::free(memory_);
    if (data_) sn_unmap_file(data_, bytes_);
  }

  Status open(const Options& options) {
    sn_session* session = nullptr;
    SPARSENET_RETURN_IF_ERROR(prepare(options.model, &session));
    kind_ = options.task.empty() ? find_task(session) : nullptr;
    for (const TaskKind* const* kind = kTasks; *kind; ++kind) {
      if (options.task == (*kind)->name) kind_ = *kind;
    }
    const char* problem = kNoTask;
    if (kind_) {
      task_memory_.resize((Task::memory_bytes(session) + sizeof(float) - 1) / sizeof(float));
      problem = task.open(session, *kind_, task_memory_.data(), task_memory_.size() * sizeof(float));
    }
    if (problem) {
      return unsupported(options.model + ": " + problem + "; found an input " + shape_of(session, false) +
                         " and an output " + shape_of(session, true));
    }
    buffer_.resize(kind_->input_bytes);
    model_id_ = options.model_id.empty() ? kind_->id : options.model_id;
    protocol.emplace(kVendor, model_id_.c_str(), buffer_.data(), buffer_.size());
    return {};
  }

  const TaskKind& kind() const { return *kind_; }
  const std::string& model_id() const { return model_id_; }

  Task task;
  std::optional<Protocol> protocol;

 private:
  Status prepare(const std::string& path, sn_session** session) {
    sn_message why{};
    why.struct_size = sizeof why;
    const auto failed = [&](sn_status status) {
      return io::explain_not_snet(path, unsupported(path + ": " + (why.text[0] ? why.text : sn_status_name(status))));
    };
    sn_status status = sn_map_file(path.c_str(), &data_, &bytes_, &why);
    if (status != SN_OK) return failed(status);
    sn_needs needs{};
    needs.struct_size = sizeof needs;
    status = sn_measure(data_, bytes_, nullptr, &needs, &why);
    if (status != SN_OK) return failed(status);
    const size_t room = (needs.memory_bytes + SN_ALIGNMENT - 1) / SN_ALIGNMENT * SN_ALIGNMENT;
    memory_ = std::aligned_alloc(SN_ALIGNMENT, room);
    if (!memory_) return out_of_memory(path + ": the session needs " + std::to_string(needs.memory_bytes) + " bytes");
    status = sn_prepare(data_, bytes_, nullptr, memory_, room, session, &why);
    return status == SN_OK ? Status() : failed(status);
  }

  const void* data_ = nullptr;
  size_t bytes_ = 0;
  void* memory_ = nullptr;
  const TaskKind* kind_ = nullptr;
  std::vector<float> task_memory_;
  std::vector<uint8_t> buffer_;
  std::string model_id_;
};

int serve_standard_streams(Device& device) {
  Port port{};
  // The other end waits for complete lines.
  port.get = [](void*) { return std::getchar(); };
  port.put = [](void*, char c) {
    std::putchar(c);
    if (c == '\n') std::fflush(stdout);
  };
  port.microseconds = [](void*) {
    const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since_start).count());
  };
  attach(port, &*device.protocol, &device.task);
  serve();
  return kDone;
}

// Also adds what it prints to *json.
void print_accuracy(const TaskKind& kind, const Accuracy& accuracy, bool quiet, nlohmann::ordered_json* json) {
  (*json)["samples"] = accuracy.samples;
  if (kind.score) {
    (*json)["inputs"] = accuracy.inputs;
    (*json)["auc"] = accuracy.auc;
    if (!quiet) std::printf("AUC: %.4f, %zu samples, %zu inputs\n", accuracy.auc, accuracy.samples, accuracy.inputs);
    return;
  }
  (*json)["correct"] = accuracy.correct;
  (*json)["accuracy_percent"] = accuracy.percent();
  if (!quiet) {
    std::printf("accuracy: %zu of %zu right, %.2f %%\n", accuracy.correct, accuracy.samples, accuracy.percent());
  }
}

int score(Device& device, const Options& options) {
  auto samples = read_samples(device.kind(), options.samples, options.indices);
  if (!samples.ok()) return fail(samples.status().message());
  Runner runner(&*device.protocol, &device.task);
  const Status started = runner.start();
  if (!started.ok()) return fail(started.message());

  auto accuracy = find_accuracy(device.kind(), *samples, &runner);
  if (!accuracy.ok()) return fail(options.samples + ": " + accuracy.status().message());
  auto json = nlohmann::ordered_json::object();
  json["model"] = options.model;
  json["task"] = device.model_id();
  print_accuracy(device.kind(), *accuracy, options.json, &json);

  if (!options.accuracy_only) {
    std::vector<double> rates;
    json["windows"] = nlohmann::ordered_json::array();
    for (size_t i = 0; i < kWindows; ++i) {
      // Of a sample of several inputs the first, as runners do.
      const Sample& sample = (*samples)[i % samples->size()];
      auto window = runner.measure({sample.bytes.data(), device.kind().input_bytes}, options.seconds, kLeastIterations);
      if (!window.ok()) return fail(window.status().message());
      rates.push_back(window->per_second());
      json["windows"].push_back({{"iterations", window->iterations},
                                 {"seconds", window->seconds},
                                 {"inferences_per_second", window->per_second()}});
      if (!options.json) {
        std::printf("window %zu: %u inferences in %.3f s, %.1f per second\n", i + 1, window->iterations,
                    window->seconds, window->per_second());
        std::fflush(stdout);
      }
    }
    std::sort(rates.begin(), rates.end());
    json["median_inferences_per_second"] = rates[kWindows / 2];
    if (!options.json) std::printf("median: %.1f inferences per second\n", rates[kWindows / 2]);
  }
  if (options.json) std::printf("%s\n", json.dump(2).c_str());
  return kDone;
}

int main_or_throw(int argc, char** argv) {
  CLI::App app("MLPerf Tiny, device side.", "sparsenet-mlperf-tiny");
  app.set_version_flag("--version", "sparsenet-mlperf-tiny " + version());
  Options options;
  app.add_option("MODEL", options.model, "the .snet file, with a stored plan")->required();
  const CLI::Validator seconds(
      [](std::string& text) {
        double value = 0;
        // The comparison is false for NaN.
        const bool fits = CLI::detail::lexical_cast(text, value) && value >= 0 && value <= 3600;
        return fits ? std::string() : "expected a number from 0 to 3600, found '" + text + "'";
      },
      "");
  app.add_option("--task", options.task, "ic, kws or ad; otherwise the one that the network's input fits")
      ->check(CLI::IsMember(std::vector<std::string>{"ic", "kws", "ad"}));
  app.add_option("--model-id", options.model_id,
                 "what `profile` tells runners, if not ic01, kws01 or ad01 (ic02 for the larger ResNet8)");
  auto* samples = app.add_option("--score", options.samples,
                                 "score these inputs: a folder with y_labels.csv and the files that it lists, or a "
                                 "CIFAR-10 file (test_batch.bin)");
  app.add_option("--indices", options.indices,
                 "only the inputs with these indices: a .npy file (perf_samples_idxs.npy)")
      ->needs(samples);
  app.add_option("--seconds", options.seconds, "minimum length of a window; the rules require 10")
      ->check(seconds)
      ->default_str("10")
      ->needs(samples);
  app.add_flag("--accuracy-only", options.accuracy_only, "only the accuracy, no timing windows")->needs(samples);
  app.add_flag("--json", options.json, "print the score as one JSON document")->needs(samples);
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
    std::fprintf(stderr, "error: %s; see `sparsenet-mlperf-tiny --help`\n", error.what());
    return kUsage;
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& value : option->results()) {
      if (!value.empty()) continue;
      std::fprintf(stderr, "error: %s: expected a value, found an empty one\n", option->get_name().c_str());
      return kUsage;
    }
  }
  Device device;
  const Status opened = device.open(options);
  if (!opened.ok()) return fail(opened.message());
  return options.samples.empty() ? serve_standard_streams(device) : score(device, options);
}

}  // namespace
}  // namespace sparsenet::mlperf

int main(int argc, char** argv) {
  sparsenet::program::set_activity("running the benchmark's device side");
  return sparsenet::program::run(argc, argv, sparsenet::mlperf::main_or_throw);
}
