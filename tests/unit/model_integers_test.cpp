// Model files of networks that compute with integers: version 4, what it brought, and damage to it.
#include <doctest/doctest.h>
#include <model_generated.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>

#include "format/model_format.h"
#include "format/plan_format.h"
#include "model_samples.h"
#include "support/random.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

Model model_of_integers() {
  Model model;
  model.graph = graph_of_integers();
  return model;
}

uint32_t oldest_reader(const Model& model) {
  return schema::GetModel(bytes_of(model).data())->min_runtime();
}

// The outputs, as bytes, for inputs that count up.
std::vector<uint8_t> outputs_of(const Model& model) {
  SessionOptions options;
  options.threads = 1;
  options.batch = 2;
  options.max_memory_bytes = 1 << 20;  // damaged shapes may be large
  auto session = Session::create(model, options);
  if (!session.ok()) return {};
  for (size_t i = 0; i < session->inputs().size(); ++i) {
    std::vector<float> values(static_cast<size_t>(element_count(session->inputs()[i].shape)));
    for (size_t k = 0; k < values.size(); ++k) values[k] = static_cast<float>(k) - 20.f;
    CHECK(session->set_input(i, values.data(), values.size()).ok());
  }
  CHECK(session->run().ok());
  std::vector<uint8_t> all;
  for (size_t i = 0; i < session->outputs().size(); ++i) {
    std::vector<float> values(static_cast<size_t>(element_count(session->outputs()[i].shape)));
    CHECK(session->get_output(i, values.data(), values.size()).ok());
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    all.insert(all.end(), bytes, bytes + values.size() * sizeof(float));
  }
  return all;
}

}  // namespace

TEST_CASE("integers: a model is read back as it was written, and computes the same") {
  const Model model = model_of_integers();
  const std::vector<uint8_t> bytes = bytes_of(model);
  const Result<Model> read = load(bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(bytes_of(*read) == bytes);
  for (size_t i = 0; i < model.graph.nodes.size(); ++i) {
    CHECK(read->graph.nodes[i].rounding == model.graph.nodes[i].rounding);
  }
  for (size_t i = 0; i < model.graph.values.size(); ++i) {
    CAPTURE(model.graph.values[i].name);
    CHECK(read->graph.values[i].type == model.graph.values[i].type);
    CHECK(read->graph.values[i].quantization.scales == model.graph.values[i].quantization.scales);
    CHECK(read->graph.values[i].quantization.zero_points == model.graph.values[i].quantization.zero_points);
  }
  const std::vector<uint8_t> outputs = outputs_of(model);
  CHECK(outputs.size() == 2 * 2 * 3 * 3 * 4 * sizeof(float));
  CHECK(outputs_of(*read) == outputs);
}

TEST_CASE("integers: test vectors hold elements of the inputs' and outputs' own types") {
  static const uint8_t kPixels[24] = {0, 255, 128};
  static const int8_t kIntegers[36] = {-128, 127, 5};
  Model model = model_of_integers();
  TestVector vector;
  vector.inputs = {Tensor{DataType::kUInt8, {1, 2, 3, 4}, nullptr, kPixels}, ramp({1, 2, 3, 4})};
  vector.outputs = {ramp({1, 3, 3, 4}), Tensor{DataType::kInt8, {1, 3, 3, 4}, nullptr, kIntegers}};
  model.test_vectors = {vector};
  const std::vector<uint8_t> bytes = bytes_of(model);
  const Result<Model> read = load(bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  const TestVector& found = read->test_vectors[0];
  CHECK(found.inputs[0].type == DataType::kUInt8);
  CHECK(std::memcmp(found.inputs[0].data, kPixels, sizeof kPixels) == 0);
  CHECK(found.outputs[1].type == DataType::kInt8);
  CHECK(std::memcmp(found.outputs[1].data, kIntegers, sizeof kIntegers) == 0);
  model.test_vectors[0].inputs[0] = ramp({1, 2, 3, 4});
  CHECK(serialize_model(model).status().message() ==
        "test vector 0: input 'pixels': expected uint8 [1, 2, 3, 4], found float32 [1, 2, 3, 4]");
}

TEST_CASE("integers: older runtimes refuse files of nodes that compute with integers, and no others") {
  CHECK(oldest_reader(model_of_integers()) == 4);
  CHECK(oldest_reader(tiny_model()) == 1);
  Model constants = tiny_model();  // nothing reads them
  static const int8_t kIntegers[3] = {1, 2, 3};
  const ValueId q = constants.graph.add_constant("q", Tensor{DataType::kInt8, {3}, nullptr, kIntegers});
  constants.graph.value(q).quantization = {{0.5f}, {0}, 0};
  CHECK(oldest_reader(constants) == 2);
  Model rounding = tiny_model();
  rounding.graph.nodes[0].rounding = Rounding::kDouble;
  CHECK(oldest_reader(rounding) == 4);
}

TEST_CASE("integers: an unknown rounding is refused, and another one is another graph") {
  std::vector<uint8_t> bytes = bytes_of(model_of_integers());
  const auto* nodes = schema::GetModel(bytes.data())->graph()->nodes();
  REQUIRE(nodes->Get(0)->rounding() == 1);
  auto* node = reinterpret_cast<flatbuffers::Table*>(const_cast<schema::Node*>(nodes->Get(0)));
  REQUIRE(node->SetField<uint8_t>(schema::Node::VT_ROUNDING, 2, 0));
  seal(&bytes);
  const Status status = load(bytes).status();
  CHECK(status.code() == StatusCode::kInvalidModel);
  CHECK(status.message() == "test.snet: node 'from uint8': unknown rounding 2");

  Graph other = graph_of_integers();
  other.nodes[0].rounding = Rounding::kSingle;
  CHECK(graph_identity(other) != graph_identity(graph_of_integers()));
  other = graph_of_integers();
  other.value(other.nodes[2].outputs[0]).quantization.zero_points[0] = 5;
  CHECK(graph_identity(other) != graph_identity(graph_of_integers()));
}

TEST_CASE("integers: damage under a fitting checksum never crashes, nor does running what is still meaningful") {
  const std::vector<uint8_t> bytes = bytes_of(model_of_integers());
  uint64_t structure = 0;
  std::memcpy(&structure, bytes.data() + bytes.size() - 24, 8);
  Random random(31);
  int ran = 0, refused = 0;
  for (int round = std::max(500, scaled_by_effort(6000)); round > 0; --round) {
    std::vector<uint8_t> damaged = bytes;
    for (int i = random.integer(1, 3); i > 0; --i) {
      const bool data = random.chance(0.2);  // weights and biases
      const auto end = data ? damaged.size() - kFooterBytes : static_cast<size_t>(structure);
      const size_t at = (data ? static_cast<size_t>(structure) : 0) + random.index(end - (data ? structure : 0));
      const uint8_t choices[] = {0, 1, 2, 0x7F, 0x80, 0xFF, static_cast<uint8_t>(random.next())};
      damaged[at] = choices[random.index(7)];
    }
    seal(&damaged);
    Result<Model> read = load(damaged);
    if (!read.ok()) {
      CHECK_FALSE(read.status().message().empty());
      ++refused;
    } else {
      ran += !outputs_of(*read).empty();
    }
  }
  CHECK(ran > 50);
  CHECK(refused > 50);
}
