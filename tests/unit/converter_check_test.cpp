// --check: a converted network against outputs of the framework that it comes from.
#include <doctest/doctest.h>
#include <sparsenet/session.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>

#include "converter/check_model.h"
#include "converter/convert.h"

namespace sparsenet::converter {
namespace {

namespace fs = std::filesystem;

// A file of this process, removed when the object is destroyed.
class NpyFile {
 public:
  NpyFile(const std::string& name, const Shape& shape, const std::vector<float>& values)
      : path_(fs::temp_directory_path() / ("sparsenet-check-" + std::to_string(getpid()) + "-" + name + ".npy")) {
    std::string dims;
    for (int64_t size : shape) dims += std::to_string(size) + ",";
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims + "), }";
    header.resize(117, ' ');
    header += '\n';
    std::ofstream file(path_, std::ios::binary);
    file.write("\x93NUMPY\x01\x00", 8);
    file.put(static_cast<char>(header.size())).put('\0');
    file << header;
    file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 4));
  }
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;
  ~NpyFile() { std::remove(path_.c_str()); }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

// y[o] = mean of the image's channel o times a mask that makes every element count differently.
Model channel_sums() {
  Model model;
  Graph& graph = model.graph;
  const ValueId x = graph.add_input("x", {1, 2, 2, 3});
  const ValueId mask = graph.add_constant("mask", Tensor::from({2, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  const ValueId masked = graph.add_node(Op::kMul, "masked", {x, mask});
  const ValueId mean = graph.add_node(Op::kGlobalAveragePool, "mean", {masked});
  graph.outputs = {graph.add_node(Op::kReshape, "y", {mean}, ReshapeAttrs{{0, -1}}, "y")};
  REQUIRE(graph.infer_shapes().ok());
  return model;
}

const std::vector<float> kImages{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0};
const std::vector<float> kOutputs{1.f / 6, 2, 2.f / 6, 7};

Status check(const std::string& list, Model* model, Report* report, bool channels_last = false) {
  return check_outputs({{list}, 1e-4f, channels_last}, model, report);
}

TEST_CASE("--check: equal outputs become the test vectors") {
  const NpyFile in("in", {2, 2, 2, 3}, kImages), out("out", {2, 2}, kOutputs);
  Model model = channel_sums();
  model.test_vectors.resize(3);  // from before
  Report report;
  const Status status = check(in.path() + "," + out.path(), &model, &report);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(report.check.images == 2);
  CHECK(report.check.stored == 2);
  CHECK(report.check.largest_error < 1e-6);
  REQUIRE(model.test_vectors.size() == 2);
  CHECK(model.test_vectors[1].inputs[0].shape == Shape{1, 2, 2, 3});
  CHECK(model.test_vectors[1].inputs[0].f32()[6] == 6.f);
  CHECK(model.test_vectors[1].outputs[0].f32()[1] == 7.f);  // the user's values, not the engine's
  CHECK(model.test_vectors[1].tolerance == 1e-4f);
}

TEST_CASE("--check: a difference names the image and how large it is, and changes nothing") {
  std::vector<float> wrong = kOutputs;
  wrong[2] += 0.07f;  // a hundredth of 7
  const NpyFile in("in", {2, 2, 2, 3}, kImages), out("out", {2, 2}, wrong);
  Model model = channel_sums();
  Report report;
  const Status status = check(in.path() + "," + out.path(), &model, &report);
  REQUIRE(!status.ok());
  CHECK(status.message().find("--check: " + out.path() + ": image 1: output 'y' differs by 1.0e-02") == 0);
  CHECK(status.message().find("the tolerance of 1.0e-04") != std::string::npos);
  CHECK(report.check.largest_error == doctest::Approx(0.01));
  CHECK(model.test_vectors.empty());
}

TEST_CASE("--check: images of networks that keep channels last") {
  std::vector<float> last(kImages.size());
  for (size_t n = 0; n < 2; ++n) {
    for (size_t c = 0; c < 2; ++c) {
      for (size_t p = 0; p < 6; ++p) last[(n * 6 + p) * 2 + c] = kImages[(n * 2 + c) * 6 + p];
    }
  }
  const NpyFile in("in", {2, 2, 3, 2}, last), out("out", {2, 2}, kOutputs);
  for (const bool by_format : {true, false}) {  // either the format says it, or the array's shape
    Model model = channel_sums();
    Report report;
    const Status status = check(in.path() + "," + out.path(), &model, &report, by_format);
    CHECK_MESSAGE(status.ok(), status.message());
    REQUIRE(model.test_vectors.size() == 2);
    CHECK(model.test_vectors[0].inputs[0].f32()[11] == 1.f);
  }
}

TEST_CASE("--check: what cannot be compared is told with what was expected") {
  const NpyFile in("in", {2, 2, 2, 3}, kImages), out("out", {2, 2}, kOutputs), one("one", {1, 2}, {1, 2});
  const NpyFile flat("flat", {2, 12}, kImages), nan("nan", {2, 2}, {1, 2, std::numeric_limits<float>::quiet_NaN(), 3});
  const struct {
    std::string list, message;
  } kCases[] = {
      {in.path(), "expected 2 files, separated by commas (1 for inputs, then 1 for outputs), found 1"},
      {in.path() + "," + one.path(), "output 'y': expected 2 images as in " + in.path() + ", found 1"},
      {flat.path() + "," + out.path(), "input 'x': expected [images, 2, 2, 3], found [2, 12]"},
      {in.path() + "," + nan.path(), "element 2 is not a finite number"},
      {in.path() + ",/no/such/file.npy", "/no/such/file.npy"},
  };
  for (const auto& row : kCases) {
    Model model = channel_sums();
    Report report;
    const Status status = check(row.list, &model, &report);
    REQUIRE(!status.ok());
    CHECK_MESSAGE(status.message().find(row.message) != std::string::npos, status.message());
    CHECK(model.test_vectors.empty());
  }
}

TEST_CASE("--check: of many images the first are stored, all are compared") {
  std::vector<float> images, outputs;
  for (size_t i = 0; i < 20; ++i) {
    images.insert(images.end(), kImages.begin(), kImages.begin() + 12);
    outputs.insert(outputs.end(), kOutputs.begin(), kOutputs.begin() + 2);
  }
  const NpyFile in("in", {20, 2, 2, 3}, images);
  Model model = channel_sums();
  Report report;
  {
    const NpyFile out("out", {20, 2}, outputs);
    CHECK(check(in.path() + "," + out.path(), &model, &report).ok());
    CHECK(report.check.images == 20);
    CHECK(model.test_vectors.size() == kMostStored);
  }
  outputs[39] = -1.f;
  const NpyFile out("out", {20, 2}, outputs);
  CHECK(check(in.path() + "," + out.path(), &model, &report).message().find("image 19") != std::string::npos);
}

}  // namespace
}  // namespace sparsenet::converter
