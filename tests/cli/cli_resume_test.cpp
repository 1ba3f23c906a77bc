// `sparsenet train` stopped at any moment, by any cause, and resumed.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "running.h"
#include "train_command.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
namespace fs = std::filesystem;

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
      // In the middle of a step, of writing, of renaming: wherever it happens to be.
      if (!running.wait_for_checkpoint(checkpoint, before, i * 700 + step * 130)) break;
      if (running.end_with(SIGKILL) == 128 + SIGKILL) ++killed;
      before = bytes_of(checkpoint);
    }
    const test::Outcome rest = test::sparsenet(line);
    CHECK_MESSAGE(rest.code == 0, rest.err);
    CHECK(bytes_of(scratch("killed.snet")) == expected);
    // The log contains every epoch once.
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
  // Without --resume it is replaced, and that is reported.
  const test::Outcome fresh = train("f.snet");
  CHECK(fresh.code == 0);
  CHECK(contains(fresh.out, "is replaced"));
  CHECK(bytes_of(scratch("f.snet")) == expected);
}

TEST_CASE("train: going on with --test after epochs without it reports the lowest of those that have one") {
  fs::remove(scratch("late.snet.checkpoint"));
  std::vector<std::string> line = train_line("late.snet");
  line[7] = "100";  // epochs: enough time to be interrupted
  {
    Running running(line);
    REQUIRE(running.wait_for_checkpoint(scratch("late.snet.checkpoint"), "", 0));
    REQUIRE(running.end_with(SIGINT) == 128 + SIGINT);
  }
  line.insert(line.end(), {"--resume", "--test", tiny_data()});
  const test::Outcome outcome = test::sparsenet(line);
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(contains(outcome.out, "(lowest "));
  CHECK_FALSE(contains(outcome.out, "lowest -"));
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
  // No file of the child may grow beyond 512 bytes; its own output stays below that.
  struct rlimit old {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  struct rlimit small = old;
  small.rlim_cur = 512;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  Running running(line);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  CHECK(running.end() == 1);
  CHECK(contains(bytes_of(scratch("beside.err")), checkpoint + ": cannot write"));
  CHECK(bytes_of(checkpoint) == before);
}

}  // namespace
