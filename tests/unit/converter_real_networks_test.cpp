// The shared networks that other people trained: imported, then evaluated in double precision on CIFAR-10 test images
// and compared with the results of their frameworks.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "converter/convert.h"
#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "support/reference.h"
#include "support/skip.h"

namespace sparsenet::converter {
namespace {

constexpr size_t kPixels = 3 * 32 * 32;

struct Images {
  std::vector<test::Array> inputs;  // [1, 3, 32, 32], normalised
  std::vector<int> labels;
};

Images read_images(const std::string& file, size_t count, const std::vector<double>& mean,
                   const std::vector<double>& std_dev) {
  Images out;
  Result<std::vector<uint8_t>> bytes = read_file(file);
  REQUIRE(bytes.ok());
  for (size_t n = 0; n < count; ++n) {
    const uint8_t* record = bytes->data() + n * (kPixels + 1);
    test::Array image(Shape{1, 3, 32, 32});
    for (size_t i = 0; i < kPixels; ++i) {
      // In float32, as the frameworks had them.
      const size_t channel = i / (32 * 32);
      image.data[i] = static_cast<double>(static_cast<float>((record[i + 1] - mean[channel]) / std_dev[channel]));
    }
    out.inputs.push_back(std::move(image));
    out.labels.push_back(record[0]);
  }
  return out;
}

Graph import_graph(const std::string& file, const std::string& architecture) {
  Options options;
  options.input = file;
  options.architecture = architecture;
  Report report;
  Result<Model> model = import_model(options, &report);
  REQUIRE_MESSAGE(model.ok(), (report.problems.empty() ? "" : to_line(report.problems[0])));
  return std::move(model).value().graph;
}

int best(const test::Array& logits) {
  return static_cast<int>(std::max_element(logits.data.begin(), logits.data.end()) - logits.data.begin());
}

TEST_CASE("SparseNet-abc-v0 from PyTorch: .pth and .onnx give PyTorch's logits") {
  const std::string data = test::shared_file("data/cifar10/test_batch.bin");
  const std::string folder = test::shared_file("models/sparsenet-abc-v0-pytorch");
  if (data.empty() || folder.empty()) return test::skip("SparseNet-abc-v0 logits", "the shared models and data");
  const Result<std::vector<uint8_t>> bytes = read_file(folder + "/logits-first-64.npy");
  REQUIRE(bytes.ok());
  const Result<NpyView> view = parse_npy(bytes->data(), bytes->size());
  REQUIRE(view.ok());
  const std::vector<float> logits = npy_floats(*view);
  const size_t count = static_cast<size_t>(test::scaled_by_effort(3));
  const Images images = read_images(data, std::min<size_t>(count, 64), {125.3, 123.0, 113.9}, {63.0, 62.1, 66.7});
  for (const char* architecture : {"sparsenet-abc-v0", ""}) {
    CAPTURE(architecture);
    const bool onnx = architecture[0] == '\0';
    const Graph graph = import_graph(folder + "/sparsenet-abc-v0-cifar10" + (onnx ? ".onnx" : ".pth"), architecture);
    for (size_t n = 0; n < images.inputs.size(); ++n) {
      const auto outputs = test::evaluate(graph, {images.inputs[n]});
      REQUIRE(outputs.ok());
      double largest = 0, difference = 0;
      for (size_t i = 0; i < 10; ++i) {
        const auto expected = static_cast<double>(logits[n * 10 + i]);
        largest = std::max(largest, std::fabs(expected));
        difference = std::max(difference, std::fabs(expected - (*outputs)[0].data[i]));
      }
      CHECK(difference <= 1e-5 * largest);
    }
  }
}

TEST_CASE("ResNet20 from PyTorch's older format and ResNet8 from TensorFlow Lite recognise images") {
  const std::string data = test::shared_file("data/cifar10/test_batch.bin");
  const std::string resnet20 = test::shared_file("models/akamaster-resnet20/resnet20-12fca82f.th");
  const std::string resnet8 = test::shared_file("models/mlperf-tiny-resnet8/pretrainedResnet.tflite");
  if (data.empty() || resnet20.empty() || resnet8.empty())
    return test::skip("ResNets on images", "the shared models and data");
  const size_t count = static_cast<size_t>(test::scaled_by_effort(10));
  const Images normalised = read_images(data, count, {123.675, 116.28, 103.53}, {58.395, 57.12, 57.375});
  const Images raw = read_images(data, count, {0, 0, 0}, {1, 1, 1});
  const Graph first = import_graph(resnet20, "resnet20"), second = import_graph(resnet8, "");
  size_t right_first = 0, right_second = 0;
  for (size_t n = 0; n < count; ++n) {
    const auto a = test::evaluate(first, {normalised.inputs[n]});
    const auto b = test::evaluate(second, {raw.inputs[n]});
    REQUIRE(a.ok());
    REQUIRE(b.ok());
    right_first += best((*a)[0]) == normalised.labels[n];
    right_second += best((*b)[0]) == raw.labels[n];
  }
  // Their error rates are 8 % and 13 %; a wrong import gets one image in ten right.
  CHECK(right_first * 10 >= count * 8);
  CHECK(right_second * 10 >= count * 7);
}

}  // namespace
}  // namespace sparsenet::converter
