// `sparsenet train` from outside: what it writes, how it fails, and that it can be stopped at any moment.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sparsenet/model.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "command.h"
#include "io/npy.h"

extern char** environ;

namespace {

using namespace sparsenet;
using test::fails;
using test::json_of;
using test::scratch;
namespace fs = std::filesystem;

constexpr int kSide = 6, kImages = 66;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Tensor random_tensor(const Shape& shape, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) value = scale * (static_cast<float>(random() >> 8) / float{1 << 23} - 1.0f);
  return Tensor::from(shape, std::move(values));
}

// Conv, BatchNorm, ReLU, pool, FC on [1, 3, 6, 6], 3 classes: steps of well under a millisecond.
const std::string& tiny_model() {
  static const std::string path = [] {
    Model model;
    Graph& g = model.graph;
    const ValueId x = g.add_input("input", {1, 3, kSide, kSide});
    ConvAttrs conv;
    conv.kernel = {3, 3};
    conv.pads = {1, 1, 1, 1};
    ValueId v = g.add_node(Op::kConv, "conv",
                           {x, g.add_constant("conv.weight", random_tensor({8, 3, 3, 3}, 0.3f, 1)),
                            g.add_constant("conv.bias", Tensor::filled({8}, 0))},
                           conv);
    v = g.add_node(
        Op::kBatchNorm, "bn",
        {v, g.add_constant("bn.weight", Tensor::filled({8}, 1)), g.add_constant("bn.bias", Tensor::filled({8}, 0)),
         g.add_constant("bn.running_mean", Tensor::filled({8}, 0)),
         g.add_constant("bn.running_var", Tensor::filled({8}, 1))},
        BatchNormAttrs{});
    v = g.add_node(Op::kRelu, "relu", {v});
    v = g.add_node(Op::kGlobalAveragePool, "pool", {v});
    v = g.add_node(Op::kReshape, "flatten", {v}, ReshapeAttrs{{0, -1}});
    v = g.add_node(Op::kFullyConnected, "fc",
                   {v, g.add_constant("fc.weight", random_tensor({3, 8}, 0.3f, 2)),
                    g.add_constant("fc.bias", Tensor::filled({3}, 0))},
                   FullyConnectedAttrs{}, "logits");
    g.outputs = {v};
    const Status shapes = g.infer_shapes();
    REQUIRE_MESSAGE(shapes.ok(), shapes.message());
    model.metadata.name = "tiny";
    model.metadata.provenance = "made by a test";
    model.metadata.license = "CC0-1.0";
    model.metadata.labels = {"low", "middle", "high"};
    const Status saved = save_model(model, scratch("tiny.snet"));
    REQUIRE_MESSAGE(saved.ok(), saved.message());
    return scratch("tiny.snet");
  }();
  return path;
}

// As bytes: our own writer knows floats only.
void write_labels(const std::string& path, const std::vector<int>& labels) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(labels.size()) + ",)}\n";
  std::ofstream file(path, std::ios::binary);
  file << std::string("\x93NUMPY\x01\0", 8) << static_cast<char>(header.size()) << '\0' << header;
  for (const int label : labels) file << static_cast<char>(label);
}

// Class c: noise with a third of its channels raised, which a few steps can learn.
const std::string& tiny_data() {
  static const std::string data = [] {
    std::vector<float> images;
    std::vector<int> labels;
    std::mt19937 random(3);
    for (int i = 0; i < kImages; ++i) {
      labels.push_back(i % 3);
      for (int c = 0; c < 3; ++c) {
        for (int p = 0; p < kSide * kSide; ++p) {
          const float noise = static_cast<float>(random() >> 8) / float{1 << 23} - 1.0f;
          images.push_back(noise + (c == i % 3 ? 1.5f : 0.0f));
        }
      }
    }
    REQUIRE(io::write_npy(scratch("x.npy"), {kImages, 3, kSide, kSide}, images.data()).ok());
    write_labels(scratch("y.npy"), labels);
    return "npy:" + scratch("x.npy") + "," + scratch("y.npy");
  }();
  return data;
}

std::vector<std::string> train_line(const std::string& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> line{"train",    tiny_model(), "--data",    tiny_data(), "-o",   scratch(out),
                                "--epochs", "6",          "--batch",   "8",         "--lr", "0.05",
                                "--seed",   "5",          "--threads", "1"};
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

test::Outcome train(const std::string& out, const std::vector<std::string>& more = {}) {
  return test::sparsenet(train_line(out, more));
}

// The bytes that an uninterrupted training gives.
const std::string& plain_result() {
  static const std::string bytes = [] {
    const test::Outcome outcome = train("plain.snet");
    REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
    return bytes_of(scratch("plain.snet"));
  }();
  REQUIRE_FALSE(bytes.empty());
  return bytes;
}

// A training that runs beside the test.
class Running {
 public:
  explicit Running(std::vector<std::string> words) {
    words.insert(words.begin(), SPARSENET_CLI);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, scratch("beside.out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, scratch("beside.err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int spawned = posix_spawn(&child_, SPARSENET_CLI, &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    REQUIRE(spawned == 0);
  }
  // Waits until the checkpoint is another than `before`, and a little longer; false where the program ends first.
  bool wait_for_checkpoint(const std::string& path, const std::string& before, int more_microseconds) {
    for (int i = 0; i < 20000; ++i) {
      if (ended()) return false;
      if (const std::string now = bytes_of(path); !now.empty() && now != before) {
        std::this_thread::sleep_for(std::chrono::microseconds(more_microseconds));
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL("no checkpoint in 20 seconds");
    return false;
  }
  // Waits for its own end, 20 seconds at most.
  int end() {
    for (int i = 0; i < 4000 && !ended(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return end_with(SIGKILL);
  }
  // The exit code, or 128 + the signal.
  int end_with(int signal) {
    if (!ended()) {
      ::kill(child_, signal);
      REQUIRE(waitpid(child_, &state_, 0) == child_);
      ended_ = true;
    }
    return WIFEXITED(state_) ? WEXITSTATUS(state_) : 128 + WTERMSIG(state_);
  }

 private:
  bool ended() {
    if (!ended_ && waitpid(child_, &state_, WNOHANG) == child_) ended_ = true;
    return ended_;
  }
  pid_t child_ = 0;
  int state_ = 0;
  bool ended_ = false;
};

// A folder of images with two of each kind: the sample, twice.
void make_photos(const std::string& folder, const std::vector<std::string>& samples) {
  for (const std::string& name : samples) {
    fs::create_directories(scratch(folder + "/" + name));
    for (const char* copy : {"1.png", "2.png"}) {
      fs::copy_file(test::sample(name + ".png"), scratch(folder + "/" + name + "/" + copy),
                    fs::copy_options::overwrite_existing);
    }
  }
}

TEST_CASE("train: learns, and reports what the contract says") {
  const nlohmann::json result =
      json_of(train_line("json.snet", {"--test", tiny_data(), "--log", scratch("log.csv"), "--plot",
                                       scratch("plot.svg"), "--log-steps", "--schedule", "constant"}));
  REQUIRE(result["epochs"].size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    const nlohmann::json& epoch = result["epochs"][i];
    CHECK(epoch["epoch"] == i + 1);
    for (const char* field :
         {"train_loss", "train_error_percent", "test_error_percent", "seconds", "images_per_second"}) {
      CHECK_MESSAGE(epoch[field].is_number(), field);
    }
  }
  CHECK(result["epochs"][0]["train_loss"] > result["epochs"][5]["train_loss"].get<double>() * 1.5);
  CHECK(result["epochs"][5]["test_error_percent"] < 10.0);
  for (const char* field : {"arena_bytes", "start_rss_bytes", "peak_rss_bytes"}) {
    CHECK_MESSAGE(result["memory"][field] > 0, field);
  }
  CHECK(result["memory"]["peak_rss_bytes"] >= result["memory"]["start_rss_bytes"]);
  // 66 images in batches of 8: two are left over in every epoch.
  REQUIRE(result["step_losses"].size() == 48);
  double sum = 0;
  for (size_t i = 0; i < 8; ++i) sum += result["step_losses"][i].get<double>();
  CHECK(result["epochs"][0]["train_loss"].get<double>() == doctest::Approx(sum / 8));

  std::ifstream log(scratch("log.csv"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(log, line);) lines.push_back(line);
  REQUIRE(lines.size() == 7);
  CHECK(lines[0].rfind("epoch,train_loss,train_error_percent,test_error_percent,", 0) == 0);
  CHECK(lines[6].rfind("6,", 0) == 0);
  const std::string plot = bytes_of(scratch("plot.svg"));
  CHECK(plot.rfind("<svg ", 0) == 0);
  CHECK(contains(plot, "</svg>"));
  CHECK(contains(plot, "training loss"));
  CHECK(contains(plot, "test error"));
  CHECK_FALSE(contains(plot, "nan"));

  // `eval` agrees with the last epoch's measurement; `verify` with the file's own vectors.
  const nlohmann::json measured = json_of({"eval", scratch("json.snet"), "--data", tiny_data()});
  CHECK(measured["error_percent"].get<double>() ==
        doctest::Approx(result["epochs"][5]["test_error_percent"].get<double>()));
  CHECK(test::sparsenet({"verify", scratch("json.snet")}).code == 0);
}

TEST_CASE("train: all of it takes no more than the arena and 16 MB") {
  // Large enough that copies of its parameters (3.5 MB, as much again of momentum) show: V1 of the family.
  const Tensor images = random_tensor({64, 3, 32, 32}, 1.0f, 9);
  std::vector<int> labels;
  for (int i = 0; i < 64; ++i) labels.push_back(i % 10);
  REQUIRE(io::write_npy(scratch("x32.npy"), images.shape, images.f32()).ok());
  write_labels(scratch("y32.npy"), labels);
  const std::string data = "npy:" + scratch("x32.npy") + "," + scratch("y32.npy");
  const nlohmann::json memory =
      json_of({"train", "sparsenet-abc-v1", "--data", data, "--test", data, "--classes", "10", "--epochs", "1",
               "--threads", "2", "--augment", "none", "-o", scratch("v1.snet")})["memory"];
  const size_t arena = memory["arena_bytes"], start = memory["start_rss_bytes"], peak = memory["peak_rss_bytes"];
  MESSAGE("arena ", arena, ", at the start ", start, ", peak ", peak, ": ", peak - start - arena, " more");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  MESSAGE("not judged: sanitizers keep memory of their own");
#else
  CHECK(peak - start <= arena + (size_t{16} << 20));
#endif
}

TEST_CASE("train: the bytes depend on nothing that should not matter") {
  const std::string& expected = plain_result();
  const std::vector<std::vector<std::string>> harmless{
      {"--threads", "2"},
      {"--test", tiny_data(), "--log", scratch("h.csv"), "--plot", scratch("h.svg"), "--log-steps", "--json"},
      {"--checkpoint", scratch("elsewhere"), "--checkpoint-every", "3"},
      {"--resume"},                 // of a checkpoint that is not there
      {"--memory-budget", "512M"},  // more than it needs
  };
  for (std::vector<std::string> more : harmless) {
    INFO(more[0]);
    fs::remove(scratch("other.snet"));
    fs::remove(scratch("other.snet.checkpoint"));
    std::vector<std::string> line = train_line("other.snet");
    if (more[0] == "--threads") {
      line.back() = more[1];
      more.clear();
    }
    line.insert(line.end(), more.begin(), more.end());
    const test::Outcome outcome = test::sparsenet(line);
    CHECK_MESSAGE(outcome.code == 0, outcome.err);
    CHECK(bytes_of(scratch("other.snet")) == expected);
  }
  // What matters shows, or the comparisons above would prove nothing.
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
           {"--no-shuffle"}, {"--augment", "crop-flip"}, {"--weight-decay", "0.01"}, {"--schedule", "cosine"}}) {
    INFO(more[0]);
    CHECK(train("other.snet", more).code == 0);
    CHECK(bytes_of(scratch("other.snet")) != expected);
  }
}

TEST_CASE("train: killed at any moment and resumed, the result is the same to the last bit") {
  const std::string& expected = plain_result();
  const std::string checkpoint = scratch("killed.snet.checkpoint");
  int killed = 0;
  for (const int step : {1, 2, 5}) {
    fs::remove(checkpoint);
    fs::remove(scratch("killed.snet"));
    const std::vector<std::string> line = train_line(
        "killed.snet", {"--checkpoint-every", std::to_string(step), "--log", scratch("killed.csv"), "--resume"});
    std::string before;
    for (int i = 0; i < 4; ++i) {
      Running running(line);
      // In the middle of a step, of writing, of renaming: wherever it is.
      if (!running.wait_for_checkpoint(checkpoint, before, i * 700 + step * 130)) break;
      if (running.end_with(SIGKILL) == 128 + SIGKILL) ++killed;
      before = bytes_of(checkpoint);
    }
    const test::Outcome rest = test::sparsenet(line);
    CHECK_MESSAGE(rest.code == 0, rest.err);
    CHECK(bytes_of(scratch("killed.snet")) == expected);
    // The log has every epoch once.
    std::ifstream log(scratch("killed.csv"));
    std::string text;
    std::getline(log, text);
    for (int epoch = 1; epoch <= 6; ++epoch) {
      std::getline(log, text);
      CHECK(text.rfind(std::to_string(epoch) + ",", 0) == 0);
    }
    CHECK_FALSE(std::getline(log, text));
  }
  CHECK(killed > 0);
}

TEST_CASE("train: an interrupt saves, says how to go on, and costs nothing") {
  const std::string checkpoint = scratch("int.snet.checkpoint");
  const std::vector<std::string> long_line = train_line("int.snet", {"--resume"});
  for (const int signal : {SIGINT, SIGTERM}) {
    std::vector<std::string> line = long_line;
    line[7] = "3000";  // epochs: it must not be done before the signal comes
    fs::remove(checkpoint);
    Running running(line);
    REQUIRE(running.wait_for_checkpoint(checkpoint, "", 20000));
    CHECK(running.end_with(signal) == 1);
    const std::string message = bytes_of(scratch("beside.err"));
    CHECK(contains(message, "error: interrupted after step "));
    CHECK(contains(message, "--resume goes on"));
    CHECK(contains(message, checkpoint));
    CHECK_FALSE(fs::exists(scratch("int.snet")));
  }
}

TEST_CASE("train: resumed with other options it refuses, naming the option and both values") {
  plain_result();
  fs::copy_file(scratch("plain.snet.checkpoint"), scratch("r.snet.checkpoint"), fs::copy_options::overwrite_existing);
  const auto refused = [](std::vector<std::string> line, const std::vector<std::string>& parts) {
    line.emplace_back("--resume");
    fails(test::sparsenet(line), 1, parts);
  };
  const auto changed = [](const std::string& option, const std::string& value) {
    std::vector<std::string> line = train_line("r.snet");
    for (size_t i = 0; i + 1 < line.size(); ++i) {
      if (line[i] == option) {
        line[i + 1] = value;
        return line;
      }
    }
    line.push_back(option);
    line.push_back(value);
    return line;
  };
  refused(changed("--lr", "0.1"), {"r.snet.checkpoint", "--lr", "0.05", "0.1"});
  refused(changed("--epochs", "7"), {"--epochs", "6", "7"});
  refused(changed("--batch", "9"), {"--batch", "8", "9"});
  refused(changed("--seed", "6"), {"--seed", "5", "6"});
  refused(changed("--optimizer", "adam"), {"--optimizer", "sgd", "adam"});
  refused(changed("--schedule", "cosine"), {"--schedule", "paper", "cosine"});
  refused(changed("--augment", "crop-flip"), {"--augment", "none", "crop-flip"});
  refused(changed("--freeze", "bn-and-bias"), {"--freeze", "none", "bn-and-bias"});
  refused(train_line("r.snet", {"--no-shuffle"}), {"--no-shuffle", "off", "on"});
  refused(train_line("r.snet", {"--log-steps", "--json"}), {"--log-steps"});
  CHECK(bytes_of(scratch("r.snet.checkpoint")) == bytes_of(scratch("plain.snet.checkpoint")));
  CHECK_FALSE(fs::exists(scratch("r.snet")));

  // Another network, another normalisation, other pixels.
  auto model = load_model(tiny_model());
  REQUIRE(model.ok());
  for (Value& value : model->graph.values) {
    if (value.name == "fc.weight") value.constant = random_tensor({3, 8}, 0.3f, 9);
  }
  REQUIRE(save_model(*model, scratch("tiny2.snet")).ok());
  std::vector<std::string> line = train_line("r.snet");
  line[1] = scratch("tiny2.snet");
  refused(line, {"the model"});
  model = load_model(tiny_model());
  REQUIRE(model.ok());
  model->metadata.mean = {1, 2, 3};
  model->metadata.std_dev = {4, 5, 6};
  REQUIRE(save_model(*model, scratch("tiny3.snet")).ok());
  line[1] = scratch("tiny3.snet");
  refused(line, {"the model"});
  std::string pixels = bytes_of(scratch("x.npy"));
  pixels[pixels.size() - 3] ^= 1;
  std::ofstream(scratch("x2.npy"), std::ios::binary) << pixels;
  line = train_line("r.snet");
  line[3] = "npy:" + scratch("x2.npy") + "," + scratch("y.npy");
  refused(line, {"--data", "66 images"});
}

TEST_CASE("train: a finished checkpoint gives the result again; a damaged one is refused") {
  const std::string& expected = plain_result();
  fs::copy_file(scratch("plain.snet.checkpoint"), scratch("f.snet.checkpoint"), fs::copy_options::overwrite_existing);
  const test::Outcome again = train("f.snet", {"--resume"});
  CHECK(again.code == 0);
  CHECK(contains(again.out, "this training is finished"));
  CHECK(bytes_of(scratch("f.snet")) == expected);

  fs::remove(scratch("f.snet"));
  std::string bytes = bytes_of(scratch("plain.snet.checkpoint"));
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(scratch("f.snet.checkpoint"), std::ios::binary) << bytes;
  fails(train("f.snet", {"--resume"}), 1, {"f.snet.checkpoint", "damaged", "checksum"});
  std::ofstream(scratch("f.snet.checkpoint"), std::ios::binary) << "something else";
  fails(train("f.snet", {"--resume"}), 1, {"f.snet.checkpoint", "not a checkpoint"});
  CHECK_FALSE(fs::exists(scratch("f.snet")));
  // Without --resume it is replaced, and that is said.
  const test::Outcome fresh = train("f.snet");
  CHECK(fresh.code == 0);
  CHECK(contains(fresh.out, "is replaced"));
  CHECK(bytes_of(scratch("f.snet")) == expected);
}

TEST_CASE("train: going on with --test after epochs without it reports the lowest of those that have one") {
  fs::remove(scratch("late.snet.checkpoint"));
  std::vector<std::string> line = train_line("late.snet");
  line[7] = "100";  // epochs: time enough to be interrupted
  {
    Running running(line);
    REQUIRE(running.wait_for_checkpoint(scratch("late.snet.checkpoint"), "", 0));
    REQUIRE(running.end_with(SIGINT) == 1);
  }
  line.insert(line.end(), {"--resume", "--test", tiny_data()});
  const test::Outcome outcome = test::sparsenet(line);
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(contains(outcome.out, "(lowest "));
  CHECK_FALSE(contains(outcome.out, "lowest -"));
}

TEST_CASE("train: batches that make no update are told") {
  const test::Outcome outcome = train("rest.snet", {"--accumulate", "7"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(contains(outcome.out, "--accumulate: 48 steps are no multiple of 7: the last 6 make no update"));
}

TEST_CASE("train: numbers that run away end it, and the last good checkpoint stays") {
  fs::remove(scratch("nan.snet.checkpoint"));
  std::vector<std::string> line = train_line("nan.snet", {"--schedule", "constant"});
  line[11] = "1e6";  // the rate
  line[7] = "1000";
  const test::Outcome outcome = test::sparsenet(line);
  CHECK(outcome.code == 1);
  CHECK(contains(outcome.err, "error: "));
  CHECK(contains(outcome.err, "step "));
  CHECK(contains(outcome.err, "--lr"));
  CHECK_FALSE(fs::exists(scratch("nan.snet")));
  if (fs::exists(scratch("nan.snet.checkpoint"))) CHECK(contains(outcome.err, scratch("nan.snet.checkpoint")));
}

TEST_CASE("train: a full disk is an error and the old checkpoint stays whole") {
  plain_result();
  const std::string checkpoint = scratch("full.snet.checkpoint");
  std::vector<std::string> line = train_line("full.snet");
  line[7] = "3000";
  fs::remove(checkpoint);
  {
    Running running(line);
    REQUIRE(running.wait_for_checkpoint(checkpoint, "", 0));
    running.end_with(SIGINT);
  }
  const std::string before = bytes_of(checkpoint);
  line.emplace_back("--resume");
  // No file of the child may grow beyond 512 bytes, which its own words stay below.
  struct rlimit old {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  struct rlimit small = old;
  small.rlim_cur = 512;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  Running running(line);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(running.end() == 1);
  CHECK(contains(bytes_of(scratch("beside.err")), checkpoint + ": cannot write"));
  CHECK(bytes_of(checkpoint) == before);
}

TEST_CASE("train: fine-tuning keeps what the file says of itself; another number of classes gives a new head") {
  plain_result();
  auto same = load_model(scratch("plain.snet"));
  REQUIRE_MESSAGE(same.ok(), same.status().message());
  CHECK(same->metadata.name == "tiny");
  CHECK(same->metadata.license == "CC0-1.0");
  CHECK(same->metadata.labels == std::vector<std::string>{"low", "middle", "high"});
  CHECK(contains(same->metadata.provenance, "sparsenet train tiny --data npy --epochs 6 --batch 8 --seed 5"));
  CHECK(contains(same->metadata.provenance, "before: made by a test"));
  CHECK_FALSE(contains(same->metadata.provenance, scratch()));
  CHECK_FALSE(contains(same->metadata.provenance, "threads"));

  REQUIRE(train("five.snet", {"--classes", "5", "--freeze", "all-but-head"}).code == 0);
  auto five = load_model(scratch("five.snet"));
  REQUIRE_MESSAGE(five.ok(), five.status().message());
  CHECK(five->graph.shape(five->graph.outputs[0]) == Shape{1, 5});
  CHECK(five->metadata.labels.empty());
  CHECK(contains(five->metadata.provenance, "tiny --classes 5 --data npy"));
  // What was frozen has not moved.
  auto first = load_model(tiny_model());
  REQUIRE(first.ok());
  int compared = 0;
  for (const Value& value : five->graph.values) {
    for (const Value& old : first->graph.values) {
      if (!value.is_constant || value.name != old.name || value.name.rfind("fc", 0) == 0) continue;
      CHECK(std::memcmp(value.constant.data, old.constant.data, old.constant.bytes()) == 0);
      ++compared;
    }
  }
  CHECK(compared == 6);
}

TEST_CASE("finetune: the example runs on any image classifier") {
  const std::string out = scratch("finetune.txt");
  const std::string command = "'" SPARSENET_FINETUNE "' '" + tiny_model() + "' 20 >'" + out + "' 2>&1";
  CHECK(std::system(command.c_str()) == 0);
  const std::string text = bytes_of(out);
  INFO(text);
  CHECK(contains(text, "before: "));
  CHECK(contains(text, "step 20: loss "));
  CHECK(contains(text, "after: "));
  CHECK(std::system("'" SPARSENET_FINETUNE "' none.snet >/dev/null 2>&1") != 0);
}

TEST_CASE("train: an architecture with data of its own") {
  // Two classes of real images: labels, mean and std come from the data.
  make_photos("photos", {"cat-0000", "bird-0025"});
  const test::Outcome outcome = test::sparsenet({"train", "sparsenet-basic:blocks=1-1-1,k=2,path=2,keep=1-1", "--data",
                                                 "folder:" + scratch("photos"), "-o", scratch("photos.snet"),
                                                 "--epochs", "2", "--batch", "2", "--lr", "0.01"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  auto model = load_model(scratch("photos.snet"));
  REQUIRE(model.ok());
  CHECK(model->metadata.labels == std::vector<std::string>{"bird-0025", "cat-0000"});
  CHECK(model->graph.shape(model->graph.outputs[0]) == Shape{1, 2});
  REQUIRE(model->metadata.mean.size() == 3);
  CHECK(model->metadata.mean[0] > 1);
  CHECK(model->metadata.std_dev[0] > 1);
  CHECK_FALSE(contains(outcome.out, "note    --"));

  // Goes on with other classes, as many, and measures on what it learns from: allowed, but said.
  make_photos("others", {"dog-0012", "ship-0001"});
  const auto go_on = [](const char* data, const char* test) {
    return test::sparsenet({"train", scratch("photos.snet"), "--data", std::string("folder:") + scratch(data), "--test",
                            std::string("folder:") + scratch(test), "-o", scratch("others.snet"), "--epochs", "1",
                            "--batch", "2", "--lr", "0.01"});
  };
  const test::Outcome others = go_on("others", "others");
  REQUIRE_MESSAGE(others.code == 0, others.err);
  CHECK(
      contains(others.out, "note    --data: its classes (dog-0012, ...) are not the model's labels (bird-0025, ...)"));
  CHECK(contains(others.out, "note    --test: these are the images of --data"));
  auto kept = load_model(scratch("others.snet"));
  REQUIRE(kept.ok());
  CHECK(kept->metadata.labels == model->metadata.labels);
  const test::Outcome same = go_on("photos", "others");
  REQUIRE_MESSAGE(same.code == 0, same.err);
  CHECK_FALSE(contains(same.out, "note    --data"));
  CHECK(contains(same.out, "note    --test: its classes (dog-0012, ...)"));
  CHECK_FALSE(contains(same.out, "these are the images"));
}

TEST_CASE("train: what cannot work is told before the first step") {
  fails(train("e.snet", {"--momentum", "1.5"}), 2, {"--momentum", "1.5"});
  fails(train("e.snet", {"--momentum", "nan"}), 2, {"--momentum", "nan"});
  fails(train("e.snet", {"--optimizer", "lion"}), 2, {"--optimizer", "sgd, adam, adamw", "lion"});
  fails(train("e.snet", {"--optimizer", "adam", "--momentum", "0.5"}), 2, {"--momentum", "sgd"});
  fails(train("e.snet", {"--schedule", "step"}), 2, {"--schedule", "onecycle", "step"});
  fails(train("e.snet", {"--augment", "mixup"}), 2, {"--augment", "mixup"});
  fails(train("e.snet", {"--warmup", "6"}), 2, {"--warmup", "6 epochs"});
  fails(train("e.snet", {"--memory-budget", "-4"}), 2, {"--memory-budget", "-4"});
  fails(train("e.snet", {"--backend", "opencl"}), 1, {"--backend opencl"});
  fails(train("e.snet", {"--memory-budget", "1K"}), 1, {"memory budget", "bytes or more", "1024"});
  fails(train("e.snet", {"--test", "npy:none.npy,none.npy"}), 1, {"none.npy"});
  fails(train("e.snet", {"--log", scratch("no/folder/x.csv")}), 1, {"--log", "no/folder"});
  fails(train("no/folder/e.snet"), 1, {"--output", "no/folder"});

  const auto with = [](size_t place, const std::string& word) {
    std::vector<std::string> line = train_line("e.snet");
    line[place] = word;
    return test::sparsenet(line);
  };
  fails(train("e.snet", {"--weight-decay", "1"}), 2, {"--weight-decay", "0.9999"});
  fails(train("e.snet", {"--classes", "1"}), 2, {"--classes", "2"});
  fails(train("e.snet", {"--accumulate", "49"}), 2, {"--accumulate", "at most 48", "49"});
  fails(with(15, "1025"), 2, {"--threads", "1024"});
  // Every file has one use.
  fs::remove(scratch("link.snet"));
  fs::create_symlink(tiny_model(), scratch("link.snet"));
  const std::string network = bytes_of(tiny_model());
  fails(train("e.snet", {"--checkpoint", tiny_model()}), 2, {"--checkpoint", "the model", "tiny.snet"});
  fails(train("e.snet", {"--log", scratch("link.snet")}), 2, {"--log", "the model", "link.snet"});
  fails(train("e.snet", {"--plot", scratch("./e.snet")}), 2, {"--plot", "--output", "e.snet"});
  fails(train("e.snet", {"--checkpoint", scratch("e.snet")}), 2, {"--checkpoint", "--output", "e.snet"});
  CHECK(bytes_of(tiny_model()) == network);
  // What could not be written at the end.
  fails(with(5, "/dev/null"), 1, {"--output", "/dev/null", "device"});
  make_photos("latin", {"cat-0000", "bird-0025"});
  fs::remove_all(scratch("latin/caf\xe9"));
  fs::rename(scratch("latin/cat-0000"), scratch("latin/caf\xe9"));
  fails(test::sparsenet({"train", "sparsenet-basic:blocks=1-1-1,k=2,path=2,keep=1-1", "--data",
                         "folder:" + scratch("latin"), "-o", scratch("e.snet"), "--epochs", "2", "--batch", "2"}),
        1, {"label 1", "UTF-8"});
  fails(with(1, "sparsenet-xyz"), 2, {"sparsenet-xyz"});
  fails(with(1, scratch("none.snet")), 1, {"none.snet"});
  fails(with(3, "mnist:x"), 2, {"mnist"});
  fails(with(3, "npy:" + scratch("none.npy") + "," + scratch("y.npy")), 1, {"none.npy"});
  fails(with(9, "67"), 2, {"--batch", "at most 66", "67"});
  fails(train("e.snet", {"--classes", "2"}), 1, {"image 2", "below 2", "found 2"});

  std::vector<float> values(kImages * 3 * kSide * kSide, 0.5f);
  values.back() = INFINITY;
  REQUIRE(io::write_npy(scratch("inf.npy"), {kImages, 3, kSide, kSide}, values.data()).ok());
  fails(with(3, "npy:" + scratch("inf.npy") + "," + scratch("y.npy")), 1, {"image 65", "finite"});
  REQUIRE(io::write_npy(scratch("narrow.npy"), {kImages, 3, kSide, kSide / 2}, values.data()).ok());
  fails(with(3, "npy:" + scratch("narrow.npy") + "," + scratch("y.npy")), 1, {"expected inputs of shape", "3]"});
  CHECK_FALSE(fs::exists(scratch("e.snet")));
  CHECK_FALSE(fs::exists(scratch("e.snet.checkpoint")));
}

}  // namespace
