// sparsenet profile: where the time goes, step by step.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/statistics.h"

namespace sparsenet::cli {
namespace {

struct ProfileArguments {
  ModelArgument model;
  BackendOptions backend;
  RunOptions count{1, 10, 50};
  std::string trace;
  bool json = false;
};

constexpr const char* kProfileExamples =
    R"(The time of a step is its median over the runs. A trace holds the first ten measured runs and can be viewed with
chrome://tracing or https://ui.perfetto.dev.

Examples:
  sparsenet profile net.snet --threads 1
  sparsenet profile net.snet --json
  sparsenet profile net.snet --trace trace.json)";

constexpr size_t kTracedRuns = 10;

using StepTimes = std::vector<double>;  // milliseconds, one per step

Result<std::vector<StepTimes>> measure(Session& session, const ProfileArguments& options) {
  const std::vector<std::vector<float>> inputs = random_inputs(session);
  std::vector<StepTimes> runs;
  for (int run = -options.count.warmup; run < options.count.runs; ++run) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(session.set_input(i, inputs[i].data(), inputs[i].size()));
    }
    SPARSENET_RETURN_IF_ERROR(session.run_profiled());
    if (run < 0) continue;
    runs.emplace_back();
    for (const StepInfo& step : session.steps()) runs.back().push_back(step.milliseconds);
  }
  return runs;
}

StepTimes medians(const std::vector<StepTimes>& runs) {
  StepTimes result;
  for (size_t step = 0; step < runs.front().size(); ++step) {
    std::vector<double> times;
    for (const StepTimes& run : runs) times.push_back(run[step]);
    result.push_back(median(std::move(times)));
  }
  return result;
}

// Chrome's trace event format: complete events ("X"), microseconds. The steps of a run follow each other without gaps,
// because only their durations are measured.
std::string trace_text(const Session& session, const std::string& name, const std::vector<StepTimes>& runs) {
  Json events = Json::array();
  events.push_back({{"ph", "M"}, {"pid", 1}, {"tid", 1}, {"name", "process_name"}, {"args", {{"name", name}}}});
  double now = 0;
  for (size_t run = 0; run < std::min(kTracedRuns, runs.size()); ++run) {
    double total = 0;
    for (const double ms : runs[run]) total += ms * 1000;
    events.push_back({{"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"name", "run " + std::to_string(run)},
                      {"cat", "run"},
                      {"ts", now},
                      {"dur", total}});
    for (size_t i = 0; i < runs[run].size(); ++i) {
      const StepInfo& step = session.steps()[i];
      const double duration = runs[run][i] * 1000;
      events.push_back(
          {{"ph", "X"},
           {"pid", 1},
           {"tid", 1},
           {"name", step.name},
           {"cat", step.op},
           {"ts", now},
           {"dur", duration},
           {"args", {{"op", step.op}, {"kernel", step.kernel}, {"backend", step.backend}, {"macs", step.macs}}}});
      now += duration;
    }
  }
  return to_text({{"traceEvents", events}, {"displayTimeUnit", "ms"}});
}

std::string gflops(int64_t macs, double ms) {
  return macs > 0 && ms > 0 ? fixed(2 * static_cast<double>(macs) / (ms * 1e6), 1) : "";
}

struct Total {
  double ms = 0;
  int64_t macs = 0;
  int count = 0;
};

// What a plugin's device did: launches of kernels, and memory moved, also as a multiple of the least that there is.
struct Moved {
  uint64_t launches = 0, read = 0, written = 0, least = 0;
};

Moved moved_by(const Session& session) {
  Moved all;
  for (const StepInfo& s : session.steps()) {
    all.launches += s.launches;
    all.read += s.bytes_read;
    all.written += s.bytes_written;
    all.least += s.least_bytes;
  }
  return all;
}

std::string megabytes(uint64_t bytes) {
  return fixed(static_cast<double>(bytes) * 1e-6, 3);
}

void print_moved(const Session& session) {
  const Moved all = moved_by(session);
  if (all.launches == 0) return;
  std::printf("\n");
  Table table({"step", "kernel", "launches", "MB read", "MB written", "least MB"});
  size_t index = 0;
  for (const StepInfo& s : session.steps()) {
    const std::string step = std::to_string(index++);
    if (s.launches == 0) continue;
    table.add({step, s.kernel, std::to_string(s.launches), megabytes(s.bytes_read), megabytes(s.bytes_written),
               megabytes(s.least_bytes)});
  }
  table.add(
      {"all", "", std::to_string(all.launches), megabytes(all.read), megabytes(all.written), megabytes(all.least)});
  table.print();
}

void print_tables(const Session& session, const StepTimes& times) {
  double sum = 0;
  for (const double ms : times) sum += ms;
  const auto share = [&](double ms) { return fixed(sum > 0 ? 100 * ms / sum : 0, 1) + " %"; };

  Table steps({"step", "name", "op", "kernel", "backend", "ms", "share", "GFLOP/s"});
  std::map<std::string, Total> by_op;
  Total all;
  for (size_t i = 0; i < times.size(); ++i) {
    const StepInfo& s = session.steps()[i];
    steps.add({std::to_string(i), s.name, s.op, s.kernel, s.backend, fixed(times[i], 4), share(times[i]),
               gflops(s.macs, times[i])});
    for (Total* total : {&by_op[s.op], &all}) {
      total->ms += times[i];
      total->macs += s.macs;
      total->count += 1;
    }
  }
  steps.print();

  std::vector<std::pair<std::string, Total>> sorted(by_op.begin(), by_op.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.ms > b.second.ms; });
  std::printf("\n");
  Table ops({"op", "steps", "ms", "share", "GFLOP/s"});
  for (const auto& [op, total] : sorted) {
    ops.add({op, std::to_string(total.count), fixed(total.ms, 4), share(total.ms), gflops(total.macs, total.ms)});
  }
  ops.add({"all", std::to_string(all.count), fixed(all.ms, 4), share(all.ms), gflops(all.macs, all.ms)});
  ops.print();
}

Json profile_json(const LoadedModel& model, const Session& session, const ProfileArguments& options,
                  const StepTimes& times) {
  Json steps = Json::array();
  int64_t copies = 0;
  double sum = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    const StepInfo& s = session.steps()[i];
    copies += s.is_copy;
    sum += times[i];
    steps.push_back({{"name", s.name},
                     {"op", s.op},
                     {"kernel", s.kernel},
                     {"backend", s.backend},
                     {"ms", times[i]},
                     {"macs", s.macs}});
    if (s.launches == 0) continue;
    steps.back()["launches"] = s.launches;
    steps.back()["bytes_read"] = s.bytes_read;
    steps.back()["bytes_written"] = s.bytes_written;
    steps.back()["least_bytes"] = s.least_bytes;
  }
  const Moved all = moved_by(session);
  return {{"steps", steps},
          {"launches", all.launches},
          {"bytes_read", all.read},
          {"bytes_written", all.written},
          {"least_bytes", all.least},
          {"copy_steps", copies},
          {"model", model.path},
          {"backend", options.backend.backend},
          {"precision", options.backend.precision},
          {"threads", session.threads()},
          {"batch", options.count.batch},
          {"runs", options.count.runs},
          {"total_ms", sum}};
}

int profile(const ProfileArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  auto session_options = options.backend.resolve(options.count.batch);
  if (!session_options.ok()) return usage_error(session_options.status().message());
  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  auto session = make_session(*loaded, *session_options);
  if (!session.ok()) return fail(session.status());
  auto runs = measure(*session, options);
  if (!runs.ok()) return fail(runs.status().with_context(*path));
  if (!options.trace.empty()) {
    const std::string text = trace_text(*session, loaded->name(), *runs);
    const Status written = write_file_atomically(options.trace, text.data(), text.size());
    if (!written.ok()) return fail(written);
  }
  const StepTimes times = medians(*runs);
  if (options.json) {
    print_json(profile_json(*loaded, *session, options, times));
  } else {
    print_tables(*session, times);
    print_moved(*session);
    if (!options.trace.empty()) std::printf("\ntrace: %s\n", options.trace.c_str());
  }
  return kDone;
}

}  // namespace

void add_profile(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("profile", "Measure every step of a network");
  auto options = std::make_shared<ProfileArguments>();
  options->model.add_to(*command);
  options->backend.add_to(*command);
  options->count.add_to(*command);
  command->add_option("--trace", options->trace, "also write a Chrome / Perfetto trace to this .json file");
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kProfileExamples);
  command->callback([&action, options] { action = [options] { return profile(*options); }; });
}

}  // namespace sparsenet::cli
