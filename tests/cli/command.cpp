#include "command.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sparsenet/architecture.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

extern char** environ;

namespace sparsenet::test {
namespace fs = std::filesystem;
namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Scratch {
 public:
  Scratch() : path_(fs::temp_directory_path() / ("sparsenet_cli_" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path path_;
};

}  // namespace

std::string scratch(const std::string& name) {
  static const Scratch folder;
  return name.empty() ? folder.path_.string() : (folder.path_ / name).string();
}

Outcome sparsenet(const std::vector<std::string>& arguments) {
  const std::string out = scratch("stdout.txt"), err = scratch("stderr.txt");
  std::vector<std::string> words{SPARSENET_CLI};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const int spawned = posix_spawn(&child, SPARSENET_CLI, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  REQUIRE(spawned == 0);
  int state = 0;
  REQUIRE(waitpid(child, &state, 0) == child);

  Outcome outcome;
  outcome.code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  outcome.out = read_text(out);
  outcome.err = read_text(err);
  return outcome;
}

nlohmann::json json_of(std::vector<std::string> arguments, int expected_code) {
  arguments.emplace_back("--json");
  const Outcome outcome = sparsenet(arguments);
  REQUIRE_MESSAGE(outcome.code == expected_code, outcome.err);
  nlohmann::json document = nlohmann::json::parse(outcome.out, nullptr, false);
  REQUIRE_MESSAGE(!document.is_discarded(), outcome.out);
  return document;
}

bool fails(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  INFO("exit code " << outcome.code << ", stdout: " << outcome.out << ", stderr: " << outcome.err);
  bool good = outcome.code == code && outcome.out.empty();
  good = good && outcome.err.rfind("error: ", 0) == 0 && outcome.err.find('\n') == outcome.err.size() - 1;
  for (const std::string& part : parts) good = good && outcome.err.find(part) != std::string::npos;
  CHECK(good);
  return good;
}

const std::string& small_model() {
  static const std::string path = [] {
    auto architecture = parse_architecture("sparsenet-abc-v0");
    REQUIRE(architecture.ok());
    auto graph = build_graph(*architecture, 3);
    REQUIRE_MESSAGE(graph.ok(), graph.status().message());
    // Untrained logits are in the ten thousands; a smaller last layer gives probabilities that are neither 0 nor 1.
    for (Value& value : graph->values) {
      if (value.name != "fc.weight") continue;
      std::vector<float> weights(value.constant.f32(), value.constant.f32() + value.constant.elements());
      for (float& weight : weights) weight *= 1e-4f;
      value.constant = Tensor::from(value.shape, std::move(weights));
    }
    Model model;
    model.graph = std::move(*graph);
    model.metadata.name = "small";
    model.metadata.architecture = to_string(*architecture);
    model.metadata.labels = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
    model.metadata.mean = {125.3f, 123.0f, 113.9f};
    model.metadata.std_dev = {63.0f, 62.1f, 66.7f};

    SessionOptions options;
    options.backend = Backend::kReference;
    options.threads = 1;
    auto session = Session::create(model.graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    std::vector<float> pixels(3 * 32 * 32), logits(10);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i * 7 % 101) / 50.0f - 1.0f;
    REQUIRE(session->set_input(0, pixels.data(), pixels.size()).ok());
    REQUIRE(session->run().ok());
    REQUIRE(session->get_output(0, logits.data(), logits.size()).ok());
    TestVector vector;
    vector.inputs.push_back(Tensor::from({1, 3, 32, 32}, std::move(pixels)));
    vector.outputs.push_back(Tensor::from({1, 10}, std::move(logits)));
    model.test_vectors.push_back(std::move(vector));
    const Status saved = save_model(model, scratch("small.snet"));
    REQUIRE_MESSAGE(saved.ok(), saved.message());
    return scratch("small.snet");
  }();
  return path;
}

std::string sample(const std::string& name) {
  return std::string(SPARSENET_SOURCE_DIR) + "/samples/" + name;
}

}  // namespace sparsenet::test
