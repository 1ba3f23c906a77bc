#include "mlperf_tiny/runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

namespace sparsenet::mlperf {
namespace {

constexpr size_t kBytesPerCommand = 31;  // as sent by runners
constexpr uint32_t kMostIterations = 1000000000;

// What follows `prefix` in the first line that begins with it; if the prefix ends with '[', only up to the next ']'.
bool find_value(const std::vector<std::string>& lines, const std::string& prefix, std::string* value) {
  for (const std::string& line : lines) {
    if (line.compare(0, prefix.size(), prefix) != 0) continue;
    *value = line.substr(prefix.size());
    if (prefix.back() == '[') {
      if (value->empty() || value->back() != ']') return false;
      value->pop_back();
    }
    return true;
  }
  return false;
}

Result<std::vector<float>> read_results(const std::vector<std::string>& lines) {
  std::string list;
  if (!find_value(lines, "m-results-[", &list)) return internal_error("the device gave no results");
  std::vector<float> results;
  for (const char* at = list.c_str(); *at;) {
    char* end = nullptr;
    results.push_back(std::strtof(at, &end));
    if (end == at) return internal_error("the device's results are no numbers: " + list);
    at = *end == ',' ? end + 1 : end;
  }
  if (results.empty()) return internal_error("the device gave no results");
  return results;
}

// The microseconds between the two timestamps of an answer.
Result<double> read_seconds(const std::vector<std::string>& lines) {
  constexpr char kLap[] = "m-lap-us-";
  std::vector<double> laps;
  for (const std::string& line : lines) {
    if (line.compare(0, sizeof kLap - 1, kLap) == 0)
      laps.push_back(std::strtod(line.c_str() + sizeof kLap - 1, nullptr));
  }
  if (laps.size() != 2) return internal_error("the device gave " + std::to_string(laps.size()) + " timestamps, not 2");
  return (laps[1] - laps[0]) * 1e-6;
}

uint64_t now(void*) {
  using std::chrono::duration_cast;
  return static_cast<uint64_t>(
      duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

}  // namespace

Runner::Runner(Protocol* protocol, Task* task) : protocol_(protocol) {
  attach({[](void*) { return -1; }, [](void* self, char c) { static_cast<Runner*>(self)->answer_.push_back(c); }, now,
          this},
         protocol, task);
}

Status Runner::start() {
  protocol_->start();
  return {};
}

Status Runner::send(const std::string& command, std::vector<std::string>* lines) {
  answer_.clear();
  for (const char c : command) protocol_->receive(c);
  protocol_->receive('%');
  std::vector<std::string> found;
  for (size_t at = 0; at < answer_.size();) {
    const size_t end = answer_.find("\r\n", at);
    if (end == std::string::npos) break;
    found.push_back(answer_.substr(at, end - at));
    at = end + 2;
  }
  if (found.empty() || found.back() != "m-ready") return internal_error("the device is not ready after: " + command);
  for (const std::string& line : found) {
    if (line.compare(0, 2, "e-") == 0) return internal_error("the device answers " + line + " to: " + command);
  }
  if (lines) *lines = std::move(found);
  return {};
}

Status Runner::load(const Input& input) {
  SPARSENET_RETURN_IF_ERROR(send("db load " + std::to_string(input.bytes)));
  std::vector<std::string> lines;
  for (size_t at = 0; at < input.bytes; at += kBytesPerCommand) {
    std::string command = "db ";
    for (size_t i = at; i < std::min(at + kBytesPerCommand, input.bytes); ++i) {
      command += "0123456789abcdef"[input.data[i] >> 4];
      command += "0123456789abcdef"[input.data[i] & 15];
    }
    SPARSENET_RETURN_IF_ERROR(send(command, &lines));
  }
  return lines.front() == "m-load-done" ? Status() : internal_error("the device does not say m-load-done");
}

Result<std::vector<float>> Runner::infer(const Input& input) {
  SPARSENET_RETURN_IF_ERROR(load(input));
  std::vector<std::string> lines;
  SPARSENET_RETURN_IF_ERROR(send("infer 1 0", &lines));
  return read_results(lines);
}

Result<Window> Runner::measure(const Input& input, double seconds, uint32_t least_iterations) {
  SPARSENET_RETURN_IF_ERROR(load(input));
  double iterations = least_iterations;
  for (;;) {
    Window window;
    window.iterations = static_cast<uint32_t>(iterations);
    std::vector<std::string> lines;
    SPARSENET_RETURN_IF_ERROR(send("infer " + std::to_string(window.iterations) + " 10", &lines));
    SPARSENET_ASSIGN_OR_RETURN(auto took, read_seconds(lines));
    window.seconds = std::max(took, 1e-6);
    if (window.seconds >= seconds) return window;
    // Tries again with more iterations: at most a hundred times as many, because a short time says little, and slightly
    // more than needed, because times vary.
    iterations = std::ceil(std::min(iterations * 100, iterations * (seconds / window.seconds) * 1.05 + 1));
    if (iterations > kMostIterations) return unsupported("a window needs more than 1000000000 inferences");
  }
}

}  // namespace sparsenet::mlperf
