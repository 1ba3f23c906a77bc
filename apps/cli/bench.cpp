// sparsenet bench: latency, throughput and memory.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/statistics.h"

namespace sparsenet::cli {
namespace {

struct BenchArguments {
  ModelArgument model;
  BackendOptions backend;
  RunOptions count;
  bool peak = false, json = false;
};

constexpr const char* kBenchExamples =
    R"(A latency is the time from passing in the input to having the output: copy in, run, copy out. Percentiles
interpolate. run_ms is the time of running alone. load_ms covers reading, verifying, planning and preparing; the first run
is not part of it.

Examples:
  sparsenet bench net.snet --threads 1
  sparsenet bench net.snet --batch 64 --runs 20 --json
  sparsenet bench net.snet -t 1 --peak         also show how close the network comes to the core's multiply-add peak
  sparsenet bench --graph=net.snet --num_threads=2 --warmup_runs=10 --num_runs=300)";

struct Measurement {
  double load_ms = 0, first_run_ms = 0;
  Summary latency;
  Summary run;             // without copying in and out
  double peak_gflops = 0;  // of one core; 0: not measured
};

// Buffers for the inputs and outputs of a session.
class Buffers {
 public:
  explicit Buffers(const Session& session) : inputs_(random_inputs(session)) {
    for (const TensorInfo& output : session.outputs()) {
      outputs_.emplace_back(static_cast<size_t>(element_count(output.shape)));
    }
  }

  // One whole inference. Returns milliseconds, or why it failed.
  Result<double> run(Session& session, double* run_ms = nullptr) {
    const Stopwatch watch;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(session.set_input(i, inputs_[i].data(), inputs_[i].size()));
    }
    const Stopwatch inner;
    SPARSENET_RETURN_IF_ERROR(session.run());
    if (run_ms) *run_ms = inner.milliseconds();
    for (size_t i = 0; i < outputs_.size(); ++i) {
      SPARSENET_RETURN_IF_ERROR(session.get_output(i, outputs_[i].data(), outputs_[i].size()));
    }
    return watch.milliseconds();
  }

 private:
  std::vector<std::vector<float>> inputs_, outputs_;
};

Status measure(Session& session, const BenchArguments& options, Measurement& result) {
  Buffers buffers(session);
  SPARSENET_ASSIGN_OR_RETURN(result.first_run_ms, buffers.run(session));
  // The machine's speed may change while it is measured: the peak is taken on both sides, and the better one counts.
  if (options.peak) result.peak_gflops = measure_fma_peak_gflops();
  for (int i = 0; i < options.count.warmup; ++i) {
    SPARSENET_RETURN_IF_ERROR(buffers.run(session).status());
  }
  std::vector<double> latencies, runs(static_cast<size_t>(options.count.runs));
  latencies.reserve(static_cast<size_t>(options.count.runs));
  for (int i = 0; i < options.count.runs; ++i) {
    SPARSENET_ASSIGN_OR_RETURN(auto run, buffers.run(session, &runs[static_cast<size_t>(i)]));
    latencies.push_back(run);
  }
  if (options.peak) result.peak_gflops = std::max(result.peak_gflops, measure_fma_peak_gflops());
  result.latency = summarize(std::move(latencies));
  result.run = summarize(std::move(runs));
  return {};
}

void print_result(const BenchArguments& options, const LoadedModel& model, const Session& session,
                  const Measurement& m) {
  const MemoryReport memory = session.memory();
  const double rate = static_cast<double>(options.count.batch) * 1000 / m.latency.mean;
  // Two operations per multiply-accumulate of the direct convolution, whatever algorithm ran.
  const double flops =
      2.0 * static_cast<double>(model.model.graph.macs_per_image()) * static_cast<double>(options.count.batch);
  const double achieved = flops / (m.latency.p50 * 1e6);
  const double percent = m.peak_gflops > 0 ? 100 * achieved / (m.peak_gflops * session.threads()) : 0;
  const size_t peak_rss = peak_rss_bytes();
  const Summary& l = m.latency;
  if (options.json) {
    Json json = Json::object();
    json["model"] = model.path;
    json["backend"] = options.backend.backend;
    json["precision"] = options.backend.precision;
    json["threads"] = session.threads();
    json["batch"] = options.count.batch;
    json["runs"] = options.count.runs;
    json["latency_ms"] = {{"min", l.min}, {"mean", l.mean}, {"stddev", l.stddev}, {"p50", l.p50},
                          {"p90", l.p90}, {"p95", l.p95},   {"p99", l.p99},       {"max", l.max}};
    json["run_ms"] = {{"min", m.run.min}, {"mean", m.run.mean}, {"p50", m.run.p50}};
    json["first_run_ms"] = m.first_run_ms;
    json["load_ms"] = m.load_ms;
    json["images_per_second"] = rate;
    json["arena_bytes"] = memory.arena_bytes;
    json["scratch_bytes"] = memory.scratch_bytes;
    json["weights_bytes"] = memory.weights_bytes;
    json["peak_rss_bytes"] = peak_rss;
    json["warmup"] = options.count.warmup;
    json["achieved_gflops"] = achieved;
    if (options.peak) {
      json["fma_peak_gflops"] = m.peak_gflops;
      json["percent_of_peak"] = percent;
    }
    print_json(json);
    return;
  }
  std::printf("%s: backend %s, %s, %d thread%s, batch %lld, %d runs after %d to warm up\n\n", model.path.c_str(),
              options.backend.backend.c_str(), options.backend.precision.c_str(), session.threads(),
              session.threads() == 1 ? "" : "s", static_cast<long long>(options.count.batch), options.count.runs,
              options.count.warmup);
  Table table({"latency", "min", "mean", "stddev", "p50", "p90", "p95", "p99", "max"});
  table.add({"ms", fixed(l.min, 3), fixed(l.mean, 3), fixed(l.stddev, 3), fixed(l.p50, 3), fixed(l.p90, 3),
             fixed(l.p95, 3), fixed(l.p99, 3), fixed(l.max, 3)});
  const Summary& r = m.run;
  table.add({"ms, run alone", fixed(r.min, 3), fixed(r.mean, 3), fixed(r.stddev, 3), fixed(r.p50, 3), fixed(r.p90, 3),
             fixed(r.p95, 3), fixed(r.p99, 3), fixed(r.max, 3)});
  table.print();
  std::printf("\nimages per second  %s\n", fixed(rate, 1).c_str());
  std::printf("load               %s ms\n", fixed(m.load_ms, 2).c_str());
  std::printf("first run          %s ms\n", fixed(m.first_run_ms, 2).c_str());
  std::printf("speed              %s GFLOP/s (direct-convolution operations, median latency)\n",
              fixed(achieved, 1).c_str());
  if (options.peak) {
    std::printf("peak of one core   %s GFLOP/s (measured fp32 multiply-adds); the network reaches %s %% of %d core%s\n",
                fixed(m.peak_gflops, 1).c_str(), fixed(percent, 1).c_str(), session.threads(),
                session.threads() == 1 ? "" : "s");
  }
  std::printf("arena              %s\n", bytes_text(memory.arena_bytes).c_str());
  std::printf("scratch            %s\n", bytes_text(memory.scratch_bytes).c_str());
  std::printf("weights            %s\n", bytes_text(memory.weights_bytes).c_str());
  std::printf("peak RSS           %s\n", bytes_text(peak_rss).c_str());
}

int bench(const BenchArguments& options) {
  auto path = options.model.resolve();
  if (!path.ok()) return usage_error(path.status().message());
  auto session_options = options.backend.resolve(options.count.batch);
  if (!session_options.ok()) return usage_error(session_options.status().message());
  const Stopwatch watch;
  auto loaded = load(*path);
  if (!loaded.ok()) return fail(loaded.status());
  auto session = make_session(*loaded, *session_options);
  if (!session.ok()) return fail(session.status());
  Measurement result;
  result.load_ms = watch.milliseconds();
  const Status status = measure(*session, options, result);
  if (!status.ok()) return fail(status.with_context(*path));
  print_result(options, *loaded, *session, result);
  return kDone;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("bench", "Measure latency, throughput and memory");
  auto options = std::make_shared<BenchArguments>();
  options->model.add_to(*command);
  options->backend.add_to(*command);
  options->count.add_to(*command);
  command->add_flag("--peak", options->peak, "compare with the core's measured multiply-add peak");
  command->add_flag("--json", options->json, "print one JSON document");
  command->footer(kBenchExamples);
  command->callback([&action, options] { action = [options] { return bench(*options); }; });
}

}  // namespace sparsenet::cli
