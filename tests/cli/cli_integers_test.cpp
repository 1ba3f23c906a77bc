// Networks that compute with integers, on the command line.
#include <doctest/doctest.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <filesystem>
#include <fstream>

#include "command.h"
#include "data/npy.h"
#include "support/integer_maker.h"

namespace {

using namespace sparsenet;
using nlohmann::json;
using test::fails;
using test::json_of;
using test::scratch;

// Pixels of 0..255, as int8 with zero point -128, to probabilities of three classes.
const std::string& network() {
  static const std::string path = [] {
    test::Random random(4);
    test::IntegerMaker g(random);
    const ValueId x = g.input({1, 3, 8, 8}, {{1.f}, {-128}, 0});
    ConvAttrs attrs;
    attrs.stride = {2, 2};
    ValueId y = g.layer(x, {8, 3, 3, 3}, attrs);
    y = g.node(Op::kGlobalAveragePool, {y}, NoAttrs{}, {{static_cast<float>(g.scale(y))}, {3}, 0});
    y = g.move(Op::kReshape, {y}, ReshapeAttrs{{0, -1}});
    const ValueId logits = g.layer(y, {3, 8});
    g.graph.value(logits).quantization.scales[0] *= 0.01f;
    Model model;
    model.graph = g.finish({g.node(Op::kSoftmax, {logits}, AxisAttrs{1}, {{1.f / 256}, {-128}, 0})});
    model.graph.value(x).name = "pixels";
    model.graph.value(model.graph.outputs[0]).name = "scores";
    model.metadata.labels = {"a", "b", "c"};
    TestVector vector;
    std::vector<int8_t> pixels(3 * 8 * 8), scores(3);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<int8_t>(i * 37 % 256 - 128);
    auto session = Session::create(model.graph, {});
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    REQUIRE(session->set_input(0, pixels.data(), pixels.size()).ok());
    REQUIRE(session->run().ok());
    REQUIRE(session->get_output(0, scores.data(), scores.size()).ok());
    vector.inputs = {test::integer_constant<int8_t>({1, 3, 8, 8}, pixels)};
    vector.outputs = {test::integer_constant<int8_t>({1, 3}, scores)};
    model.test_vectors = {vector};
    const std::string file = scratch("int8.snet");
    REQUIRE(save_model(model, file).ok());
    ++scores[1];
    model.test_vectors[0].outputs = {test::integer_constant<int8_t>({1, 3}, scores)};
    REQUIRE(save_model(model, scratch("wrong.snet")).ok());
    return file;
  }();
  return path;
}

// A batch of two images, as bytes of the given type.
std::string images(const std::string& name, DataType type) {
  std::vector<uint8_t> bytes(2 * 3 * 8 * 8);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37 % 256 - 128);
  const std::string file = scratch(name);
  REQUIRE(io::write_npy(file, {2, 3, 8, 8}, type, bytes.data()).ok());
  return file;
}

TEST_CASE("cli: info tells types, scales and zero points") {
  const json info = json_of({"info", network()});
  CHECK(info["inputs"][0] ==
        json({{"name", "pixels"}, {"type", "int8"}, {"shape", {1, 3, 8, 8}}, {"scale", 1}, {"zero_point", -128}}));
  CHECK(info["outputs"][0] ==
        json({{"name", "scores"}, {"type", "int8"}, {"shape", {1, 3}}, {"scale", 0.00390625}, {"zero_point", -128}}));
  CHECK(info["parameter_type"] == "int8");
  CHECK_FALSE(json_of({"info", test::small_model()})["inputs"][0].contains("scale"));
  const test::Outcome text = test::sparsenet({"info", network()});
  CHECK(text.out.find("pixels [1, 3, 8, 8] int8, scale 1, zero point -128\n") != std::string::npos);
  CHECK(text.out.find("scores [1, 3] int8, scale 0.00390625, zero point -128\n") != std::string::npos);
  CHECK(text.out.find("stored as int8\n") != std::string::npos);
}

TEST_CASE("cli: run reads integers of the input's type, or real numbers, and writes integers") {
  const std::string bytes = images("bytes.npy", DataType::kInt8), first = scratch("first.npy");
  REQUIRE(test::sparsenet({"run", network(), "-i", bytes, "-o", first}).code == 0);
  const auto found = io::read_npy(first);
  REQUIRE(found.ok());
  CHECK(found->type_name == "int8");
  CHECK(found->shape == Shape{2, 3});

  // The same numbers: pixels, which are the integers + 128.
  std::vector<float> real = io::read_npy(bytes)->values;
  for (float& v : real) v += 128.f;
  const std::string pixels = scratch("pixels.npy"), second = scratch("second.npy");
  REQUIRE(io::write_npy(pixels, {2, 3, 8, 8}, real.data()).ok());
  REQUIRE(test::sparsenet({"run", network(), "-i", pixels, "-o", second}).code == 0);
  CHECK(io::read_npy(second)->values == found->values);

  const std::string other = images("unsigned.npy", DataType::kUInt8);
  CHECK(fails(test::sparsenet({"run", network(), "-i", other, "-o", second}), 1,
              {other, "input 'pixels'", "expected int8 or floats, found uint8"}));
}

TEST_CASE("cli: verify compares integers exactly") {
  const json verified = json_of({"verify", network()});
  CHECK(verified["passed"] == true);
  CHECK(verified["results"][0]["max_abs_difference"] == 0);
  const json wrong = json_of({"verify", scratch("wrong.snet")}, 1);
  CHECK(wrong["passed"] == false);
  CHECK(wrong["results"][0]["max_abs_difference"] == 1);
}

TEST_CASE("cli: bench, profile, classify and eval take networks of integers") {
  CHECK(json_of({"bench", network(), "--runs", "2"})["batch"] == 1);
  const json steps = json_of({"profile", network(), "--runs", "2"});
  CHECK(steps.dump().find("\"Softmax\"") != std::string::npos);
  const test::Outcome named = test::sparsenet({"classify", network(), test::sample("cat-0000.png")});
  CHECK_MESSAGE(named.code == 0, named.err);
  CHECK(named.out.find(" a\n") != std::string::npos);
  // Pixels as they are, in the order of the classes that `run` gives.
  const std::string bytes = images("eval.npy", DataType::kInt8), labels = scratch("labels.npy");
  const uint8_t classes[2] = {0, 1};
  REQUIRE(io::write_npy(labels, {2}, DataType::kUInt8, classes).ok());
  const json eval = json_of({"eval", network(), "--data", "npy:" + bytes + "," + labels});
  CHECK(eval["images"] == 2);
}

// Images of floats with labels, for the network that comes with the engine.
std::string float_data(int64_t count) {
  test::Random random(9);
  std::vector<float> pixels(static_cast<size_t>(count) * 3 * 32 * 32);
  for (float& v : pixels) v = static_cast<float>(random.normal());
  std::vector<uint8_t> labels(static_cast<size_t>(count));
  for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<uint8_t>(i % 10);
  REQUIRE(io::write_npy(scratch("floats.npy"), {count, 3, 32, 32}, pixels.data()).ok());
  REQUIRE(io::write_npy(scratch("classes.npy"), {count}, DataType::kUInt8, labels.data()).ok());
  return "npy:" + scratch("floats.npy") + "," + scratch("classes.npy");
}

TEST_CASE("cli: quantize makes a file that the other commands take, and tells what it did") {
  const std::string source = SPARSENET_SOURCE_DIR "/models/sparsenet-abc-v0.snet", out = scratch("v0-int8.snet");
  const std::string data = float_data(24);
  const json made = json_of({"quantize", source, "--data", data, "--samples", "16", "-o", out});
  CHECK(made["samples"] == 16);
  CHECK(made["float_nodes"] == 0);
  CHECK(made["bytes"] == std::filesystem::file_size(out));
  CHECK(made["bytes"] < 170000);
  CHECK_FALSE(made.contains("layers"));
  CHECK(json_of({"eval", out, "--data", data})["images"] == 24);
  CHECK(json_of({"info", out})["classes"] == 10);

  const std::string report = scratch("layers.json");
  const json measured = json_of({"quantize", source, "--data", data, "--samples", "16", "--report", report,
                                 "--max-error-increase", "100", "--keep-float", "fc", "-o", out});
  CHECK(measured["held_out"] == 8);
  CHECK(measured["layers"].size() == 76);
  CHECK(measured["layers"][0]["damage"] >= measured["layers"][75]["damage"]);
  CHECK(measured["kept_float"][0] == "FullyConnected 'fc': asked for");
  std::ifstream file(report);
  CHECK(json::parse(file) == measured);

  const std::string never = scratch("never.snet");
  fails(test::sparsenet({"quantize", source, "--data", data, "--report", report, "-o", never}), 1,
        {"expected more than the 24 images that the ranges are measured on"});
  fails(test::sparsenet({"quantize", source, "--data", data, "--keep-float", "none", "-o", never}), 1,
        {"keep_float: no node is named 'none'"});
  fails(test::sparsenet({"quantize", out, "--data", data, "-o", never}), 1, {"computes with integers already"});
  CHECK_FALSE(std::ifstream(never).good());
}

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_CASE("cli: train takes networks of integers, whole or in part, and makes such networks") {
  const std::string source = SPARSENET_SOURCE_DIR "/models/sparsenet-abc-v0.snet", int8 = scratch("to-train.snet");
  const std::string data = float_data(24), out = scratch("trained-int8.snet");
  json_of({"quantize", source, "--data", data, "--samples", "16", "-o", int8});
  const auto train = [&](const std::string& from, const std::string& to, std::vector<std::string> more) {
    std::vector<std::string> line{"train", from, "--data", data, "--batch", "8", "--epochs", "2", "-o", to};
    line.insert(line.end(), more.begin(), more.end());
    return json_of(std::move(line));
  };
  const json whole = train(int8, out, {"--test", data});
  CHECK(whole["steps"] == 6);
  CHECK(whole["epochs"][1]["train_loss"] < whole["epochs"][0]["train_loss"]);
  CHECK(whole["epochs"][1]["learning_rate"] < 0.000031);  // the default of such networks
  CHECK(json_of({"verify", out})["results"].size() == 1);
  CHECK(json_of({"info", out})["parameter_type"] == "int8");
  // What is measured after the last epoch is what eval measures of the file.
  const json eval = json_of({"eval", out, "--data", data});
  CHECK(whole["epochs"][1]["test_error_percent"] == eval["error_percent"]);

  // From its checkpoint, and by any number of threads, the same file.
  const std::string again = scratch("resumed-int8.snet");
  train(int8, again, {"--test", data, "--checkpoint", out + ".checkpoint", "--resume", "--threads", "1"});
  CHECK(content(again) == content(out));

  // The last layer alone: everything in front of it computes with integers.
  const json head = train(int8, again, {"--freeze", "all-but-head"});
  CHECK(head["memory"]["arena_bytes"] < whole["memory"]["arena_bytes"].get<int64_t>() / 8);

  // A float32 head on a body of integers can be replaced, too.
  const std::string mixed = scratch("mixed.snet");
  json_of({"quantize", source, "--data", data, "--samples", "16", "--keep-float", "fc", "-o", mixed});
  // Where no integers are trained, the learning rate is that of float32.
  const json in_float = train(mixed, again, {"--freeze", "all-but-head", "--schedule", "constant"});
  CHECK(in_float["epochs"][1]["learning_rate"] == doctest::Approx(0.1));
  CHECK(head["epochs"][1]["learning_rate"] < 0.000031);
  const json part = train(mixed, again, {"--freeze", "fc.*", "--schedule", "constant"});
  CHECK(part["epochs"][1]["learning_rate"] == doctest::Approx(0.00003));
  train(mixed, again, {"--freeze", "all-but-head", "--classes", "12", "--lr", "0.01"});
  CHECK(json_of({"info", again})["classes"] == 12);
  fails(test::sparsenet({"train", int8, "--data", data, "--classes", "12", "-o", again}), 1,
        {"FullyConnected 'fc' computes with integers, whose ranges were measured for the classes that it has"});
  const test::Outcome wild =
      test::sparsenet({"train", int8, "--data", data, "--batch", "8", "--epochs", "1", "--lr", "1e6", "-o", again});
  CHECK(wild.code == 1);
  CHECK_MESSAGE(wild.err.find("expected sums that 32 bits hold") != std::string::npos, wild.err);
  CHECK(wild.err.find("a smaller learning rate may help") != std::string::npos);
}

TEST_CASE("cli: train takes bytes as input, and a Softmax at the end") {
  const std::string data = "npy:" + images("train.npy", DataType::kInt8) + "," + scratch("labels.npy");
  const uint8_t classes[2] = {0, 1};
  REQUIRE(io::write_npy(scratch("labels.npy"), {2}, DataType::kUInt8, classes).ok());
  const std::string out = scratch("trained.snet");
  json_of({"train", network(), "--data", data, "--batch", "2", "--epochs", "3", "--keep-labels", "-o", out});
  CHECK(json_of({"verify", out})["results"].size() == 1);
  CHECK(json_of({"eval", out, "--data", data})["images"] == 2);
}

}  // namespace
