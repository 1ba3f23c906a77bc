// Damaged source files of every format: truncated anywhere, bytes flipped anywhere. Whatever the result, nothing may
// crash, hang or read out of bounds (the sanitizer builds detect the latter), and a failure always has a reason.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "converter/convert.h"
#include "converter/importers.h"
#include "converter/io/file_bytes.h"
#include "converter/io/npy.h"
#include "converter/weights/pickle.h"
#include "converter/weights/readers.h"
#include "support/skip.h"

namespace sparsenet::converter {
namespace {

const std::string kGoldens = std::string(SPARSENET_SOURCE_DIR) + "/tests/goldens/data/";
const std::string kData = std::string(SPARSENET_SOURCE_DIR) + "/tests/unit/converter_data/";

using Bytes = std::vector<uint8_t>;
using Reader = std::function<bool(const Bytes&)>;  // false: refused

uint32_t next_random(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

bool read_onnx(const Bytes& bytes) {
  Report report;
  const Graph graph = import_onnx(bytes.data(), bytes.size(), "", &report);
  if (report.problems.empty()) CHECK(!graph.outputs.empty());
  return report.problems.empty();
}

bool read_tflite(const Bytes& bytes) {
  Report report;
  const Graph graph = import_tflite(bytes.data(), bytes.size(), &report);
  if (report.problems.empty()) CHECK(!graph.outputs.empty());
  return report.problems.empty();
}

template <Result<SourceTensors> (*Read)(const uint8_t*, size_t)>
bool read_tensors(const Bytes& bytes) {
  const Result<SourceTensors> tensors = Read(bytes.data(), bytes.size());
  if (!tensors.ok()) {
    CHECK(!tensors.status().message().empty());
    return false;
  }
  for (const SourceTensor& tensor : tensors->tensors) {
    if (is_float(tensor.type)) CHECK(static_cast<int64_t>(tensor.values.size()) == element_count(tensor.shape));
  }
  return true;
}

void damage(const std::string& path, const Reader& reader, int cases) {
  CAPTURE(path);
  const Result<std::vector<uint8_t>> whole = read_file(path);
  REQUIRE(whole.ok());
  CHECK(reader(*whole));
  uint32_t state = 12345;
  const auto size = static_cast<uint32_t>(whole->size());
  // Allocates exactly the remaining bytes, so that reading one byte too many is detected.
  for (int i = 0; i < cases; ++i) {
    const uint32_t keep = i < 64 ? static_cast<uint32_t>(i) % size : next_random(&state) % size;
    reader(Bytes(whole->begin(), whole->begin() + keep));
  }
  for (int i = 0; i < cases; ++i) {
    Bytes bytes = *whole;
    // Most of the structure is near the beginning or the end of these formats.
    const uint32_t span = i % 3 == 0 ? size : std::min<uint32_t>(size, 2048);
    const int flips = 1 + i % 4;
    for (int f = 0; f < flips; ++f) {
      const uint32_t at = next_random(&state) % span;
      bytes[i % 3 == 1 ? size - 1 - at : at] = static_cast<uint8_t>(next_random(&state));
    }
    reader(bytes);
  }
}

TEST_CASE("damaged ONNX files") {
  const int cases = test::scaled_by_effort(300);
  for (const char* name :
       {"shape-changes-opset11", "pad-inputs", "gemm-forms", "max-pool", "slice-inputs-option-a", "nhwc-input",
        "typed-data-and-old-dropout", "concat-split-opset13", "arithmetic-broadcast", "clip-inputs"}) {
    damage(kGoldens + "graphs/" + name + ".onnx", read_onnx, cases);
  }
  for (const char* name : {"quantized_qdq_uint8", "quantized_qoperator_int8"}) {
    damage(kData + name + ".onnx", read_onnx, cases);
  }
}

TEST_CASE("damaged TensorFlow Lite files") {
  const int cases = test::scaled_by_effort(500);
  for (const char* name : {"convolutions", "flatten_orders", "pools_and_means", "elementwise", "data_movement",
                           "half_weights_and_shape_chain"}) {
    damage(kData + name + ".tflite", read_tflite, cases);
  }
}

TEST_CASE("damaged weight files") {
  const int cases = test::scaled_by_effort(200);
  damage(kGoldens + "nets/abc.pth", read_tensors<read_torch>, cases);
  damage(kGoldens + "nets/densenet.pth", read_tensors<read_torch>, cases);
  damage(kGoldens + "nets/keep-4-0.pth", read_tensors<read_torch>, cases);
  damage(kGoldens + "nets/bc.safetensors", read_tensors<read_safetensors>, cases);
  damage(kGoldens + "nets/abc-none.npz", read_tensors<read_npz>, cases);
  damage(kGoldens + "nets/basic.npz", read_tensors<read_npz>, cases);
}

// The archive's checksums catch most damage before the pickle is read, so the pickle and the array are also damaged
// directly.
TEST_CASE("damaged pickles and arrays") {
  const Result<std::vector<uint8_t>> legacy = read_file(kGoldens + "nets/densenet.pth");
  REQUIRE(legacy.ok());
  const size_t span = std::min<size_t>(legacy->size(), 20000);  // the pickles come first
  uint32_t state = 99;
  for (int i = 0; i < test::scaled_by_effort(1000); ++i) {
    Bytes bytes(legacy->begin(), legacy->begin() + static_cast<std::ptrdiff_t>(span));
    for (int f = 0; f <= i % 3; ++f) bytes[next_random(&state) % span] = static_cast<uint8_t>(next_random(&state));
    size_t at = 0;
    for (int n = 0; n < 5 && at < bytes.size(); ++n) {
      const Result<Pickle> pickle = read_pickle(bytes.data() + at, bytes.size() - at);
      if (!pickle.ok()) break;
      at += pickle->consumed;
    }
    (void)read_torch(bytes.data(), bytes.size());
  }
  const Result<std::vector<uint8_t>> array = read_file(kData + "convolutions.input.npy");
  REQUIRE(array.ok());
  for (int i = 0; i < test::scaled_by_effort(2000); ++i) {
    Bytes bytes = *array;
    for (int f = 0; f <= i % 3; ++f) bytes[next_random(&state) % 128] = static_cast<uint8_t>(next_random(&state));
    const Result<NpyView> view = parse_npy(bytes.data(), bytes.size());
    if (view.ok()) (void)npy_floats(*view);
  }
}

TEST_CASE("files of a wrong format are refused with a reason") {
  const Bytes empty, noise(1000, 0x5a);
  for (const Bytes& bytes : {empty, noise}) {
    CHECK(!read_onnx(bytes));
    CHECK(!read_tflite(bytes));
    CHECK(!read_tensors<read_torch>(bytes));
    CHECK(!read_tensors<read_safetensors>(bytes));
    CHECK(!read_tensors<read_npz>(bytes));
  }
}

}  // namespace
}  // namespace sparsenet::converter
