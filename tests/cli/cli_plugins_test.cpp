// The command line with plugins: lists of devices, fallback, the check of the first run, and a device's numbers beside
// the CPU's.
#include <doctest/doctest.h>
#include <sparsenet/session.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>

#include "cli/command.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const std::string kPlugins = std::string(SPARSENET_BINARY_DIR) + "/tests/plugins/";

// What the programs that a test starts find as plugins and as a cache.
class Surroundings {
 public:
  explicit Surroundings(const std::string& plugin, const char* cache) {
    setenv("SPARSENET_PLUGIN_PATH", plugin.c_str(), 1);
    if (const char* old = getenv("XDG_CACHE_HOME")) old_cache_ = old;
    setenv("XDG_CACHE_HOME", test::scratch(cache).c_str(), 1);
  }
  ~Surroundings() {
    unsetenv("SPARSENET_PLUGIN_PATH");
    if (old_cache_.empty()) {
      unsetenv("XDG_CACHE_HOME");
    } else {
      setenv("XDG_CACHE_HOME", old_cache_.c_str(), 1);
    }
  }

 private:
  std::string old_cache_;
};

bool has(const std::string& plugin, const char* test) {
  if (std::filesystem::exists(kPlugins + plugin)) return true;
  skip(test, "the plugin " + plugin + ", which this build does not make");
  return false;
}

std::vector<std::string> classify(const std::string& backend, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{"classify", small_model(), sample("airplane-0003.png"), "--backend", backend};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

double probability(const nlohmann::json& document) {
  return document[0]["predictions"][0]["probability"].get<double>();
}

}  // namespace

TEST_CASE("cli: devices lists backends, plugins and files that are none") {
  if (!has("sample.so", "listing the sample plugin")) return;
  const Surroundings s(kPlugins + "sample.so:" + kPlugins + "no_plugin.so", "cache-list");
  const nlohmann::json json = json_of({"devices"});
  bool portable = false, sample = false;
  for (const auto& backend : json["backends"]) {
    portable = portable || backend["name"] == "portable";
    if (backend["name"] != "sample") continue;
    sample = true;
    CHECK(backend["devices"].size() == 2);
    CHECK(backend["devices"][1]["index"] == 1);
    CHECK(backend["f16"] == false);
  }
  CHECK(portable);
  CHECK(sample);
  REQUIRE(json["problems"].size() == 1);
  CHECK(json["problems"][0].get<std::string>().find("without the function snp_entry") != std::string::npos);
  const Outcome text = test::sparsenet({"devices"});
  CHECK(text.code == 0);
  CHECK(text.out.find("sample:1  plain loops again") != std::string::npos);
  CHECK(text.out.find("not a usable plugin: ") != std::string::npos);
}

TEST_CASE("cli: info tells where each step runs, and why") {
  if (!has("partial.so", "info with a plugin that lacks a step")) return;
  const Surroundings s(kPlugins + "partial.so", "cache-info");
  const nlohmann::json json = json_of({"info", small_model(), "--backend", "sample"});
  CHECK(json["backend"] == "sample:0");
  int on_device = 0, on_cpu = 0;
  for (const auto& step : json["placement"]) {
    if (step["backend"] == "sample") {
      ++on_device;
      CHECK_FALSE(step.contains("reason"));
    } else {
      ++on_cpu;
      CHECK_FALSE(step["reason"].get<std::string>().empty());
    }
  }
  CHECK(on_device > 10);
  CHECK(on_cpu >= 1);
  CHECK(on_device + on_cpu == json["steps"]);
}

TEST_CASE("cli: a plan in parts gives what the CPU gives, with a note; --strict refuses it") {
  if (!has("partial.so", "a plan in parts")) return;
  const Surroundings s(kPlugins + "partial.so", "cache-parts");
  const Outcome note = test::sparsenet(classify("sample"));
  CHECK(note.code == 0);
  CHECK_MESSAGE(note.err.find("steps cannot run on backend 'sample'") != std::string::npos, note.err);
  CHECK_MESSAGE(note.err.find("of them before those on the device") != std::string::npos, note.err);
  CHECK(std::fabs(probability(json_of(classify("sample"))) - probability(json_of(classify("portable")))) < 1e-5);
  fails(test::sparsenet(classify("sample", {"--strict"})), 1, {"steps cannot run on backend 'sample'", "strict"});
}

TEST_CASE("cli: a device that computes wrongly is found on the first run, and the CPU takes over") {
  // The first one takes wrong channels in pools; what the second one has wrong, sparsenet-abc-v0 does not need.
  const std::string wrong_one = "fault_groups_ignored.so", right_one = "fault_start_ignored.so";
  if (!has(wrong_one, "a wrong device") || !has(right_one, "a right device")) return;
  const double expected = probability(json_of(classify("portable")));
  {
    const Surroundings s(kPlugins + wrong_one, "cache-wrong");
    const Outcome wrong = test::sparsenet(classify("sample", {"--json"}));
    CHECK(wrong.code == 0);
    CHECK_MESSAGE(wrong.err.find("does not compute what the CPU does: node '") != std::string::npos, wrong.err);
    CHECK_MESSAGE(wrong.err.find("the CPU runs the network from here on") != std::string::npos, wrong.err);
    CHECK(std::fabs(probability(nlohmann::json::parse(wrong.out)) - expected) < 1e-5);
    // No verdict was kept: the next process finds it, too. Steps are compared alone as well.
    const Outcome again = test::sparsenet(classify("sample", {"--strict", "--check-steps"}));
    CHECK(again.code == 1);
    CHECK_MESSAGE(again.err.find("does not compute what the CPU does: node '") != std::string::npos, again.err);
    // Switched off, its numbers are what they are.
    const Outcome unchecked = test::sparsenet(classify("sample", {"--no-device-check", "--json"}));
    CHECK(unchecked.code == 0);
    CHECK(unchecked.err.empty());
    CHECK(std::fabs(probability(nlohmann::json::parse(unchecked.out)) - expected) > 1e-3);
  }
  const Surroundings s(kPlugins + right_one, "cache-right");
  for (int run = 0; run < 2; ++run) {
    const Outcome fine = test::sparsenet(classify("sample", {"--strict", "--json"}));
    CHECK_MESSAGE(fine.code == 0, fine.err);
    CHECK(fine.err.empty());
    CHECK(std::fabs(probability(nlohmann::json::parse(fine.out)) - expected) < 1e-5);
    CHECK(std::filesystem::exists(test::scratch("cache-right") + "/sparsenet/verdicts"));
  }
}

TEST_CASE("cli: what training and devices refuse") {
  fails(test::sparsenet({"train", "sparsenet-abc-v0", "--data", "npy:a.npy,b.npy", "-o", test::scratch("g.snet"),
                         "--backend", "cuda"}),
        1, {"--backend cuda", "training runs on"});
  fails(test::sparsenet({"bench", small_model(), "--backend", "portable:1"}), 2, {"no devices to choose from"});
  fails(test::sparsenet({"bench", small_model(), "--backend", "opencl:x"}), 2, {"expected the number of a device"});
}

TEST_CASE("cli: eval counts on a device what it counts on the CPU") {
  const std::string data = shared_file("data/cifar10");
  if (data.empty()) return skip("eval on a device", "CIFAR-10 in the shared data");
  const char* named = getenv("SPARSENET_TEST_BACKEND");
  const std::string backend = named ? named : "opencl";
  const auto parsed = parse_backend(backend);
  if (!parsed.ok() || !is_available(*parsed)) return skip("eval on a device", "a device for backend " + backend);
  const char* limit = getenv("SPARSENET_TEST_IMAGES");
  const auto count = [&](const std::string& model, const std::string& on) {
    return json_of({"eval", std::string(SPARSENET_SOURCE_DIR) + "/models/" + model, "--data", "cifar10:" + data,
                    "--limit", limit ? limit : "1000", "--backend", on})["correct"]
        .get<int>();
  };
  for (const char* model : {"sparsenet-abc-v0.snet", "sparsenet-abc-v1.snet"}) {
    const int on_device = count(model, backend), on_cpu = count(model, "portable");
    CHECK_MESSAGE(std::abs(on_device - on_cpu) <= 1, model, ": ", on_device, " on the device, ", on_cpu, " on the CPU");
    CHECK(on_cpu > 0);
  }
}
