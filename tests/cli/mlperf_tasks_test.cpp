// The tasks of sparsenet-mlperf-tiny, with networks of float32 and of integers: what becomes of the bytes, results,
// scores, and networks that fit no task.
#include <doctest/doctest.h>
#include <sparsenet/deploy.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "data/npy.h"
#include "mlperf_dialogue.h"
#include "support/convert.h"
#include "support/integer_maker.h"
#include "support/skip.h"

namespace {

using namespace sparsenet;
using namespace sparsenet::test;
using nlohmann::json;
using Bytes = std::vector<uint8_t>;

constexpr size_t kPixels = 1024, kKeywordBytes = 490, kFeatures = 640;
constexpr float kKeywordScale = 0.5847029089927673f;
constexpr int32_t kKeywordZero = 83;

std::string saved(Model model, const std::string& name) {
  auto plan = make_stored_plan(model.graph, "portable-f32", 1);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans.push_back(std::move(*plan));
  const Status status = save_model(model, scratch(name));
  REQUIRE_MESSAGE(status.ok(), status.message());
  return scratch(name);
}

// Everything to everything.
Model integer_network(const Shape& shape, const Quantization& q, int64_t outputs, DataType type = DataType::kInt8,
                      bool float_outputs = false) {
  Random random(static_cast<uint64_t>(outputs));
  IntegerMaker g(random);
  ValueId x = g.input(shape, q, type);
  if (type == DataType::kUInt8) x = g.node(Op::kQuantize, {x}, NoAttrs{}, {q.scales, {q.zero_points[0] - 128}, 0});
  if (shape.size() > 2) x = g.move(Op::kReshape, {x}, ReshapeAttrs{{0, -1}});
  x = g.layer(x, {outputs, element_count(shape)});
  if (float_outputs) {
    x = g.node(Op::kDequantize, {x}, NoAttrs{}, {});
    g.graph.value(x).type = DataType::kFloat32;
  }
  Model model;
  model.graph = g.finish({x});
  return model;
}

Model float_network(const Shape& shape, std::vector<float> weights) {
  Model model;
  Graph& graph = model.graph;
  const int64_t inputs = element_count(shape), outputs = static_cast<int64_t>(weights.size()) / inputs;
  ValueId x = graph.add_input("x", shape);
  if (shape.size() > 2) x = graph.add_node(Op::kReshape, "flat", {x}, ReshapeAttrs{{0, -1}});
  const ValueId w = graph.add_constant("w", Tensor::from({outputs, inputs}, std::move(weights)));
  graph.outputs = {graph.add_node(Op::kFullyConnected, "fc", {x, w}, FullyConnectedAttrs{})};
  return model;
}

std::vector<float> some_weights(size_t count) {
  Random random(7);
  std::vector<float> out(count);
  for (float& v : out) v = static_cast<float>(random.real(-0.01, 0.01));
  return out;
}

Bytes some_bytes(size_t count, uint64_t seed) {
  Random random(seed);
  Bytes out(count);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random.integer(0, 255));
  return out;
}

Bytes bytes_of(const std::vector<float>& values) {
  Bytes out(values.size() * sizeof(float));
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

// What the network makes of an input in its own type: the real numbers that the outputs stand for.
template <class T>
std::vector<float> outputs_of(const Model& model, const std::vector<T>& input) {
  SessionOptions options;
  options.backend = Backend::kReference;
  auto session = Session::create(model.graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->set_input(0, input.data(), input.size()).ok());
  REQUIRE(session->run().ok());
  const Value& value = model.graph.value(model.graph.outputs[0]);
  std::vector<float> out(static_cast<size_t>(element_count(value.shape)));
  if (value.type == DataType::kFloat32) {
    REQUIRE(session->get_output(0, out.data(), out.size()).ok());
    return out;
  }
  std::vector<int8_t> integers(out.size());
  REQUIRE(session->get_output(0, integers.data(), integers.size()).ok());
  for (size_t i = 0; i < out.size(); ++i) {
    const int32_t q = integers[i];
    out[i] = static_cast<float>(q - value.quantization.zero_points[0]) * value.quantization.scales[0];
  }
  return out;
}

int8_t integer(float value, float scale, int32_t zero) {
  return static_cast<int8_t>(std::min(127.f, std::max(-128.f, std::round(value / scale) + static_cast<float>(zero))));
}

// Of byte [row][column][colour], where the network has the channels `order`.
template <class Convert>
auto planes(const Bytes& bytes, const int (&order)[3], Convert convert) {
  std::vector<decltype(convert(bytes[0], 0))> out;
  for (size_t c = 0; c < 3; ++c) {
    for (size_t p = 0; p < kPixels; ++p) out.push_back(convert(bytes[p * 3 + static_cast<size_t>(order[c])], c));
  }
  return out;
}

double mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return sum / static_cast<double>(a.size());
}

// The one number of a line of results.
double only_result(const std::string& line) {
  REQUIRE(line.rfind("m-results-[", 0) == 0);
  char* end = nullptr;
  const double value = std::strtod(line.c_str() + 11, &end);
  REQUIRE(std::string(end) == "]");
  return value;
}

// The printed number is rounded to three decimals, after 640 sums in float32.
bool is_about(double found, double expected) {
  return std::fabs(found - expected) <= 0.0006 + 1e-5 * expected;
}

void write_file(const std::string& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

std::string folder(const std::string& name, const std::string& labels) {
  std::filesystem::create_directories(scratch(name));
  std::ofstream(scratch(name) + "/y_labels.csv") << labels;
  return scratch(name);
}

}  // namespace

TEST_CASE("mlperf: pixels become the integers of image classification's input") {
  const Shape shape{1, 3, 32, 32};
  const Bytes image = some_bytes(3 * kPixels, 1);
  // As in the benchmark's ResNet8: every pixel is its integer + 128.
  Model model = integer_network(shape, {{1.f}, {-128}, 0}, 10);
  const auto shifted = planes(image, {0, 1, 2}, [](int pixel, size_t) { return static_cast<int8_t>(pixel - 128); });
  std::string expected = results_line(outputs_of(model, shifted));
  {
    Dialogue device({saved(model, "ic.snet")});
    device.read();
    CHECK(device.ask("profile").back() == "m-model-[ic01]");
    CHECK(device.ask_one("results") == results_line(std::vector<float>(10)));
    CHECK(device.infer(image) == expected);
    CHECK(device.ask_one("results") == expected);
    CHECK(device.ask("infer 3").back() == expected);
  }
  // uint8: as they are.
  model = integer_network(shape, {{1.f}, {0}, 0}, 10, DataType::kUInt8);
  const auto plain = planes(image, {0, 1, 2}, [](int pixel, size_t) { return static_cast<uint8_t>(pixel); });
  expected = results_line(outputs_of(model, plain));
  CHECK(Dialogue({saved(model, "uint8.snet"), "--task", "ic"}).read().size() == 3);
  {
    Dialogue device({saved(model, "uint8.snet")});
    device.read();
    CHECK(device.infer(image) == expected);
  }
  // With a mean, a deviation, another order of colours and a scale that makes some leave the range; float32 outputs.
  const Quantization q{{0.013f}, {-5}, 0};
  model = integer_network(shape, q, 200, DataType::kInt8, true);
  model.metadata.mean = {120, 110, 100};
  model.metadata.std_dev = {60, 50, 70};
  model.metadata.color_order = "BGR";
  const auto normalised = planes(image, {2, 1, 0}, [&](int pixel, size_t c) {
    return integer((static_cast<float>(pixel) - model.metadata.mean[c]) / model.metadata.std_dev[c], q.scales[0], -5);
  });
  CHECK(std::count(normalised.begin(), normalised.end(), int8_t{127}) > 10);
  Dialogue device({saved(model, "bgr-int8.snet"), "--model-id", "ic02"});
  device.read();
  CHECK(device.ask("profile").back() == "m-model-[ic02]");
  CHECK(device.infer(image) == results_line(outputs_of(model, normalised)));
}

TEST_CASE("mlperf: keyword spotting takes the reference network's integers") {
  const Bytes features = some_bytes(kKeywordBytes, 2);
  const auto check = [&](const Model& model, const std::string& expected) {
    Dialogue device({saved(model, "kws.snet")});
    device.read();
    CHECK(device.ask("profile").back() == "m-model-[kws01]");
    CHECK(device.ask_one("db load 491") == "e-[Command 'db load' takes 1 to 490 bytes, not 491]");
    CHECK(device.infer(features) == expected);
  };
  // The same scale and zero point: all bytes as they are.
  std::vector<int8_t> same;
  for (const uint8_t byte : features) same.push_back(static_cast<int8_t>(byte));
  for (const Shape& shape : {Shape{1, 1, 49, 10}, Shape{1, 49, 10, 1}, Shape{1, 490}}) {
    const Model model = integer_network(shape, {{kKeywordScale}, {kKeywordZero}, 0}, 12);
    check(model, results_line(outputs_of(model, same)));
  }
  // Others: the same features.
  std::vector<float> real;
  std::vector<int8_t> others;
  for (const int8_t q : same) {
    real.push_back(static_cast<float>(q - kKeywordZero) * kKeywordScale);
    others.push_back(integer(real.back(), 0.4f, 100));
  }
  const Model requantised = integer_network({1, 1, 49, 10}, {{0.4f}, {100}, 0}, 12);
  check(requantised, results_line(outputs_of(requantised, others)));
  const Model floats = float_network({1, 1, 49, 10}, some_weights(12 * kKeywordBytes));
  check(floats, results_line(outputs_of(floats, real)));
}

TEST_CASE("mlperf: anomaly detection's result is the mean square error against what was sent") {
  Random random(3);
  std::vector<float> window(kFeatures), other(kFeatures);
  for (float& v : window) v = static_cast<float>(random.real(-60, 10));
  for (float& v : other) v = static_cast<float>(random.real(-60, 10));
  window[5] = 1e6f;  // leaves the range of int8
  window[6] = -1e6f;
  const Quantization q{{0.39f}, {89}, 0};
  const auto integers = [&](const std::vector<float>& from) {
    std::vector<int8_t> out;
    for (const float v : from) out.push_back(integer(v, 0.39f, 89));
    return out;
  };
  Model model = integer_network({1, 640}, q, 640);
  const auto expected = [&](const std::vector<float>& from) {
    return mean_square(outputs_of(model, integers(from)), from);
  };
  {
    Dialogue device({saved(model, "ad.snet")});
    device.read();
    CHECK(device.ask("profile").back() == "m-model-[ad01]");
    CHECK(device.ask_one("results") == "m-results-[0.000]");
    const std::string line = device.infer(bytes_of(window));
    CHECK(is_about(only_result(line), expected(window)));
    CHECK(is_about(only_result(device.infer(bytes_of(other))), expected(other)));
    CHECK(device.infer(bytes_of(window)) == line);
    // The last inference's, whatever is loaded meanwhile.
    device.load(bytes_of(other));
    CHECK(device.ask_one("results") == line);
    CHECK(is_about(only_result(device.ask("infer 2 1").back()), expected(other)));
    // What is not a number is the zero point to the network, and to the result.
    window[5] = std::nanf("");
    CHECK(device.infer(bytes_of(window)) == "m-results-[nan]");
    CHECK(is_about(only_result(device.infer(bytes_of(other))), expected(other)));
  }
  model = float_network({1, 640}, some_weights(kFeatures * kFeatures));
  Dialogue device({saved(model, "ad-float.snet")});
  device.read();
  CHECK(is_about(only_result(device.infer(bytes_of(other))), mean_square(outputs_of(model, other), other)));
}

TEST_CASE("mlperf: networks that fit no task, or not the one that was asked for") {
  const std::string v0 = [] {
    auto model = load_model(small_model());
    REQUIRE(model.ok());
    return saved(std::move(*model), "v0.snet");
  }();
  CHECK(fails(mlperf({v0, "--task", "kws"}), 1,
              {v0, "expected an input of 49 x 10 features", "found an input [1, 3, 32, 32] and an output [1, 10]"}));
  CHECK(fails(mlperf({v0, "--task", "vww"}), 2, {"--task", "vww"}));
  const std::string odd = saved(float_network({1, 641}, some_weights(641 * 2)), "odd.snet");
  CHECK(fails(mlperf({odd}), 1,
              {odd, "expected an input [1, 3, 32, 32]", "49 x 10", "640 features", "found an input [1, 641]"}));
  CHECK(fails(mlperf({odd, "--task", "ad"}), 1, {"expected an input of 640 features"}));
  const std::string square = saved(float_network({1, 32, 20}, some_weights(640 * 640)), "square.snet");
  CHECK(fails(mlperf({square}), 1, {"found an input [1, 32, 20]"}));
  const std::string eleven = saved(float_network({1, 1, 49, 10}, some_weights(490 * 11)), "eleven.snet");
  CHECK(fails(mlperf({eleven}), 1, {"expected an output of 12 classes", "an output [1, 11]"}));
  const std::string fewer = saved(float_network({1, 640}, some_weights(640 * 639)), "fewer.snet");
  CHECK(fails(mlperf({fewer}), 1, {"expected an output of 640 features", "an output [1, 639]"}));
  Model two;
  const ValueId a = two.graph.add_input("a", {1, 640}), b = two.graph.add_input("b", {1, 640});
  two.graph.outputs = {two.graph.add_node(Op::kAdd, "sum", {a, b})};
  CHECK(fails(mlperf({saved(two, "two.snet")}), 1, {"expected a network with one input"}));
}

TEST_CASE("mlperf: scores a folder of the benchmark's inputs") {
  const Model model = integer_network({1, 1, 49, 10}, {{kKeywordScale}, {kKeywordZero}, 0}, 12);
  const std::string path = saved(model, "kws-score.snet");
  std::string labels;
  for (uint64_t i = 0; i < 4; ++i) {
    const Bytes bytes = some_bytes(kKeywordBytes, 10 + i);
    const std::vector<float> out = outputs_of(model, std::vector<int8_t>(bytes.begin(), bytes.end()));
    const auto best = std::max_element(out.begin(), out.end()) - out.begin();
    const std::string name = "tst_" + std::to_string(i) + ".bin";
    labels += name + ",12," + std::to_string(i == 1 ? (best + 1) % 12 : best) + (i % 2 ? "\r\n" : "\n");
    write_file(folder("kws", labels) + "/" + name, bytes);
  }
  Outcome outcome = mlperf({path, "--score", scratch("kws"), "--seconds", "0.01", "--json"});
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const json score = json::parse(outcome.out, nullptr, false);
  CHECK(score["task"] == "kws01");
  CHECK(score["samples"] == 4);
  CHECK(score["correct"] == 3);
  CHECK(score["accuracy_percent"] == 75.0);
  CHECK(score["windows"].size() == 5);
  // One of them alone.
  std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }";
  header += std::string(117 - header.size(), ' ') + "\n";
  const int64_t index = 1;
  std::ofstream file(scratch("one.npy"), std::ios::binary);
  file << "\x93NUMPY" << '\1' << '\0' << static_cast<char>(header.size()) << '\0' << header;
  file.write(reinterpret_cast<const char*>(&index), sizeof index);
  file.close();
  outcome = mlperf({path, "--score", scratch("kws"), "--indices", scratch("one.npy"), "--accuracy-only"});
  CHECK(outcome.out == "accuracy: 0 of 1 right, 0.00 %\n");

  const auto wrong = [&](const std::string& text, const std::vector<std::string>& parts) {
    CHECK(fails(mlperf({path, "--score", folder("kws-wrong", text)}), 1, parts));
  };
  write_file(folder("kws-wrong", "") + "/short.bin", Bytes(489));
  wrong("", {"y_labels.csv", "FILE,CLASSES,CLASS"});
  wrong("short.bin,12,3\n", {"short.bin", "expected 490 bytes for kws01, found 489"});
  wrong("none.bin,12,3\n", {"none.bin"});
  for (const char* line : {"short.bin,12", "short.bin,12,12", "short.bin,12,x", "short.bin,12,1,2560,512", ",12,1",
                           "short.bin,12,", "short.bin,12,-1", "short.bin,9999999999,1"}) {
    wrong(line, {"y_labels.csv: expected a line FILE,CLASSES,CLASS for kws01", line});
  }
  CHECK(fails(mlperf({path, "--score", scratch("one.npy")}), 1, {"one.npy", "a folder with y_labels.csv", "kws01"}));
  std::filesystem::create_directories(scratch("empty"));
  CHECK(fails(mlperf({path, "--score", scratch("empty")}), 1, {"y_labels.csv"}));
}

TEST_CASE("mlperf: anomaly detection scores the area under the curve of the windows' means") {
  // A network that gives zeros: the result is the mean of the squares.
  const std::string path = saved(float_network({1, 640}, std::vector<float>(kFeatures * kFeatures)), "zeros.snet");
  std::string labels;
  const auto add = [&](const std::string& name, int label, float first, float rest) {
    std::vector<float> frames(kFeatures + 128, rest);  // two windows, one frame apart
    for (size_t i = 0; i < 128; ++i) frames[i] = first;
    labels += name + ",2," + std::to_string(label) + ",2560,512\n";
    write_file(folder("ad", labels) + "/" + name, bytes_of(frames));
  };
  add("n1.bin", 0, 1, 1);   // 1 and 1
  add("n2.bin", 0, 3, 3);   // 9 and 9
  add("n3.bin", 0, 10, 0);  // 20 and 0: 10
  add("a1.bin", 1, 2, 2);   // 4: above one of three
  add("a2.bin", 1, 4, 4);   // 16: above all
  add("a3.bin", 1, 3, 3);   // 9: above one, beside one
  const std::vector<std::string> arguments{path, "--score", scratch("ad"), "--accuracy-only"};
  Outcome outcome = mlperf(arguments);
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(outcome.out == "AUC: 0.6111, 6 samples, 12 inputs\n");  // 5.5 of 9 pairs
  outcome = mlperf({path, "--score", scratch("ad"), "--seconds", "0", "--json"});
  const json score = json::parse(outcome.out, nullptr, false);
  CHECK(score["task"] == "ad01");
  CHECK(score["samples"] == 6);
  CHECK(score["inputs"] == 12);
  CHECK(score["auc"].get<double>() == doctest::Approx(5.5 / 9));
  CHECK_FALSE(score.contains("correct"));
  CHECK(score["windows"].size() == 5);

  const auto wrong = [&](const std::string& text, const std::vector<std::string>& parts) {
    std::ofstream(scratch("ad") + "/y_labels.csv") << text;
    CHECK(fails(mlperf(arguments), 1, parts));
  };
  wrong("n1.bin,2,0,2560,512\n", {"ad", "expected samples of both classes", "found only one class"});
  wrong("n1.bin,2,0\n", {"expected a line FILE,CLASSES,CLASS,BYTES,STRIDE for ad01", "'n1.bin,2,0'"});
  wrong("n1.bin,2,0,2560,0\n", {"2560 bytes and a stride of at least 1"});
  wrong("n1.bin,2,0,2556,512\n", {"2560 bytes and a stride of at least 1"});
  wrong("n1.bin,3,0,2560,512\n", {"expected 2 classes"});
  write_file(scratch("ad") + "/short.bin", Bytes(2559));
  wrong("short.bin,2,0,2560,512\n", {"short.bin", "at least 2560 bytes for ad01, found 2559"});
  write_file(scratch("ad") + "/nan.bin", bytes_of(std::vector<float>(kFeatures, std::nanf(""))));
  wrong("n1.bin,2,0,2560,512\nnan.bin,2,1,2560,512\n", {"sample 1 has no finite result"});
}

TEST_CASE("mlperf: the benchmark's int8 ResNet8 is right on 175 of its samples") {
  const std::string images = shared_file("data/cifar10/test_batch.bin"),
                    indices = shared_file("models/mlperf-tiny-resnet8/perf_samples_idxs.npy");
  if (images.empty() || indices.empty()) return skip("MLPerf Tiny int8 accuracy", "the shared images");
  if (!can_convert()) return skip("MLPerf Tiny int8 accuracy", "sparsenet-convert");
  const auto model = convert({std::string(SPARSENET_SOURCE_DIR) + "/models/sources/mlperf-tiny-resnet8-int8.tflite"});
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const Outcome outcome =
      mlperf({saved(*model, "resnet8-int8.snet"), "--score", images, "--indices", indices, "--accuracy-only"});
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(outcome.out == "accuracy: 175 of 200 right, 87.50 %\n");
}

TEST_CASE("mlperf: the benchmark's keyword network gives TensorFlow Lite Micro's results") {
  const std::string file = shared_file("models/mlperf-tiny-kws/kws_ref_model.tflite");
  if (file.empty()) return skip("MLPerf Tiny keyword spotting", "the shared models");
  if (!can_convert()) return skip("MLPerf Tiny keyword spotting", "sparsenet-convert");
  const auto model = convert({file});
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const auto golden = io::read_npy(SPARSENET_SOURCE_DIR "/tests/goldens/data/integers/kws.npy");
  REQUIRE(golden.ok());
  Dialogue device({saved(*model, "kws-ref.snet")});
  device.read();
  uint32_t state = 1;  // as in make_integer_goldens.py
  for (size_t n = 0; n < 20; ++n) {
    Bytes features(kKeywordBytes);
    for (uint8_t& byte : features) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<uint8_t>(state >> 24);
    }
    std::vector<float> expected;
    for (size_t i = 0; i < 12; ++i) expected.push_back((golden->values[n * 12 + i] + 128) / 256);
    CHECK(device.infer(features) == results_line(expected));
  }
}

TEST_CASE("mlperf: the benchmark's autoencoders give the error that `sparsenet run` has") {
  for (const std::string name : {"ad01_int8", "ad01_fp32"}) {
    const std::string file = shared_file("models/mlperf-tiny-ad/" + name + ".tflite");
    if (file.empty()) return skip("MLPerf Tiny anomaly detection", "the shared models");
    if (!can_convert()) return skip("MLPerf Tiny anomaly detection", "sparsenet-convert");
    const auto model = convert({file});
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    const std::string path = saved(*model, name + ".snet");
    Random random(8);
    std::vector<float> window(kFeatures);
    for (float& v : window) v = static_cast<float>(random.real(-70, 0));
    REQUIRE(io::write_npy(scratch("ad-in.npy"), {1, 640}, window.data()).ok());
    const Outcome run = test::sparsenet({"run", path, "-i", scratch("ad-in.npy"), "-o", scratch("ad-out.npy")});
    REQUIRE_MESSAGE(run.code == 0, run.err);
    auto reproduced = io::read_npy(scratch("ad-out.npy"));
    REQUIRE(reproduced.ok());
    const Value& output = model->graph.value(model->graph.outputs[0]);
    for (float& v : reproduced->values) {
      if (output.type != DataType::kInt8) break;
      v = (v - static_cast<float>(output.quantization.zero_points[0])) * output.quantization.scales[0];
    }
    Dialogue device({path});
    device.read();
    CHECK(is_about(only_result(device.infer(bytes_of(window))), mean_square(reproduced->values, window)));
  }
}
