// sparsenet-mlperf-tiny tested from outside: a dialogue over pipes, as a benchmark's runner has it over a serial port.
#include <doctest/doctest.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "data/npy.h"
#include "mlperf_dialogue.h"
#include "support/convert.h"
#include "support/skip.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
using nlohmann::json;

constexpr size_t kInputBytes = 3072;

const std::string& planned_model() {
  static const std::string path = [] {
    auto model = load_model(small_model());
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    auto plan = make_stored_plan(model->graph, "portable-f32", 1);
    REQUIRE_MESSAGE(plan.ok(), plan.status().message());
    model->plans.push_back(std::move(*plan));
    const Status saved = save_model(*model, scratch("mlperf.snet"));
    REQUIRE_MESSAGE(saved.ok(), saved.message());
    return scratch("mlperf.snet");
  }();
  return path;
}

std::vector<uint8_t> some_image() {
  std::vector<uint8_t> bytes(kInputBytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37 + i / 96 * 11);
  return bytes;
}

bool is_lap(const std::string& line) {
  return line.rfind("m-lap-us-", 0) == 0 && line.find_first_not_of("0123456789", 9) == std::string::npos &&
         line.size() > 9;
}

uint64_t microseconds(const std::string& line) {
  return std::strtoull(line.c_str() + 9, nullptr, 10);
}

// The benchmark's expected answer for this image: `sparsenet run` with the image as a normalised array.
std::string expected_results(const std::string& model_path, const std::vector<uint8_t>& bytes) {
  auto model = load_model(model_path);
  REQUIRE(model.ok());
  std::vector<float> pixels(kInputBytes);
  for (size_t c = 0; c < 3; ++c) {
    const float mean = model->metadata.mean.empty() ? 0.0f : model->metadata.mean[c];
    const float std_dev = model->metadata.std_dev.empty() ? 1.0f : model->metadata.std_dev[c];
    for (size_t p = 0; p < 1024; ++p) pixels[c * 1024 + p] = (static_cast<float>(bytes[p * 3 + c]) - mean) / std_dev;
  }
  REQUIRE(io::write_npy(scratch("mlperf-in.npy"), {1, 3, 32, 32}, pixels.data()).ok());
  const Outcome run = test::sparsenet({"run", model_path, "--backend", "portable", "--input", scratch("mlperf-in.npy"),
                                       "--output", scratch("mlperf-out.npy")});
  REQUIRE_MESSAGE(run.code == 0, run.err);
  auto outputs = io::read_npy(scratch("mlperf-out.npy"));
  REQUIRE(outputs.ok());
  return results_line(outputs->values);
}

}  // namespace

TEST_CASE("mlperf: greeting and the commands that tell about the device") {
  Dialogue device({planned_model()});
  const Lines greeting = device.read();
  REQUIRE(greeting.size() == 3);
  CHECK(greeting[0] == "m-timestamp-mode-performance");
  CHECK(is_lap(greeting[1]));
  CHECK(greeting[2] == "m-init-done");
  CHECK(device.ask_one("name") == "m-name-dut-[sparsenet]");
  CHECK(device.ask("profile") == Lines{"m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[ic01]"});
  const std::string first = device.ask_one("timestamp"), second = device.ask_one("timestamp");
  REQUIRE(is_lap(first));
  REQUIRE(is_lap(second));
  CHECK(microseconds(second) > microseconds(first));
  const Lines help = device.ask("help");
  for (const char* command : {"name", "profile", "timestamp", "db load", "db print", "infer", "results", "help"}) {
    bool found = false;
    for (const std::string& line : help) found = found || line.rfind(command, 0) == 0;
    CHECK_MESSAGE(found, command);
  }
  CHECK(device.end() == 0);
}

TEST_CASE("mlperf: results are those of sparsenet run") {
  const std::vector<uint8_t> image = some_image();
  const std::string expected = expected_results(planned_model(), image);
  Dialogue device({planned_model()});
  device.read();
  device.load(image);
  Lines lines = device.ask("infer 3 2");
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "m-warmup-start-2");
  CHECK(lines[1] == "m-warmup-done");
  CHECK(lines[2] == "m-infer-start-3");
  REQUIRE(is_lap(lines[3]));
  REQUIRE(is_lap(lines[4]));
  CHECK(microseconds(lines[4]) > microseconds(lines[3]));
  CHECK(lines[5] == "m-infer-done");
  CHECK(lines[6] == expected);
  CHECK(device.ask_one("results") == expected);
  // With defaults; without warm-up; and once more on the same input.
  lines = device.ask("infer");
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "m-warmup-start-10");
  CHECK(lines[2] == "m-infer-start-1");
  lines = device.ask("infer 1 0");
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "m-warmup-start-0");
  CHECK(lines[6] == expected);
  // Another image gives other results, and the first image the first results again.
  std::vector<uint8_t> other(image.rbegin(), image.rend());
  device.load(other);
  lines = device.ask("infer 1 0");
  REQUIRE(lines.size() == 7);
  CHECK(lines[6] == expected_results(planned_model(), other));
  CHECK(lines[6] != expected);
  device.load(image);
  CHECK(device.ask("infer 1 0").back() == expected);
}

TEST_CASE("mlperf: colours in the model's own order") {
  auto model = load_model(planned_model());
  REQUIRE(model.ok());
  model->metadata.color_order = "BGR";
  // The same network with BGR colour order.
  REQUIRE(save_model(*model, scratch("bgr.snet")).ok());
  const std::vector<uint8_t> image = some_image();
  std::vector<uint8_t> swapped = image;
  for (size_t p = 0; p < kInputBytes; p += 3) std::swap(swapped[p], swapped[p + 2]);
  Dialogue device({scratch("bgr.snet")});
  device.read();
  device.load(image);
  CHECK(device.ask("infer 1 0").back() == expected_results(planned_model(), swapped));
}

TEST_CASE("mlperf: db print") {
  Dialogue device({planned_model()});
  device.read();
  CHECK(device.ask("db print").empty());
  CHECK(device.ask_one("db load 11") == "m-[Expecting 11 bytes]");
  CHECK(device.ask("db 000102030405060708").empty());
  CHECK(device.ask("db print") == Lines{"m-buffer-00-01-02-03-04-05-06-07", "m-buffer-08"});
  // The last bytes, and one more, which is dropped.
  CHECK(device.ask("db fFaA00") == Lines{"m-load-done"});
  CHECK(device.ask("db print") == Lines{"m-buffer-00-01-02-03-04-05-06-07", "m-buffer-08-ff-aa"});
  CHECK(device.ask("db print 3") == Lines{"m-buffer-00-01-02"});
  CHECK(device.ask("db print 100 9") == Lines{"m-buffer-ff-aa"});
  CHECK(device.ask("db print 1 4000000000").empty());
  CHECK(device.ask_one("db print x") == "e-[Command 'db print' takes a number of bytes and an offset]");
}

TEST_CASE("mlperf: wrong commands get an error, and the device goes on") {
  const std::vector<uint8_t> image = some_image();
  Dialogue device({planned_model()});
  device.read();
  CHECK(device.ask_one("nonsense 1 2") == "e-[Unknown command: nonsense]");
  CHECK(device.ask_one("NAME") == "e-[Unknown command: NAME]");
  CHECK(device.ask("").empty());
  CHECK(device.ask("   ").empty());
  CHECK(device.ask_one("  name  ") == "m-name-dut-[sparsenet]");
  CHECK(device.ask_one("\r\nname\r\n") == "m-name-dut-[sparsenet]");
  CHECK(device.ask_one(std::string("na\0me", 5)) == "e-[Unknown command: na]");

  CHECK(device.ask_one("db") == "e-[Command 'db' requires a subcommand]");
  CHECK(device.ask_one("db load") == "e-[Command 'db load' requires the # of bytes]");
  for (const char* count : {"0", "-1", "3073", "x", "12x", "99999999999999999999999", "4294967297"}) {
    CHECK(device.ask_one(std::string("db load ") + count) ==
          std::string("e-[Command 'db load' takes 1 to 3072 bytes, not ") + count + "]");
  }
  CHECK(device.ask_one("db 00") == "e-[No bytes expected: 'db load N' comes first]");
  CHECK(device.ask_one("infer 1 0") == "e-[Input has 0 of 3072 bytes]");
  CHECK(device.ask_one("db load 3072") == "m-[Expecting 3072 bytes]");
  CHECK(device.ask_one("db 0") == "e-[Insufficient number of hex digits]");
  CHECK(device.ask_one("db 0g") == "e-[Invalid hex digit 'g']");
  CHECK(device.ask("db 0102").empty());
  CHECK(device.ask_one("infer 1 0") == "e-[Input has 2 of 3072 bytes]");
  // A whole input of the wrong length.
  CHECK(device.ask_one("db load 2") == "m-[Expecting 2 bytes]");
  CHECK(device.ask_one("db 0102") == "m-load-done");
  CHECK(device.ask_one("db 03") == "e-[No bytes expected: 'db load N' comes first]");
  CHECK(device.ask_one("infer 1 0") == "e-[Input has 2 of 3072 bytes]");

  for (const char* wrong : {"0", "-1", "x", "1000000001", "1e3"}) {
    CHECK(device.ask_one(std::string("infer ") + wrong) == "e-[Inference iterations must be >0]");
    if (std::string(wrong) == "0") continue;
    CHECK(device.ask_one(std::string("infer 1 ") + wrong) == "e-[Inference warmup must be >=0]");
  }

  // Exactly 80 characters are a command; 81 and many more are not.
  const std::string longest = "name" + std::string(76, ' ');
  CHECK(device.ask_one(longest) == "m-name-dut-[sparsenet]");
  CHECK(device.ask_one(longest + " ") == "e-[Command is longer than 80 characters]");
  CHECK(device.ask_one("db " + std::string(60000, '0')) == "e-[Command is longer than 80 characters]");
  CHECK(device.ask_one("name") == "m-name-dut-[sparsenet]");

  // Bytes that are not text.
  std::string noise;
  for (int i = 1; i < 256; ++i) {
    if (i != '%' && i != '\r' && i != '\n') noise += static_cast<char>(i);
  }
  for (size_t at = 0; at < noise.size(); at += 50) device.ask(noise.substr(at, 50));
  device.load(image);
  CHECK(device.ask("infer 1 0").size() == 7);
  // A command without an end is not executed.
  device.write("infer 5");
  CHECK(device.end() == 0);
}

TEST_CASE("mlperf: results before any inference are zeros") {
  Dialogue device({planned_model()});
  device.read();
  CHECK(device.ask_one("results") == "m-results-[0.000,0.000,0.000,0.000,0.000,0.000,0.000,0.000,0.000,0.000]");
}

TEST_CASE("mlperf: models and options that do not fit") {
  CHECK(fails(mlperf({}), 2, {"MODEL"}));
  CHECK(fails(mlperf({"no-such.snet"}), 1, {"no-such.snet"}));
  CHECK(fails(mlperf({small_model()}), 1, {small_model(), "plan"}));
  CHECK(fails(mlperf({planned_model(), "--json"}), 2, {"--json"}));
  CHECK(fails(mlperf({planned_model(), "--score", "no-such.bin"}), 1, {"no-such.bin"}));
  std::ofstream(scratch("short.bin"), std::ios::binary) << std::string(3072, 'x');
  CHECK(fails(mlperf({planned_model(), "--score", scratch("short.bin")}), 1, {"short.bin", "3073", "3072"}));
  CHECK(mlperf({"--help"}).code == 0);
  std::ofstream(scratch("net.tflite")) << "not read any further";
  CHECK(fails(mlperf({scratch("net.tflite")}), 1, {"a TensorFlow Lite file", "sparsenet-convert"}));
  CHECK(fails(mlperf({planned_model(), "--score", "x.bin", "--seconds", "nan"}), 2, {"--seconds", "'nan'"}));
  CHECK(fails(mlperf({planned_model(), "--score", ""}), 2, {"--score", "an empty one"}));
}

TEST_CASE("mlperf: scores itself") {
  // Three images with the labels that the network gives them, and one with another label.
  std::string set;
  std::vector<uint8_t> planes(kInputBytes);
  for (int i = 0; i < 4; ++i) {
    for (size_t at = 0; at < kInputBytes; ++at) planes[at] = static_cast<uint8_t>(at * static_cast<size_t>(i + 3) / 7);
    std::vector<uint8_t> pixels(kInputBytes);
    for (size_t c = 0; c < 3; ++c) {
      for (size_t p = 0; p < 1024; ++p) pixels[p * 3 + c] = planes[c * 1024 + p];
    }
    const std::string results = expected_results(planned_model(), pixels);
    int best = 0, at = 0;
    float highest = -1e30f;
    for (const char* number = results.c_str() + 11; *number && *number != ']'; ++at) {
      char* end = nullptr;
      const float value = std::strtof(number, &end);
      if (value > highest) {
        highest = value;
        best = at;
      }
      number = *end == ',' ? end + 1 : end;
    }
    set += static_cast<char>(i == 2 ? (best + 1) % 10 : best);
    set.append(planes.begin(), planes.end());
  }
  std::ofstream(scratch("four.bin"), std::ios::binary) << set;
  Outcome outcome = mlperf({planned_model(), "--score", scratch("four.bin"), "--seconds", "0.01", "--json"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const json score = json::parse(outcome.out, nullptr, false);
  REQUIRE_FALSE(score.is_discarded());
  CHECK(score["samples"] == 4);
  CHECK(score["correct"] == 3);
  CHECK(score["accuracy_percent"] == 75.0);
  REQUIRE(score["windows"].size() == 5);
  std::vector<double> rates;
  for (const json& window : score["windows"]) {
    CHECK(window["iterations"] >= 10);
    CHECK(window["seconds"] >= 0.01);
    rates.push_back(window["inferences_per_second"]);
    CHECK(rates.back() ==
          doctest::Approx(window["iterations"].get<double>() / window["seconds"].get<double>()).epsilon(1e-9));
  }
  std::sort(rates.begin(), rates.end());
  CHECK(score["median_inferences_per_second"] == rates[2]);

  const float chosen[] = {2, 0};
  REQUIRE(io::write_npy(scratch("chosen.npy"), {2}, chosen).ok());
  CHECK(fails(mlperf({planned_model(), "--score", scratch("four.bin"), "--indices", scratch("chosen.npy")}), 1,
              {"chosen.npy"}));
  // int64, like the benchmark's own list.
  std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }";
  header += std::string(117 - header.size(), ' ') + "\n";
  const auto write_indices = [&](int64_t a, int64_t b) {
    std::ofstream file(scratch("chosen.npy"), std::ios::binary);
    file << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size()) << '\0' << header;
    for (const int64_t index : {a, b}) file.write(reinterpret_cast<const char*>(&index), sizeof index);
  };
  const std::vector<std::string> some{planned_model(),   "--score",   scratch("four.bin"),
                                      "--accuracy-only", "--indices", scratch("chosen.npy")};
  write_indices(2, 0);
  outcome = mlperf(some);
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "accuracy: 1 of 2 right, 50.00 %\n");
  write_indices(2, 4);
  CHECK(fails(mlperf(some), 1, {"chosen.npy", "4"}));
  write_indices(-1, 0);
  CHECK(fails(mlperf(some), 1, {"chosen.npy", "-1"}));
}

TEST_CASE("mlperf: the reference network is right on at least 85 % of the benchmark's samples") {
  const std::string images = shared_file("data/cifar10/test_batch.bin"),
                    indices = shared_file("models/mlperf-tiny-resnet8/perf_samples_idxs.npy");
  if (images.empty() || indices.empty()) return skip("MLPerf Tiny accuracy", "the shared images");
  if (!can_convert()) return skip("MLPerf Tiny accuracy", "sparsenet-convert");
  auto model = convert(
      {std::string(SPARSENET_SOURCE_DIR) + "/models/sources/mlperf-tiny-resnet8.tflite", "--plan", "portable-f32"});
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  REQUIRE(save_model(*model, scratch("resnet8.snet")).ok());
  const Outcome outcome =
      mlperf({scratch("resnet8.snet"), "--score", images, "--indices", indices, "--accuracy-only", "--json"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const json score = json::parse(outcome.out, nullptr, false);
  REQUIRE_FALSE(score.is_discarded());
  CHECK(score["samples"] == 200);
  CHECK(score["accuracy_percent"] >= 85.0);
}
