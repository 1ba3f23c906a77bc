// MLPerf Tiny's int8 networks give, byte by byte, what TensorFlow Lite Micro's reference kernels give
// (tests/goldens/make_integer_goldens.py). By default for the first 64 inputs of each; SPARSENET_TEST_EFFORT scales
// that, and from 157 on all are compared. The kernels that sessions choose get no fewer, also in an emulator.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <fstream>

#include "data/npy.h"
#include "support/check_session.h"
#include "support/convert.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

using Bytes = std::vector<int8_t>;

// One row for each input.
std::vector<Bytes> golden(const std::string& name, size_t rows, size_t columns) {
  const auto array = io::read_npy(std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/integers/" + name + ".npy");
  REQUIRE_MESSAGE(array.ok(), array.status().message());
  REQUIRE(array->shape == Shape{static_cast<int64_t>(rows), static_cast<int64_t>(columns)});
  std::vector<Bytes> out(rows);
  for (size_t i = 0; i < array->values.size(); ++i) {
    out[i / columns].push_back(static_cast<int8_t>(static_cast<int>(array->values[i])));
  }
  return out;
}

// The upper 8 bits of the states of a linear congruential generator.
std::vector<Bytes> generated(size_t rows, size_t columns) {
  uint32_t state = 1;
  std::vector<Bytes> out(rows, Bytes(columns));
  for (Bytes& row : out) {
    for (int8_t& v : row) {
      state = state * 1664525 + 1013904223;
      v = static_cast<int8_t>(state >> 24);
    }
  }
  return out;
}

std::vector<Bytes> images() {
  constexpr size_t kPixels = 3 * 32 * 32;
  std::ifstream file(shared_file("data/cifar10/test_batch.bin"), std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  REQUIRE(bytes.size() == 10000 * (1 + kPixels));
  std::vector<Bytes> out(10000, Bytes(kPixels));
  for (size_t n = 0; n < out.size(); ++n) {
    for (size_t i = 0; i < kPixels; ++i) {
      const int pixel = static_cast<uint8_t>(bytes[n * (1 + kPixels) + 1 + i]);
      out[n][i] = static_cast<int8_t>(pixel - 128);
    }
  }
  return out;
}

// FNV-1a, little-endian.
Bytes checksum(const Bytes& data) {
  uint64_t h = 0xCBF29CE484222325;
  for (const int8_t v : data) h = (h ^ static_cast<uint8_t>(v)) * 0x100000001B3;
  Bytes out;
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<int8_t>(h >> shift));
  return out;
}

struct Network {
  std::string file;              // among the shared models
  std::string golden;            // name of the golden file
  size_t outputs, golden_bytes;  // for each input; golden_bytes 8: the outputs' checksum
};

int different(const Model& model, const Network& network, Backend backend, const std::vector<Bytes>& inputs,
              const std::vector<Bytes>& expected, size_t count) {
  constexpr size_t kBatch = 4;
  SessionOptions options;
  options.backend = backend;
  options.threads = 2;
  options.batch = kBatch;
  auto session = Session::create(model, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  Bytes in, found(kBatch * network.outputs);
  int wrong = 0;
  for (size_t first = 0; first + kBatch <= count; first += kBatch) {
    in.clear();
    for (size_t i = first; i < first + kBatch; ++i) in.insert(in.end(), inputs[i].begin(), inputs[i].end());
    REQUIRE(session->set_input(0, in.data(), in.size()).ok());
    REQUIRE(session->run().ok());
    REQUIRE(session->get_output(0, found.data(), found.size()).ok());
    for (size_t i = 0; i < kBatch; ++i) {
      const auto from = found.begin() + static_cast<std::ptrdiff_t>(i * network.outputs);
      const Bytes one(from, from + static_cast<std::ptrdiff_t>(network.outputs));
      wrong += (network.golden_bytes == network.outputs ? one : checksum(one)) != expected[first + i];
    }
  }
  return wrong;
}

void check_network(const Network& network, std::vector<Bytes> (*inputs_of)()) {
  const std::string file = shared_file("models/" + network.file);
  if (file.empty()) return skip(network.file, "the shared models and data");
  if (!can_convert()) return skip(network.file, "sparsenet-convert");
  const auto model = convert({file});
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const std::vector<Bytes> inputs = inputs_of();
  const std::vector<Bytes> expected = golden(network.golden, inputs.size(), network.golden_bytes);
  const auto wanted = static_cast<size_t>(scaled_by_effort(64));
  for (const Backend backend : {Backend::kReference, Backend::kPortable, Backend::kAuto}) {
    const size_t least = backend == Backend::kAuto ? 64 : 0;
    const size_t count = std::min(std::max((wanted + 3) / 4 * 4, least), inputs.size());
    const int wrong = different(*model, network, backend, inputs, expected, count);
    CHECK_MESSAGE(wrong == 0, text(backend), ": ", wrong, " of ", count, " outputs differ");
  }
}

}  // namespace

TEST_CASE("MLPerf Tiny's int8 ResNet8 gives TensorFlow Lite Micro's bytes") {
  if (shared_file("data/cifar10/test_batch.bin").empty()) return skip("int8 ResNet8", "CIFAR-10");
  check_network({"mlperf-tiny-resnet8/pretrainedResnet_quant.tflite", "resnet8", 10, 10}, images);
}

TEST_CASE("MLPerf Tiny's int8 keyword network gives TensorFlow Lite Micro's bytes") {
  check_network({"mlperf-tiny-kws/kws_ref_model.tflite", "kws", 12, 12}, [] { return generated(1000, 490); });
}

TEST_CASE("MLPerf Tiny's int8 anomaly network gives TensorFlow Lite Micro's bytes") {
  check_network({"mlperf-tiny-ad/ad01_int8.tflite", "ad", 640, 8}, [] { return generated(1000, 640); });
}
