// What the converter adds to a model of integers: test vectors of integers; and what it refuses to add.
#include <doctest/doctest.h>
#include <sparsenet/model.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include "converter/convert.h"
#include "data/npy.h"
#include "io/session_tensors.h"
#include "model_samples.h"
#include "plan/plan.h"
#include "support/scratch_folder.h"

namespace sparsenet::converter {
namespace {

class Conversion {
 public:
  Conversion() {
    Model model;
    model.graph = test::graph_of_integers();
    REQUIRE(save_model(model, folder.file("in.snet")).ok());
  }
  // The problems, a line each; empty if there is a file.
  std::string run(const std::function<void(Options&)>& change) const {
    Options options;
    options.input = folder.file("in.snet");
    options.output = folder.file("out.snet");
    change(options);
    Report report;
    if (convert(options, &report).ok()) return "";
    std::string all;
    for (const Problem& problem : report.problems) all += to_line(problem) + "\n";
    return all;
  }
  Model output() const {
    Result<Model> model = load_model(folder.file("out.snet"));
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    return std::move(*model);
  }
  std::string npy(const std::string& name, const Tensor& tensor) const {
    const std::string file = folder.file(name);
    REQUIRE((tensor.type == DataType::kFloat32
                 ? io::write_npy(file, tensor.shape, tensor.f32())
                 : io::write_npy(file, tensor.shape, tensor.type, static_cast<const uint8_t*>(tensor.data)))
                .ok());
    return file;
  }

  test::ScratchFolder folder;
};

bool same(const Tensor& a, const Tensor& b) {
  return a.type == b.type && a.shape == b.shape && std::memcmp(a.data, b.data, a.bytes()) == 0;
}

TEST_CASE("converter integers: test vectors hold each input's and output's own elements") {
  const Conversion conversion;
  REQUIRE(conversion.run([](Options& o) { o.test_vectors = 2; }) == "");
  const Model model = conversion.output();
  REQUIRE(model.test_vectors.size() == 2);
  auto session = Session::create(model, {});
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  for (const TestVector& vector : model.test_vectors) {
    CHECK(vector.inputs[0].type == DataType::kUInt8);
    CHECK(vector.inputs[1].type == DataType::kFloat32);
    CHECK(vector.outputs[0].type == DataType::kFloat32);
    CHECK(vector.outputs[1].type == DataType::kInt8);
    for (size_t i = 0; i < 2; ++i) REQUIRE(io::set_input(&*session, i, vector.inputs[i]).ok());
    REQUIRE(session->run().ok());
    for (size_t i = 0; i < 2; ++i) CHECK(same(*io::get_output(*session, i), vector.outputs[i]));
  }
  CHECK_FALSE(same(model.test_vectors[0].inputs[0], model.test_vectors[1].inputs[0]));
  CHECK(io::set_input(&*session, 0, model.test_vectors[0].inputs[1]).message() ==
        "input 'pixels': expected elements of its own type, found float32");
}

TEST_CASE("converter integers: --check compares integers as they are") {
  const Conversion conversion;
  REQUIRE(conversion.run([](Options& o) { o.test_vectors = 1; }) == "");
  const TestVector vector = conversion.output().test_vectors[0];
  // The graph of a file for one image: --check wants that.
  Model model;
  model.graph = test::graph_of_integers();
  REQUIRE(model.graph.set_batch(1).ok());
  REQUIRE(save_model(model, conversion.folder.file("in.snet")).ok());
  const std::string inputs =
      conversion.npy("a.npy", vector.inputs[0]) + "," + conversion.npy("b.npy", vector.inputs[1]) + ",";
  const std::string real = conversion.npy("c.npy", vector.outputs[0]) + ",";
  const std::string bytes = conversion.npy("d.npy", vector.outputs[1]);
  REQUIRE(conversion.run([&](Options& o) { o.check = {inputs + real + bytes}; }) == "");
  const TestVector stored = conversion.output().test_vectors[0];
  for (size_t i = 0; i < 2; ++i) {
    CHECK(same(stored.inputs[i], vector.inputs[i]));
    CHECK(same(stored.outputs[i], vector.outputs[i]));
  }
  // One step is more than the tolerance.
  const auto* found = static_cast<const uint8_t*>(vector.outputs[1].data);
  std::vector<uint8_t> other(found, found + vector.outputs[1].bytes());
  other[0] = static_cast<uint8_t>(other[0] == 0x7F ? 0x7E : other[0] + 1);
  const std::string wrong = conversion.npy("e.npy", io::integer_tensor(DataType::kInt8, {1, 3, 3, 4}, other));
  CHECK(conversion.run([&](Options& o) { o.check = {inputs + real + wrong}; }).find("more than the tolerance") !=
        std::string::npos);
  const std::string floats = conversion.npy("f.npy", test::ramp({1, 3, 3, 4}));
  const std::string problem = conversion.run([&](Options& o) { o.check = {inputs + real + floats}; });
  CHECK(problem.find("expected elements of int8, found float32") != std::string::npos);
}

TEST_CASE("converter integers: plans of integers are stored, with what a board needs") {
  const Conversion conversion;
  REQUIRE(conversion.run([&](Options& o) {
    o.test_vectors = 1;
    o.c_array = conversion.folder.file("c");
    o.select_ops = conversion.folder.file("c");
  }) == "");
  const Model output = conversion.output();
  REQUIRE(output.plans.size() == 1);
  CHECK(output.plans[0].step_checks.size() == output.plans[0].plan->steps.size());
  std::ifstream file(conversion.folder.file("c/sparsenet_kernels.cpp"));
  const std::string table{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  CHECK(table.find("&compact::kIntegerConv") != std::string::npos);
  CHECK(table.find("return &kIntegerParts;") != std::string::npos);
  CHECK(table.find("check_attention") == std::string::npos);
}

TEST_CASE(
    "converter integers: training of a last layer of integers and half precision are refused, and what to do is said") {
  const Conversion conversion;
  CHECK(
      conversion.run([](Options& o) { o.training_plan = true; }) ==
      "--training-plan: Conv 'conv' is the last layer and computes with integers; a device trains in float32, from the "
      "last layer to the output: `sparsenet quantize --keep-float conv` keeps this layer so\n");
  CHECK(conversion.run([](Options& o) { o.precision = Precision::kFloat16; }) ==
        "--precision f16: weight 'weight' is int8, which is smaller: leave the option out\n");
  CHECK(conversion.folder.names() == std::vector<std::string>{"in.snet"});
}

}  // namespace
}  // namespace sparsenet::converter
