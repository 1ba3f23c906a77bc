// What a session does about a plugin that fails or computes wrongly: tests/plugins/small_plugin.c, some of whose
// functions are replaced here.
#include <doctest/doctest.h>
#include <sparsenet/backends.h>
#include <sparsenet/model.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "plugin/loader.h"
#include "support/architecture_graph.h"
#include "support/check_session.h"
#include "support/graph_maker.h"
#include "support/scratch_folder.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

extern "C" const snp_plugin* snp_entry_small(const snp_host* host, const char** why);

namespace {

// What the plugin `shaky` does wrong.
struct Faults {
  std::string failing;       // the function that fails
  bool only_steps = false;   // and only of plans with one step
  bool wrong = false;        // outputs are twice what they should be
  std::string missing;       // the first step, the last step, or "": what is not supported
  bool small_needs = false;  // it seems to need one byte
  std::string driver = "1";
};
Faults faults;
int prepared_plans = 0;
const snp_plugin* small_plugin = nullptr;

snp_status status_of(const char* function, bool one_step = false) {
  return faults.failing == function && (!faults.only_steps || one_step) ? SNP_FAILED : SNP_OK;
}

snp_plugin make_shaky(const snp_host* host) {
  const char* why = nullptr;
  small_plugin = snp_entry_small(host, &why);
  snp_plugin table = *small_plugin;
  table.last_error = [] { return faults.failing.empty() ? small_plugin->last_error() : "the cable\ncame loose"; };
  table.describe = [](snp_description* d) {
    d->name = "shaky";
    d->version = "1";
    return SNP_OK;
  };
  table.count_devices = [](uint32_t* count) {
    *count = 1;
    return status_of("count_devices");
  };
  table.describe_device = [](uint32_t index, snp_device* device) {
    const snp_status status = small_plugin->describe_device(index, device);
    device->driver = faults.driver.c_str();
    return status == SNP_OK ? status_of("describe_device") : status;
  };
  table.supports = [](const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons) {
    const snp_status status = small_plugin->supports(plan, options, supported, reasons);
    if (faults.missing == "first") supported[0] = 0;
    if (faults.missing == "last") supported[plan->step_count - 1] = 0;
    return status == SNP_OK ? status_of("supports") : status;
  };
  table.measure = [](const snp_plan* plan, const snp_options* options, snp_needs* needs) {
    const snp_status status = small_plugin->measure(plan, options, needs);
    if (faults.small_needs) {
      needs->arena_bytes = 1;
      needs->weights_bytes = needs->scratch_bytes = 0;
    }
    return status == SNP_OK ? status_of("measure") : status;
  };
  table.prepare = [](const snp_plan* plan, const snp_options* options, snp_prepared** prepared) {
    const snp_status failed = status_of("prepare", plan->step_count == 1);
    const snp_status status = failed == SNP_OK ? small_plugin->prepare(plan, options, prepared) : failed;
    prepared_plans += status == SNP_OK;
    return status;
  };
  table.destroy = [](snp_prepared* prepared) {
    prepared_plans -= prepared != nullptr;
    small_plugin->destroy(prepared);
  };
  table.set_input = [](snp_prepared* prepared, uint32_t index, const void* data, uint64_t bytes, uint32_t memory) {
    const snp_status status = status_of("set_input");
    return status == SNP_OK ? small_plugin->set_input(prepared, index, data, bytes, memory) : status;
  };
  table.run = [](snp_prepared* prepared) {
    const snp_status status = status_of("run");
    return status == SNP_OK ? small_plugin->run(prepared) : status;
  };
  table.get_output = [](snp_prepared* prepared, uint32_t index, void* data, uint64_t bytes, uint32_t memory) {
    const snp_status status = status_of("get_output");
    if (status != SNP_OK) return status;
    const snp_status read = small_plugin->get_output(prepared, index, data, bytes, memory);
    auto* values = static_cast<float*>(data);
    if (faults.wrong) std::for_each(values, values + bytes / sizeof(float), [](float& v) { v *= 2; });
    return read;
  };
  return table;
}

const snp_plugin* shaky_entry(const snp_host* host, const char**) {
  static const snp_plugin table = make_shaky(host);
  return &table;
}

// Sessions on `shaky`, and what is said about them.
struct Shaky {
  Shaky() {
    faults = {};
    REQUIRE(add_plugin(shaky_entry, "tests").ok());
    options.backend = Backend::kPlugin;
    options.plugin = "shaky";
    options.cache_folder = cache.file("cache");
    options.note = [](void* self, const char* text) {
      static_cast<std::vector<std::string>*>(self)->emplace_back(text);
    };
    options.note_self = &notes;
    options.threads = 1;
  }
  ~Shaky() {
    CHECK(prepared_plans == 0);
    faults = {};
  }

  ScratchFolder cache;
  std::vector<std::string> notes;
  SessionOptions options;
};

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<float> an_image() {
  Random random(3);
  std::vector<float> values(3 * 32 * 32);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// Sets the input, runs and reads the output.
Result<std::vector<float>> run_shaky(Session& session, bool profiled = false) {
  const std::vector<float> in = an_image();
  SPARSENET_RETURN_IF_ERROR(session.set_input(0, in.data(), in.size()));
  SPARSENET_RETURN_IF_ERROR(profiled ? session.run_profiled() : session.run());
  std::vector<float> out(10);
  SPARSENET_RETURN_IF_ERROR(session.get_output(0, out.data(), out.size()));
  return out;
}

Result<std::vector<float>> create_and_run(const Graph& graph, const SessionOptions& options) {
  auto session = Session::create(graph, options);
  if (!session.ok()) return session.status();
  return run_shaky(*session);
}

double error_of(const std::vector<float>& expected, const std::vector<float>& found) {
  return relative_error(std::vector<double>(expected.begin(), expected.end()), found);
}

}  // namespace

TEST_CASE("whatever call of a plugin fails, it is told in one line, and nothing is left prepared") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  for (const char* missing : {"", "first", "last"}) {
    for (const char* function :
         {"count_devices", "describe_device", "supports", "measure", "prepare", "set_input", "run", "get_output"}) {
      Shaky shaky;
      faults.missing = missing;
      faults.failing = function;
      const Status status = create_and_run(graph, shaky.options).status();
      CHECK_MESSAGE(status.code() == StatusCode::kIo, function);
      CHECK_MESSAGE(holds(status.message(), "backend 'shaky': the cable came loose"), status.message());
    }
  }
}

TEST_CASE("a session whose run failed can run again, and is then checked") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  auto session = Session::create(graph, shaky.options);
  REQUIRE(session.ok());
  faults.failing = "run";
  CHECK_FALSE(run_shaky(*session).ok());
  CHECK_FALSE(std::filesystem::exists(shaky.cache.file("cache/verdicts")));
  faults.failing = "";
  CHECK(run_shaky(*session).ok());
  CHECK(std::filesystem::exists(shaky.cache.file("cache/verdicts")));
  CHECK(shaky.notes.empty());
}

TEST_CASE("a strict session on a device that computes wrongly fails in every run") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  shaky.options.strict = true;
  auto session = Session::create(graph, shaky.options);
  REQUIRE(session.ok());
  faults.wrong = true;
  for (const bool profiled : {false, true, false}) {
    const Status status = run_shaky(*session, profiled).status();
    CHECK(status.code() == StatusCode::kInternal);
    CHECK_MESSAGE(holds(status.message(), "does not compute what the CPU does: node '"), status.message());
  }
}

TEST_CASE("the CPU that takes over is timed, and has its own buffers") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  auto session = Session::create(graph, shaky.options);
  REQUIRE(session.ok());
  faults.wrong = true;
  const auto out = run_shaky(*session, true);
  REQUIRE_MESSAGE(out.ok(), out.status().message());
  REQUIRE(shaky.notes.size() == 1);
  double milliseconds = 0;
  for (const StepInfo& step : session->steps()) milliseconds += step.milliseconds;
  CHECK(milliseconds > 0);
  auto cpu = Session::create(graph, {});
  REQUIRE(cpu.ok());
  CHECK(error_of(*run_shaky(*cpu), *out) <= kWinogradTolerance);
  CHECK(session->buffers().size() == cpu->buffers().size());
  CHECK(session->memory().total_bytes > 0);
}

TEST_CASE("wrong outputs are found even if steps cannot be checked") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  shaky.options.strict = true;
  auto session = Session::create(graph, shaky.options);
  REQUIRE(session.ok());
  faults.wrong = true;
  faults.failing = "prepare";
  faults.only_steps = true;
  const Status status = run_shaky(*session).status();
  CHECK(status.code() == StatusCode::kInternal);
  CHECK_MESSAGE(holds(status.message(), "of the outputs, and its steps could not be checked: "), status.message());
}

TEST_CASE("a check that takes more memory than allowed is left out with a note, or an error if the session is strict") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  for (const DeviceCheck check : {DeviceCheck::kOutputs, DeviceCheck::kSteps}) {
    Shaky shaky;
    shaky.options.device_check = check;
    shaky.options.max_memory_bytes = 1000;
    faults.small_needs = true;
    CHECK(create_and_run(graph, shaky.options).ok());
    REQUIRE(shaky.notes.size() == 1);
    CHECK_MESSAGE(holds(shaky.notes[0], "its first run is not compared with the CPU: "), shaky.notes[0]);
    CHECK_MESSAGE(holds(shaky.notes[0], "more than the 1000 that it may take"), shaky.notes[0]);
    CHECK_FALSE(std::filesystem::exists(shaky.cache.file("cache/verdicts")));
    shaky.options.strict = true;
    CHECK(create_and_run(graph, shaky.options).status().code() == StatusCode::kOutOfMemory);
  }
}

TEST_CASE("if the CPU cannot take over, no later run gives wrong numbers") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  // The first image of the batch is checked within the limit; the CPU takes more for all images.
  SessionOptions one, all;
  one.backend = all.backend = Backend::kPortable;
  one.threads = all.threads = 1;
  all.batch = 8;
  Model model;
  model.graph = graph;
  const auto least = Session::measure(model, one), most = Session::measure(model, all);
  REQUIRE(least.ok());
  REQUIRE(most.ok());
  REQUIRE(least->total_bytes < most->total_bytes);
  shaky.options.batch = 8;
  shaky.options.max_memory_bytes = most->total_bytes - 1;
  faults.small_needs = true;
  auto session = Session::create(graph, shaky.options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  faults.wrong = true;
  const std::vector<float> images(8 * 3 * 32 * 32, 0.5f);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(session->set_input(0, images.data(), images.size()).ok());
    const Status status = session->run();
    CHECK(status.code() == StatusCode::kOutOfMemory);
    CHECK_MESSAGE(holds(status.message(), "does not compute what the CPU does: relative error "), status.message());
  }
}

TEST_CASE("a run with inputs that were not set is not the one that is checked") {
  Random random(5);
  GraphMaker maker(random);
  const ValueId a = maker.input({1, 4, 6, 6}), b = maker.input({1, 4, 6, 6});
  const ValueId left = maker.conv(a, 8, 3), right = maker.conv(b, 8, 3);
  const ValueId joined = maker.node(Op::kConcat, {left, right}, AxisAttrs{1});
  maker.graph.outputs = {maker.conv(joined, 4, 1)};
  Shaky shaky;
  auto session = Session::create(maker.graph, shaky.options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  faults.wrong = true;
  const std::vector<float> values(4 * 6 * 6, 0.5f);
  for (const size_t index : {0, 1}) {
    REQUIRE(session->set_input(index, values.data(), values.size()).ok());
    REQUIRE(session->run().ok());
    CHECK(shaky.notes.empty());
  }
  for (const size_t index : {0, 1}) REQUIRE(session->set_input(index, values.data(), values.size()).ok());
  REQUIRE(session->run().ok());
  CHECK(shaky.notes.size() == 1);
}

TEST_CASE("verdicts are of one driver, also of a plugin that does not tell its requirements") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  REQUIRE(create_and_run(graph, shaky.options).ok());
  faults.wrong = true;
  REQUIRE(create_and_run(graph, shaky.options).ok());
  CHECK(shaky.notes.empty());
  faults.driver = "2";
  REQUIRE(create_and_run(graph, shaky.options).ok());
  CHECK(shaky.notes.size() == 1);
}

TEST_CASE("what create() takes or refuses, measure() measures or refuses, also of a plan in parts") {
  Model model;
  model.graph = graph_of("resnet8");
  for (const char* missing : {"first", "last"}) {
    for (const bool large : {false, true}) {
      Shaky shaky;
      faults.missing = missing;
      shaky.options.large_weights = large;
      shaky.options.batch = 2;
      const auto measured = Session::measure(model, shaky.options);
      REQUIRE_MESSAGE(measured.ok(), measured.status().message());
      CHECK(shaky.notes.empty());
      const auto session = Session::create(model, shaky.options);
      REQUIRE(session.ok());
      CHECK(session->memory().total_bytes == measured->total_bytes);
      const auto refused = [&](StatusCode code) {
        CHECK(Session::measure(model, shaky.options).status().code() == code);
        CHECK(Session::create(model, shaky.options).status().code() == code);
      };
      shaky.options.strict = true;
      refused(StatusCode::kUnsupported);
      faults.missing = "";
      shaky.options.threads = 2000;
      refused(StatusCode::kInvalidArgument);
      shaky.options.threads = 1;
      shaky.options.precision = static_cast<Precision>(9);
      refused(StatusCode::kUnsupported);
    }
  }
}

TEST_CASE("the file of a plugin with another name is named, also where a backend is read from text") {
  const std::string sample = std::string(SPARSENET_BINARY_DIR) + "/tests/plugins/sample.so";
  if (!std::filesystem::exists(sample))
    return skip("names of files", "the sample plugin, which this build does not make");
  const ScratchFolder folder;
  const std::string file = folder.file("libsparsenet_abacus.so");
  std::filesystem::copy_file(sample, file);
  const char* before = getenv("SPARSENET_PLUGIN_PATH");
  const std::string kept = before ? before : "";
  setenv("SPARSENET_PLUGIN_PATH", folder.path().c_str(), 1);
  SessionOptions options;
  const Status status = parse_backend("abacus:1", &options);
  before ? setenv("SPARSENET_PLUGIN_PATH", kept.c_str(), 1) : unsetenv("SPARSENET_PLUGIN_PATH");
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK_MESSAGE(
      holds(status.message(), ", or a plugin; " + file + ": expected a plugin with the name 'abacus', found 'sample'"),
      status.message());
}

TEST_CASE("two plugins that come from one place are both there") {
  Shaky shaky;
  REQUIRE(add_plugin(snp_entry_small, "tests").ok());
  REQUIRE(add_plugin(snp_entry_small, "tests").ok());
  int small = 0, shakies = 0;
  for (const BackendInfo& backend : list_backends()) {
    small += backend.name == "small";
    shakies += backend.name == "shaky";
  }
  CHECK(small == 1);
  CHECK(shakies == 1);
}

TEST_CASE("the child of a fork does not call the driver of its parent") {
  const Graph graph = graph_of("sparsenet-abc-v0");
  Shaky shaky;
  auto session = Session::create(graph, shaky.options);
  REQUIRE(session.ok());
  REQUIRE(run_shaky(*session).ok());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto refuses = [](const Status& status) {
      return status.code() == StatusCode::kUnsupported && holds(status.message(), "fork()");
    };
    const bool right = refuses(run_shaky(*session).status()) && refuses(create_and_run(graph, shaky.options).status());
    const int plans = prepared_plans;
    { const Session gone = std::move(*session); }
    _exit(right && prepared_plans == plans ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(run_shaky(*session).ok());
}
