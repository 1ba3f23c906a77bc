// `sparsenet train` tested from outside: what it writes, reports and rejects. Stopping and resuming:
// cli_resume_test.cpp.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "data/npy.h"
#include "train_command.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
namespace fs = std::filesystem;

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

  // `eval` agrees with the last epoch's measurement, and `verify` with the file's own vectors.
  const nlohmann::json measured = json_of({"eval", scratch("json.snet"), "--data", tiny_data()});
  CHECK(measured["error_percent"].get<double>() ==
        doctest::Approx(result["epochs"][5]["test_error_percent"].get<double>()));
  CHECK(test::sparsenet({"verify", scratch("json.snet")}).code == 0);
}

TEST_CASE("train: all of it takes no more than the arena and 16 MB") {
  // Large enough for copies of its parameters (3.5 MB, and as much again for momentum) to show: V1 of the family.
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
      {"--resume"},                 // of a checkpoint that does not exist
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
  // Options that matter make a difference; otherwise the comparisons above would prove nothing.
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
           {"--no-shuffle"}, {"--augment", "crop-flip"}, {"--weight-decay", "0.01"}, {"--schedule", "cosine"}}) {
    INFO(more[0]);
    CHECK(train("other.snet", more).code == 0);
    CHECK(bytes_of(scratch("other.snet")) != expected);
  }
}

TEST_CASE("train: batches that make no update are told") {
  const test::Outcome outcome = train("rest.snet", {"--accumulate", "7"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(contains(outcome.out, "--accumulate: 48 steps are no multiple of 7: the last 6 make no update"));
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
  // What was frozen has not changed.
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
  for (const std::string& words : {std::string(), "'" + tiny_model() + "' 0", "'" + tiny_model() + "' 5x"}) {
    const int status = std::system(("'" SPARSENET_FINETUNE "' " + words + " >/dev/null 2>'" + out + "'").c_str());
    INFO(words);
    CHECK(WEXITSTATUS(status) == 2);
    CHECK(bytes_of(out).rfind("error: ", 0) == 0);
  }
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

  // Trains further with its own classes and measures on its training data: allowed, but reported. (Other classes:
  // cli_data_test.)
  const test::Outcome same = test::sparsenet({"train", scratch("photos.snet"), "--data", "folder:" + scratch("photos"),
                                              "--test", "folder:" + scratch("photos"), "-o", scratch("again.snet"),
                                              "--epochs", "1", "--batch", "2", "--lr", "0.01"});
  REQUIRE_MESSAGE(same.code == 0, same.err);
  CHECK(contains(same.out, "note    --test: these are the images of --data"));
  CHECK(load_model(scratch("again.snet"))->metadata.labels == model->metadata.labels);
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
  // Every file may have only one use.
  fs::remove(scratch("link.snet"));
  fs::create_symlink(tiny_model(), scratch("link.snet"));
  const std::string network = bytes_of(tiny_model());
  fails(train("e.snet", {"--checkpoint", tiny_model()}), 2, {"--checkpoint", "the model", "tiny.snet"});
  fails(train("e.snet", {"--log", scratch("link.snet")}), 2, {"--log", "the model", "link.snet"});
  fails(train("e.snet", {"--plot", scratch("./e.snet")}), 2, {"--plot", "--output", "e.snet"});
  fails(train("e.snet", {"--checkpoint", scratch("e.snet")}), 2, {"--checkpoint", "--output", "e.snet"});
  CHECK(bytes_of(tiny_model()) == network);
  // Files that could not be written at the end.
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
