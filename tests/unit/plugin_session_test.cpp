// Loading plugins, and sessions on one: the sample plugin and copies of it with a fault (tests/plugins).
#include <doctest/doctest.h>
#include <sparsenet/backends.h>
#include <sparsenet/host.h>
#include <sparsenet/model.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "plugin/loader.h"
#include "support/architecture_graph.h"
#include "support/check_session.h"
#include "support/graph_maker.h"
#include "support/scratch_folder.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

extern "C" const snp_plugin* snp_entry_small(const snp_host* host, const char** why);  // tests/plugins/small_plugin.c

namespace {

const std::string kPlugins = std::string(SPARSENET_BINARY_DIR) + "/tests/plugins/";

// Sets a variable of the environment for a test's time.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name), had_(getenv(name) != nullptr) {
    if (had_) old_ = getenv(name);
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  bool had_;
  std::string old_;
};

bool has_plugins(const char* test) {
  if (std::filesystem::exists(kPlugins + "sample.so")) return true;
  skip(test, "the sample plugin, which this build does not make");
  return false;
}

// A plugin under another name: a file that SPARSENET_PLUGIN_PATH names, whose name is still "sample".
struct Notes {
  std::vector<std::string> lines;
  static void add(void* self, const char* text) { static_cast<Notes*>(self)->lines.emplace_back(text); }
};

SessionOptions on_sample(Notes* notes, const ScratchFolder& cache) {
  SessionOptions options;
  options.backend = Backend::kPlugin;
  options.plugin = "sample";
  options.cache_folder = cache.file("cache");
  options.note = Notes::add;
  options.note_self = notes;
  options.threads = 1;
  return options;
}

std::vector<float> run(Session& session, const std::vector<float>& image) {
  REQUIRE(session.set_input(0, image.data(), image.size()).ok());
  const Status ran = session.run();
  REQUIRE_MESSAGE(ran.ok(), ran.message());
  std::vector<float> out(static_cast<size_t>(element_count(session.outputs()[0].shape)));
  REQUIRE(session.get_output(0, out.data(), out.size()).ok());
  return out;
}

std::vector<float> image_of(int64_t elements) {
  Random random(3);
  std::vector<float> image(static_cast<size_t>(elements));
  for (float& value : image) value = static_cast<float>(random.normal());
  return image;
}

double difference(const std::vector<float>& expected, const std::vector<float>& found) {
  return relative_error(std::vector<double>(expected.begin(), expected.end()), found);
}

bool mentions(const std::string& text, const std::vector<std::string>& parts) {
  return std::all_of(parts.begin(), parts.end(),
                     [&](const auto& part) { return text.find(part) != std::string::npos; });
}

std::vector<float> on_cpu(const Graph& graph, const std::vector<float>& image, int64_t batch = 1) {
  SessionOptions options;
  options.backend = Backend::kReference;
  options.batch = batch;
  auto session = Session::create(graph, options);
  REQUIRE(session.ok());
  return run(*session, image);
}

}  // namespace

TEST_CASE("what is no plugin is refused with one line that begins with its path") {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& path, StatusCode code, const std::vector<std::string>& parts) {
    const auto plugin = load_plugin(path);
    REQUIRE_FALSE(plugin.ok());
    CHECK(plugin.status().code() == code);
    CHECK_MESSAGE(plugin.status().message().rfind(path, 0) == 0, plugin.status().message());
    CHECK_MESSAGE(mentions(plugin.status().message(), parts), plugin.status().message());
    CHECK(plugin.status().message().find('\n') == std::string::npos);
  };
  refused(folder.file("none.so"), StatusCode::kNotFound, {"expected the file of a plugin, found none"});
  refused(folder.write("text.so", std::string(4096, 'x')), StatusCode::kUnsupported, {"invalid ELF header"});
  refused(folder.write("empty.so", ""), StatusCode::kUnsupported, {"file too short"});
  if (!has_plugins("refusing libraries that are no plugins")) return;
  refused(std::filesystem::canonical(kPlugins + "no_plugin.so").string(), StatusCode::kUnsupported,
          {"a library without the function snp_entry"});
}

TEST_CASE("plugins of another version, and incomplete ones, are refused") {
  static snp_plugin table{};
  table.major = SNP_MAJOR + 1;
  table.size = sizeof table;
  const snp_entry_function entry = [](const snp_host* host, const char**) -> const snp_plugin* {
    return host->major == SNP_MAJOR && host->size >= sizeof(snp_host) ? &table : nullptr;
  };
  Status status = add_plugin(entry, "the first one");
  CHECK(status.code() == StatusCode::kUnsupported);
  CHECK_MESSAGE(mentions(status.message(), {"the first one: expected a plugin for version 1.0", "found one for 2.0"}),
                status.message());
  table.major = SNP_MAJOR;
  CHECK(add_plugin(entry, "the second one").message() ==
        "the second one: the plugin lacks functions that every plugin must have (sparsenet/plugin.h)");
  table.size = 16;
  CHECK(add_plugin(entry, "the third one").code() == StatusCode::kUnsupported);
  const snp_entry_function unwilling = [](const snp_host*, const char** why) -> const snp_plugin* {
    *why = "too early in the morning";
    return nullptr;
  };
  CHECK(add_plugin(unwilling, "the fourth one").message() ==
        "the fourth one: the plugin refuses this engine: too early in the morning");
  CHECK(add_plugin(nullptr, "none").code() == StatusCode::kInvalidArgument);
}

TEST_CASE("a backend that is not there says where it was looked for") {
  const ScratchFolder folder;
  const Variable path("SPARSENET_PLUGIN_PATH", folder.path().string());
  const std::vector<std::string> folders = plugin_folders();
  REQUIRE(folders.size() >= 4);  // also where plugins are installed, which is not beside this program
  CHECK(folders.front() == folder.path().string());
  CHECK(folders[2] == std::string(SPARSENET_BINARY_DIR) + "/lib/sparsenet");
  CHECK(folders.back().rfind(SPARSENET_BINARY_DIR, 0) != 0);
  CHECK(std::filesystem::path(folders.back()).filename() == "sparsenet");
  const auto plugin = find_plugin("abacus");
  REQUIRE_FALSE(plugin.ok());
  CHECK_MESSAGE(mentions(plugin.status().message(), {"backend 'abacus': no plugin libsparsenet_abacus.so in ",
                                                     folder.path().string(), "SPARSENET_PLUGIN_PATH"}),
                plugin.status().message());
  // A file with the right name that is none is named, with the system's reason.
  const std::string file = folder.write("libsparsenet_abacus.so", "beads");
  CHECK_MESSAGE(mentions(find_plugin("abacus").status().message(), {"backend 'abacus': ", file, "file too short"}),
                find_plugin("abacus").status().message());
  bool listed = false;
  for (const BackendInfo& backend : list_backends()) listed = listed || mentions(backend.problem, {file});
  CHECK(listed);
}

TEST_CASE("names of backends and devices are read") {
  SessionOptions options;
  CHECK(parse_backend("cuda:3", &options).ok());
  CHECK(options.backend == Backend::kCuda);
  CHECK(options.device == 3);
  CHECK(parse_backend("opencl", &options).ok());
  CHECK(options.device == 0);
  for (const char* wrong :
       {"portable:0", "opencl:", "opencl:-1", "opencl:x", "opencl:12345", ":1", "", "no-such-plugin"}) {
    const Status status = parse_backend(wrong, &options);
    CHECK_MESSAGE(status.code() == StatusCode::kInvalidArgument, wrong);
    CHECK(options.backend == Backend::kOpenCl);
  }
}

TEST_CASE("the sample plugin runs SparseNet-abc-v0 whole, and the first run is checked") {
  if (!has_plugins("sparsenet-abc-v0 on the sample plugin")) return;
  const Variable path("SPARSENET_PLUGIN_PATH", kPlugins + "sample.so");
  const ScratchFolder cache;
  Notes notes;
  const Graph graph = graph_of("sparsenet-abc-v0");
  for (const DeviceCheck check : {DeviceCheck::kOutputs, DeviceCheck::kSteps, DeviceCheck::kOff}) {
    SessionOptions options = on_sample(&notes, cache);
    options.strict = true;
    options.device_check = check;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    const std::vector<float> image = image_of(3 * 32 * 32);
    const std::vector<float> out = run(*session, image);
    CHECK(difference(on_cpu(graph, image), out) <= kTolerance);
    CHECK(run(*session, image) == out);
    for (const StepInfo& step : session->steps()) {
      CHECK(step.backend == "sample");
      CHECK(step.reason.empty());
    }
    CHECK(session->memory().arena_bytes > 0);
    REQUIRE(session->run_profiled().ok());
    CHECK(session->steps()[0].kernel != "sample");  // the profile names kernels
  }
  CHECK(notes.lines.empty());
  CHECK_FALSE(std::filesystem::is_empty(cache.file("cache/verdicts")));
}

TEST_CASE("batches, devices and precisions that a plugin lacks are refused clearly") {
  if (!has_plugins("refusals of the sample plugin")) return;
  const Variable path("SPARSENET_PLUGIN_PATH", kPlugins + "sample.so");
  const ScratchFolder cache;
  Notes notes;
  const Graph graph = graph_of("sparsenet-abc-v0");
  const auto refused = [&](const std::function<void(SessionOptions*)>& change, StatusCode code,
                           const std::vector<std::string>& parts) {
    SessionOptions options = on_sample(&notes, cache);
    change(&options);
    const auto session = Session::create(graph, options);
    REQUIRE_FALSE(session.ok());
    CHECK(session.status().code() == code);
    CHECK_MESSAGE(mentions(session.status().message(), parts), session.status().message());
  };
  refused([](auto* o) { o->device = 2; }, StatusCode::kInvalidArgument, {"expected device 2, found devices 0 to 1"});
  refused([](auto* o) { o->precision = Precision::kFloat16; }, StatusCode::kUnsupported,
          {"precision f16: backend 'sample' has f32 only"});
  refused([](auto* o) { o->precision = Precision::kBfloat16; }, StatusCode::kUnsupported, {"precision bf16"});
  refused([](auto* o) { o->max_memory_bytes = 1000; }, StatusCode::kOutOfMemory, {"more than the 1000"});
  refused(
      [](auto* o) {
        o->batch = 4;
        o->images_at_once = 2;
      },
      StatusCode::kUnsupported, {"images_at_once: "});
  alignas(64) static uint8_t memory[64];
  refused([](auto* o) { o->memory = memory; }, StatusCode::kInvalidArgument, {"memory: "});
  refused([](auto* o) { o->plugin = ""; }, StatusCode::kInvalidArgument, {"plugin: "});
  refused([](auto* o) { o->plugin = "abacus"; }, StatusCode::kUnsupported, {"libsparsenet_abacus.so"});

  // Any batch, and another device.
  SessionOptions options = on_sample(&notes, cache);
  options.batch = 3;
  options.device = 1;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const std::vector<float> images = image_of(3 * 3 * 32 * 32);
  CHECK(difference(on_cpu(graph, images, 3), run(*session, images)) <= kTolerance);
}

TEST_CASE("what a plugin cannot run goes to the CPU, by a note, or is refused if the session is strict") {
  if (!has_plugins("fallback from the sample plugin")) return;
  const Variable path("SPARSENET_PLUGIN_PATH", kPlugins + "sample.so");
  const std::string int8 = std::string(SPARSENET_SOURCE_DIR) + "/models/sparsenet-abc-v0-int8.snet";
  const auto model = load_model(int8);
  REQUIRE(model.ok());
  const ScratchFolder cache;
  Notes notes;
  SessionOptions options = on_sample(&notes, cache);
  auto session = Session::create(*model, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(notes.lines.size() == 1);
  CHECK_MESSAGE(
      mentions(notes.lines[0], {"steps cannot run on backend 'sample'", "integers", "the CPU runs the whole network"}),
      notes.lines[0]);
  const std::vector<float> image = image_of(3 * 32 * 32);
  SessionOptions portable;
  auto expected = Session::create(*model, portable);
  REQUIRE(expected.ok());
  CHECK(run(*session, image) == run(*expected, image));
  options.strict = true;
  const Status strict = Session::create(*model, options).status();
  CHECK(strict.code() == StatusCode::kUnsupported);
  CHECK_MESSAGE(mentions(strict.message(), {"steps cannot run", "strict"}), strict.message());
}

TEST_CASE("a plugin that is part of the program needs no file") {
  const Variable path("SPARSENET_PLUGIN_PATH", "");
  REQUIRE(add_plugin(snp_entry_small, "this program").ok());
  REQUIRE(add_plugin(snp_entry_small, "this program").ok());  // twice does no harm
  const ScratchFolder cache;
  Notes notes;
  SessionOptions options = on_sample(&notes, cache);
  REQUIRE(parse_backend("small", &options).ok());
  CHECK(options.backend == Backend::kPlugin);
  options.strict = true;
  const Graph graph = graph_of("sparsenet-abc-v0");
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const std::vector<float> image = image_of(3 * 32 * 32);
  CHECK(difference(on_cpu(graph, image), run(*session, image)) <= kTolerance);
  int listed = 0;
  for (const BackendInfo& backend : list_backends())
    listed += backend.name == "small" && backend.path == "this program";
  CHECK(listed == 1);
}

TEST_CASE("the C functions run a network on a plugin, and report what fails") {
  if (!has_plugins("sparsenet/host.h on the sample plugin")) return;
  const Variable path("SPARSENET_PLUGIN_PATH", kPlugins + "sample.so");
  const ScratchFolder cache;
  const std::string file = std::string(SPARSENET_SOURCE_DIR) + "/models/sparsenet-abc-v0.snet";
  const std::string folder = cache.file("cache");
  const std::vector<float> image = image_of(3 * 32 * 32);
  std::vector<std::vector<float>> results;
  for (const char* backend : {"auto", "sample:1"}) {
    sn_host_options options{};
    options.struct_size = sizeof options;
    options.backend = backend;
    options.cache_path = folder.c_str();
    options.strict = 1;
    sn_message why{sizeof why, ""};
    sn_host* host = nullptr;
    REQUIRE_MESSAGE(sn_host_open(file.c_str(), &options, &host, &why) == SN_OK, why.text);
    sn_tensor tensor{};
    tensor.struct_size = sizeof tensor;
    REQUIRE(sn_host_output(host, 0, &tensor) == SN_OK);
    CHECK(tensor.rank == 2);
    CHECK(tensor.dims[1] == 10);
    REQUIRE(sn_host_input(host, 0, &tensor) == SN_OK);
    CHECK(tensor.elements == image.size());
    CHECK(sn_host_input(host, 1, &tensor) == SN_INVALID_ARGUMENT);
    CHECK(sn_host_set_input(host, 0, image.data(), 5, &why) == SN_INVALID_ARGUMENT);
    CHECK(mentions(why.text, {"expected 3072 elements", "found 5"}));
    REQUIRE(sn_host_set_input(host, 0, image.data(), image.size(), &why) == SN_OK);
    REQUIRE_MESSAGE(sn_host_run(host, &why) == SN_OK, why.text);
    results.emplace_back(10);
    REQUIRE(sn_host_get_output(host, 0, results.back().data(), 10, &why) == SN_OK);
    sn_host_close(host);
  }
  CHECK(difference(results[0], results[1]) <= kWinogradTolerance);
  sn_message why{sizeof why, ""};
  sn_host* host = nullptr;
  CHECK(sn_host_open("/no/such/file.snet", nullptr, &host, &why) == SN_NOT_FOUND);
  CHECK(host == nullptr);
  CHECK(mentions(why.text, {"/no/such/file.snet"}));
  sn_host_options options{};
  options.struct_size = sizeof options;
  options.backend = "abacus";
  CHECK(sn_host_open(file.c_str(), &options, &host, &why) == SN_INVALID_ARGUMENT);
  CHECK(mentions(why.text, {"backend 'abacus'"}));
  sn_host_close(nullptr);
}
