// Networks that others trained, and our own, on the 10,000 CIFAR-10 test images: the number of correct answers is
// known.
#include <doctest/doctest.h>
#include <sparsenet/precision.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "data/npy.h"
#include "support/check_session.h"
#include "support/convert.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

struct Normalisation {
  std::array<float, 3> mean, std_dev;  // of 0..255 values
};
const Normalisation kNone{{0, 0, 0}, {1, 1, 1}};
const Normalisation kUsual{{125.3f, 123.0f, 113.9f}, {63.0f, 62.1f, 66.7f}};
const Normalisation kImageNet{{0.485f * 255, 0.456f * 255, 0.406f * 255}, {0.229f * 255, 0.224f * 255, 0.225f * 255}};

constexpr size_t kPixels = 3 * 32 * 32, kRecord = 1 + kPixels;

std::vector<uint8_t> test_images() {
  std::ifstream file(shared_file("data/cifar10/test_batch.bin"), std::ios::binary);
  std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  REQUIRE(bytes.size() == 10000 * kRecord);
  return bytes;
}

void normalise(const uint8_t* record, const Normalisation& n, float* out) {
  for (size_t i = 0; i < kPixels; ++i) {
    const size_t c = i / 1024;
    out[i] = (static_cast<float>(record[1 + i]) - n.mean[c]) / n.std_dev[c];
  }
}

int count_right(const Graph& graph, const Normalisation& normalisation) {
  constexpr size_t kBatch = 50;
  SessionOptions options;
  options.batch = kBatch;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const std::vector<uint8_t> images = test_images();
  std::vector<float> pixels(kBatch * kPixels), scores(kBatch * 10);
  int right = 0;
  for (size_t first = 0; first < 10000; first += kBatch) {
    for (size_t i = 0; i < kBatch; ++i) normalise(&images[(first + i) * kRecord], normalisation, &pixels[i * kPixels]);
    REQUIRE(session->set_input(0, pixels.data(), pixels.size()).ok());
    REQUIRE(session->run().ok());
    REQUIRE(session->get_output(0, scores.data(), scores.size()).ok());
    for (size_t i = 0; i < kBatch; ++i) {
      const auto begin = scores.begin() + static_cast<std::ptrdiff_t>(10 * i);
      right += std::max_element(begin, begin + 10) - begin == images[(first + i) * kRecord];
    }
  }
  return right;
}

// Empty, and the case is skipped, if something is missing.
std::string source(const std::string& file) {
  const std::string path = shared_file("models/" + file);
  const bool ready = can_convert() && !path.empty() && !shared_file("data/cifar10/test_batch.bin").empty();
  if (!ready) skip(file, can_convert() ? "the shared models and CIFAR-10" : "sparsenet-convert");
  return ready ? path : "";
}

Model converted(const std::vector<std::string>& arguments) {
  auto model = convert(arguments);
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  return std::move(*model);
}

void check_first_logits(const Graph& graph) {
  const std::string path = shared_file("models/sparsenet-abc-v0-pytorch/logits-first-64.npy");
  REQUIRE_FALSE(path.empty());
  const auto logits = io::read_npy(path);
  REQUIRE_MESSAGE(logits.ok(), logits.status().message());
  const std::vector<uint8_t> images = test_images();
  Array input(Shape{64, 3, 32, 32});
  std::vector<float> pixels(kPixels);
  for (size_t i = 0; i < 64; ++i) {
    normalise(&images[i * kRecord], kUsual, pixels.data());
    std::copy(pixels.begin(), pixels.end(), input.data.begin() + static_cast<std::ptrdiff_t>(i * kPixels));
  }
  const std::vector<double> expected(logits->values.begin(), logits->values.end());
  for (Backend backend : cpu_backends()) {
    SessionOptions options;
    options.backend = backend;
    options.batch = 64;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    const auto outputs = run_session(*session, {input});
    REQUIRE_MESSAGE(outputs.ok(), outputs.status().message());
    const double error = relative_error(expected, (*outputs)[0]);
    CHECK_MESSAGE(error <= 1e-4, text(backend), ": error ", error);
  }
}

}  // namespace

TEST_CASE("akamaster's ResNet20 gets 9,173 right") {
  const std::string file = source("akamaster-resnet20/resnet20-12fca82f.th");
  if (file.empty()) return;
  CHECK(count_right(converted({file, "--arch", "resnet20"}).graph, kImageNet) == 9173);
}

TEST_CASE("SparseNet-abc-v0 from its PyTorch weights gets 8,914 right") {
  const std::string file = source("sparsenet-abc-v0-pytorch/sparsenet-abc-v0-cifar10.pth");
  if (file.empty()) return;
  const Model model = converted({file, "--arch", "sparsenet-abc-v0"});
  check_first_logits(model.graph);
  const int right = count_right(model.graph, kUsual);
  CHECK_MESSAGE((right >= 8912 && right <= 8916), right);
}

TEST_CASE("SparseNet-abc-v0 from ONNX gets 8,914 right") {
  const std::string file = source("sparsenet-abc-v0-pytorch/sparsenet-abc-v0-cifar10.onnx");
  if (file.empty()) return;
  const Model model = converted({file});
  check_first_logits(model.graph);
  const int right = count_right(model.graph, kUsual);
  CHECK_MESSAGE((right >= 8912 && right <= 8916), right);
}

TEST_CASE("MLPerf Tiny's ResNet8 from TFLite gets at least 85 % right") {
  const std::string file = source("mlperf-tiny-resnet8/pretrainedResnet.tflite");
  if (file.empty()) return;
  const int right = count_right(converted({file}).graph, kNone);
  MESSAGE(right, " of 10,000");
  CHECK(right >= 8500);
}

TEST_CASE("the engine's own networks get right what their documentation says") {
  if (shared_file("data/cifar10/test_batch.bin").empty()) return skip("models/*.snet", "CIFAR-10");
  const std::pair<const char*, int> networks[] = {{"sparsenet-abc-v0", 9176},
                                                  {"sparsenet-abc-v1", 9416},
                                                  {"sparsenet-abc-v0-int8", 9169},
                                                  {"sparsenet-abc-v0-int8-body", 9167},
                                                  {"sparsenet-abc-v1-int8", 9412}};
  for (const auto& network : networks) {
    const auto& name = network.first;  // no structured bindings: the macros below capture them
    const int documented = network.second;
    const auto model = load_model(std::string(SPARSENET_SOURCE_DIR "/models/") + name + ".snet");
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    Normalisation normalisation{};
    REQUIRE(model->metadata.mean.size() == 3);
    REQUIRE(model->metadata.std_dev.size() == 3);
    std::copy_n(model->metadata.mean.begin(), 3, normalisation.mean.begin());
    std::copy_n(model->metadata.std_dev.begin(), 3, normalisation.std_dev.begin());
    // Other kernels round differently, and a few images are that close to a decision boundary.
    const int right = count_right(model->graph, normalisation);
    const bool integers = std::string(name).find("int8") != std::string::npos;
    const bool exact = integers && model->graph.value(model->graph.nodes.back().inputs[0]).type == DataType::kInt8;
    CHECK_MESSAGE(std::abs(right - documented) <= (exact ? 0 : 3), name, ": ", right);
    if (model->graph.parameter_count() > 100000 || integers) continue;
    Graph half = model->graph;
    REQUIRE(parameters_to_float16(&half).ok());
    const int rounded = count_right(half, normalisation);
    CHECK_MESSAGE(std::abs(rounded - right) <= 3, name, " with float16 weights: ", rounded);
  }
}
