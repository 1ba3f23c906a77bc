// sparsenet-mlperf-tiny: the device side of MLPerf Tiny's image classification, on this machine. Speaks the benchmark's
// protocol over standard input and output, or scores itself as the benchmark's runners do.
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>
#include <sparsenet/status.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/file_kind.h"
#include "mlperf_tiny/ic_task.h"
#include "mlperf_tiny/protocol.h"
#include "mlperf_tiny/runner.h"
#include "mlperf_tiny/th.h"
#include "program/program.h"

namespace sparsenet::mlperf {
namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2;
constexpr char kVendor[] = "sparsenet", kModel[] = "ic01";
constexpr size_t kWindows = 5;
constexpr uint32_t kLeastIterations = 10;

constexpr const char* kFooter =
    R"(Without --score: commands come in on standard input, answers go out on standard output.
  printf 'name%%profile%%' | sparsenet-mlperf-tiny net.snet
With --score: the accuracy on the images, and the median speed of five windows of inferences.
  sparsenet-mlperf-tiny net.snet --score test_batch.bin --indices perf_samples_idxs.npy
The model needs a stored plan: sparsenet-convert net.tflite -o net.snet --plan portable-f32)";

int fail(const std::string& message) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return kFailed;
}

// A mapped model file, and a session in separately allocated memory.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() {
    std::free(memory_);
    if (data_) sn_unmap_file(data_, bytes_);
  }

  Status open(const std::string& path) {
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
    sn_session* session = nullptr;
    status = sn_prepare(data_, bytes_, nullptr, memory_, room, &session, &why);
    if (status != SN_OK) return failed(status);
    const char* problem = task.open(session);
    return problem ? unsupported(path + ": " + problem) : Status();
  }

  IcTask task;
  uint8_t buffer[IcTask::kInputBytes] = {};
  Protocol protocol{kVendor, kModel, buffer, sizeof buffer};

 private:
  const void* data_ = nullptr;
  size_t bytes_ = 0;
  void* memory_ = nullptr;
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
  attach(port, &device.protocol, &device.task);
  serve();
  return kDone;
}

struct Options {
  std::string model, images, indices;
  double seconds = 10;
  bool json = false, accuracy_only = false;
};

int score(Device& device, const Options& options) {
  auto samples = read_samples(options.images, options.indices);
  if (!samples.ok()) return fail(samples.status().message());
  Runner runner(&device.protocol, &device.task);
  const Status started = runner.start();
  if (!started.ok()) return fail(started.message());

  size_t correct = 0;
  for (const Sample& sample : *samples) {
    auto found = runner.classify(sample);
    if (!found.ok()) return fail(found.status().message());
    correct += *found == sample.label ? 1 : 0;
  }
  const double percent = 100.0 * static_cast<double>(correct) / static_cast<double>(samples->size());
  auto json = nlohmann::ordered_json::object();
  json["model"] = options.model;
  json["task"] = kModel;
  json["samples"] = samples->size();
  json["correct"] = correct;
  json["accuracy_percent"] = percent;
  if (!options.json) std::printf("accuracy: %zu of %zu right, %.2f %%\n", correct, samples->size(), percent);

  if (!options.accuracy_only) {
    std::vector<double> rates;
    json["windows"] = nlohmann::ordered_json::array();
    for (size_t i = 0; i < kWindows; ++i) {
      auto window = runner.measure((*samples)[i % samples->size()], options.seconds, kLeastIterations);
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
  CLI::App app("MLPerf Tiny image classification, device side.", "sparsenet-mlperf-tiny");
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
  auto* images = app.add_option("--score", options.images, "score these images: a CIFAR-10 file (test_batch.bin)");
  app.add_option("--indices", options.indices,
                 "only the images with these indices: a .npy file (perf_samples_idxs.npy)")
      ->needs(images);
  app.add_option("--seconds", options.seconds, "minimum length of a window; the rules require 10")
      ->check(seconds)
      ->default_str("10")
      ->needs(images);
  app.add_flag("--accuracy-only", options.accuracy_only, "only the accuracy, no timing windows")->needs(images);
  app.add_flag("--json", options.json, "print the score as one JSON document")->needs(images);
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
  const Status opened = device.open(options.model);
  if (!opened.ok()) return fail(opened.message());
  return options.images.empty() ? serve_standard_streams(device) : score(device, options);
}

}  // namespace
}  // namespace sparsenet::mlperf

int main(int argc, char** argv) {
  sparsenet::program::set_activity("running the benchmark's device side");
  return sparsenet::program::run(argc, argv, sparsenet::mlperf::main_or_throw);
}
