// Test vectors whose float32 inputs files hold as integers: what is stored, what is read, what devices make of it, and
// damage to it.
#include "format/integer_vectors.h"

#include <doctest/doctest.h>
#include <model_generated.h>
#include <sparsenet/deploy.h>
#include <sparsenet/session.h>

#include <cmath>
#include <limits>

#include "io/session_tensors.h"
#include "model_samples.h"
#include "plan/plan.h"
#include "support/device_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr size_t kReal = 1;  // the input 'real', which a Quantize takes

// graph_of_integers() for one image of this size.
Graph graph_of_size(int64_t height, int64_t width) {
  Graph graph = graph_of_integers();
  for (const ValueId id : graph.inputs) graph.value(id).shape = {1, 2, height, width};
  REQUIRE(graph.infer_shapes().ok());
  return graph;
}

// A model with a plan and `count` vectors, whose real inputs are rounded if `round`.
Model model_with_vectors(int count, bool round, int64_t height = 3, int64_t width = 4) {
  Model model;
  model.graph = graph_of_size(height, width);
  Session session = *Session::create(model.graph, {});
  const Shape shape = session.inputs()[0].shape;
  const auto elements = static_cast<size_t>(element_count(shape));
  for (int n = 0; n < count; ++n) {
    std::vector<uint8_t> pixels(elements);
    std::vector<float> real(elements);
    for (size_t i = 0; i < elements; ++i) {
      pixels[i] = static_cast<uint8_t>(97 * i + 31);
      real[i] = static_cast<float>((37 * i + 11 * static_cast<size_t>(n)) % 700) * -0.05f + 1.f;
    }
    TestVector vector;
    vector.inputs = {io::integer_tensor(DataType::kUInt8, shape, pixels), Tensor::from(shape, real)};
    if (round) REQUIRE(round_inputs(model.graph, &vector).ok());
    for (size_t i = 0; i < 2; ++i) REQUIRE(io::set_input(&session, i, vector.inputs[i]).ok());
    REQUIRE(session.run().ok());
    for (size_t i = 0; i < 2; ++i) vector.outputs.push_back(*io::get_output(session, i));
    model.test_vectors.push_back(std::move(vector));
  }
  auto plan = make_stored_plan(model.graph, "portable-f32");
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  REQUIRE(add_step_checks(model.test_vectors, &*plan).ok());
  model.plans = {std::move(*plan)};
  return model;
}

const schema::Tensor& stored_input(const std::vector<uint8_t>& bytes, uint32_t vector, uint32_t input) {
  return *schema::GetModel(bytes.data())->test_vectors()->Get(vector)->inputs()->Get(input);
}

template <class T, class Value>
void set_field(const T* table, flatbuffers::voffset_t field, Value value) {
  REQUIRE(reinterpret_cast<flatbuffers::Table*>(const_cast<T*>(table))->SetField<Value>(field, value, Value()));
}

std::string problem_of(std::vector<uint8_t> bytes) {
  seal(&bytes);
  return test::load(bytes).status().message();
}

// What sn_verify and sn_verify_steps say.
sn_status verify(std::vector<uint8_t> bytes, bool steps, uint32_t kernels, float* error, std::string* message) {
  repair(bytes);
  Room model(bytes);
  sn_options options{};
  options.struct_size = sizeof options;
  options.kernels = kernels;
  Room memory(needs_of(model, &options).memory_bytes);
  sn_session* session = prepared(model, memory, &options);
  sn_message why{};
  why.struct_size = sizeof why;
  const sn_status status = steps ? sn_verify_steps(session, error, &why) : sn_verify(session, 0, error, &why);
  *message = why.text;
  CHECK(memory.border_is_whole());
  return status;
}

}  // namespace

TEST_CASE("integer vectors: numbers that integers stand for are stored as these, and read as numbers") {
  const Model model = model_with_vectors(2, true);
  const std::vector<uint8_t> bytes = bytes_of(model);
  CHECK(schema::GetModel(bytes.data())->min_runtime() == 5);
  CHECK(stored_input(bytes, 0, 0).type() == static_cast<uint8_t>(DataType::kUInt8));
  CHECK(stored_input(bytes, 0, kReal).type() == static_cast<uint8_t>(DataType::kInt8));
  const Result<Model> read = test::load(bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  for (size_t n = 0; n < 2; ++n) {
    for (size_t i = 0; i < 2; ++i) {
      const Tensor &found = read->test_vectors[n].inputs[i], &expected = model.test_vectors[n].inputs[i];
      CHECK(found.type == expected.type);
      CHECK(found.shape == expected.shape);
      CHECK(std::memcmp(found.data, expected.data, expected.bytes()) == 0);
    }
  }
  CHECK(bytes_of(*read) == bytes);
}

TEST_CASE("integer vectors: other numbers are stored as they are, for older readers too") {
  const Model model = model_with_vectors(1, false);
  std::vector<uint8_t> bytes = bytes_of(model);
  CHECK(schema::GetModel(bytes.data())->min_runtime() == 4);
  CHECK(stored_input(bytes, 0, kReal).type() == static_cast<uint8_t>(DataType::kFloat32));
  // One number apart from the others, or a plan that does not say what integers stand for, as older programs made them.
  Model one = model_with_vectors(1, true);
  const_cast<float*>(one.test_vectors[0].inputs[kReal].f32())[5] = -0.f;
  CHECK(schema::GetModel(bytes_of(one).data())->min_runtime() == 4);
  Model older = model_with_vectors(1, true);
  const_cast<Plan&>(*older.plans[0].plan).inputs[kReal].of_vectors = {};
  bytes = bytes_of(older);
  CHECK(schema::GetModel(bytes.data())->min_runtime() == 4);
  CHECK(test::load(bytes).ok());
}

TEST_CASE("integer vectors: rounding changes nothing that the network computes, and nothing else") {
  const Model rounded = model_with_vectors(1, true), exact = model_with_vectors(1, false);
  const Tensor &a = rounded.test_vectors[0].inputs[kReal], &b = exact.test_vectors[0].inputs[kReal];
  CHECK(std::memcmp(a.data, b.data, a.bytes()) != 0);
  for (size_t i = 0; i < 2; ++i) {
    const Tensor &x = rounded.test_vectors[0].outputs[i], &y = exact.test_vectors[0].outputs[i];
    CHECK(std::memcmp(x.data, y.data, x.bytes()) == 0);
  }
  const Quantization* q = quantization_of_input(rounded.graph, rounded.graph.inputs[kReal]);
  REQUIRE(q);
  CHECK(q->scales == std::vector<float>{0.125f});
  CHECK_FALSE(quantization_of_input(rounded.graph, rounded.graph.inputs[0]));
  const std::vector<int8_t> integers = integers_of(a, *q);
  REQUIRE(integers.size() == 24);
  const Tensor again = numbers_of({DataType::kInt8, a.shape, nullptr, integers.data()}, *q);
  CHECK(std::memcmp(again.data, a.data, a.bytes()) == 0);

  TestVector ends;
  const float infinity = std::numeric_limits<float>::infinity();
  ends.inputs = {rounded.test_vectors[0].inputs[0], Tensor::from({4}, {infinity, -infinity, std::nanf(""), 0.07f})};
  REQUIRE(round_inputs(rounded.graph, &ends).ok());
  const float* found = ends.inputs[kReal].f32();
  CHECK(std::vector<float>(found, found + 4) == std::vector<float>{0.f, -255 * 0.125f, 0.f, 0.f});
  ends.inputs.pop_back();
  CHECK(round_inputs(rounded.graph, &ends).message() == "test vector: expected 2 inputs, found 1");

  const Model plain = tiny_model();
  CHECK_FALSE(quantization_of_input(plain.graph, plain.graph.inputs[0]));
}

TEST_CASE("integer vectors: devices compute with the very numbers") {
  const std::vector<uint8_t> good = bytes_of(model_with_vectors(1, true));
  std::vector<uint8_t> bytes = good;
  float error = 1;
  std::string message;
  for (const uint32_t kernels : {SN_KERNELS_COMPACT, SN_KERNELS_LINKED}) {
    for (const bool steps : {false, true}) {
      CHECK_MESSAGE(verify(bytes, steps, kernels, &error, &message) == SN_OK, message);
      CHECK(error == 0);
    }
  }
  // An integer more is a step more at the outputs.
  const auto structure = [&] {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + bytes.size() - 24, 8);
    return static_cast<size_t>((value + 63) / 64 * 64);
  };
  uint8_t& first = bytes[structure() + static_cast<size_t>(stored_input(bytes, 0, kReal).offset())];
  first = static_cast<uint8_t>(first ^ 0x40);
  CHECK(verify(bytes, true, SN_KERNELS_COMPACT, &error, &message) == SN_DIFFERENT);

  // A plan that does not say what they stand for, or says something that no scale is.
  bytes = good;
  const auto* port = schema::GetModel(bytes.data())->plans()->Get(0)->inputs()->Get(kReal);
  for (const float scale : {0.f, -1.f, std::nanf("")}) {
    set_field(port, schema::PlanPort::VT_SCALE, scale);
    CHECK(verify(bytes, false, SN_KERNELS_COMPACT, &error, &message) == SN_DIFFERENT);
    CHECK(verify(bytes, true, SN_KERNELS_COMPACT, &error, &message) == SN_DIFFERENT);
  }
  // Integers for an input that is of integers itself.
  bytes = good;
  set_field(&stored_input(bytes, 0, 0), schema::Tensor::VT_TYPE, static_cast<uint8_t>(DataType::kInt8));
  for (const bool steps : {false, true}) {
    CHECK(verify(bytes, steps, SN_KERNELS_COMPACT, &error, &message) == SN_INVALID_MODEL);
    CHECK(message == "test vector 0: input 0: expected values of the plan's type in its shape");
  }
}

TEST_CASE("integer vectors: only tables of networks that have such inputs link the code for them") {
  const auto parts = make_device_parts(model_with_vectors(1, false));
  REQUIRE_MESSAGE(parts.ok(), parts.status().message());
  CHECK(parts->kernel_table.find("return &kIntegerParts;") != std::string::npos);
  Model model;
  model.graph = graph_of_integers();
  model.graph.value(model.graph.inputs[kReal]).type = DataType::kInt8;
  model.graph.value(model.graph.inputs[kReal]).quantization = {{0.5f}, {3}, 0};
  auto plan = make_stored_plan(model.graph, "portable-f32");
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans = {*plan};
  const auto others = make_device_parts(model);
  REQUIRE_MESSAGE(others.ok(), others.status().message());
  CHECK(others->kernel_table.find("return &kIntegerPartsOfIntegerInputs;") != std::string::npos);
}

TEST_CASE("integer vectors: what does not fit the graph is refused") {
  const std::vector<uint8_t> good = bytes_of(model_with_vectors(1, true));
  std::vector<uint8_t> bytes = good;
  // The network's other input is not made of numbers.
  set_field(&stored_input(bytes, 0, 0), schema::Tensor::VT_TYPE, static_cast<uint8_t>(DataType::kInt8));
  CHECK(problem_of(bytes) ==
        "test.snet: test vector 0: input 'pixels': expected uint8 [1, 2, 3, 4], found int8 [1, 2, 3, 4]");
  bytes = good;
  set_field(&stored_input(bytes, 0, kReal), schema::Tensor::VT_TYPE, static_cast<uint8_t>(DataType::kUInt8));
  CHECK(problem_of(bytes) ==
        "test.snet: test vector 0: input 'real': expected float32 [1, 2, 3, 4], found uint8 [1, 2, 3, 4]");
  bytes = good;
  const auto* port = schema::GetModel(bytes.data())->plans()->Get(0)->inputs()->Get(kReal);
  set_field(port, schema::PlanPort::VT_SCALE, 0.25f);
  CHECK(problem_of(bytes) ==
        "test.snet: plan 0 for portable-f32: input 1 'real': expected scale 0.125 and zero point 127, as its Quantize "
        "has, found scale 0.25 and zero point 127");
  bytes = good;
  port = schema::GetModel(bytes.data())->plans()->Get(0)->inputs()->Get(kReal);
  set_field(port, schema::PlanPort::VT_ZERO_POINT, int32_t{INT32_MIN});
  CHECK(problem_of(bytes).find("input 1: expected a zero point of its type") != std::string::npos);
}

TEST_CASE("integer vectors: a small file does not become many numbers") {
  constexpr uint32_t kVectors = 16;
  std::vector<uint8_t> bytes = bytes_of([] {
    Model model = model_with_vectors(1, true, 32, 32);
    model.test_vectors.resize(kVectors, model.test_vectors[0]);
    return model;
  }());
  const Result<Model> read = test::load(bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(read->test_vectors[0].inputs[kReal].data == read->test_vectors[kVectors - 1].inputs[kReal].data);
  for (uint32_t i = 0; i < kVectors; ++i) {
    const schema::Tensor& tensor = stored_input(bytes, i, kReal);
    set_field(&tensor, schema::Tensor::VT_OFFSET, tensor.offset() + 64 * i);
  }
  CHECK(problem_of(bytes).find(": the test vectors refer to the same bytes again and again") != std::string::npos);
}

TEST_CASE("integer vectors: inputs that hold the same integers are stored, and read again") {
  Model model;
  Graph& graph = model.graph;
  const Shape shape = {1, 3, 16, 16};
  std::vector<ValueId> integers;
  for (const char* name : {"left", "right"}) {
    const ValueId x = graph.add_input(name, shape);
    integers.push_back(graph.add_node(Op::kQuantize, std::string(name) + "8", {x}));
    graph.value(integers.back()).type = DataType::kInt8;
    graph.value(integers.back()).quantization = {{name == std::string("left") ? 0.5f : 0.25f}, {3}, 0};
  }
  const ValueId sum = graph.add_node(Op::kAdd, "sum", integers);
  const ValueId mean = graph.add_node(Op::kGlobalAveragePool, "mean", {sum});
  for (const ValueId id : {sum, mean}) {
    graph.value(id).type = DataType::kInt8;
    graph.value(id).quantization = {{0.75f}, {0}, 0};
  }
  graph.outputs = {graph.add_node(Op::kDequantize, "out", {mean})};
  REQUIRE(graph.infer_shapes().ok());
  TestVector vector;
  vector.inputs = {Tensor::filled(shape, 5.f), Tensor::filled(shape, 2.5f)};  // 13 of each one's steps
  Session session = *Session::create(graph, {});
  for (size_t i = 0; i < 2; ++i) REQUIRE(io::set_input(&session, i, vector.inputs[i]).ok());
  REQUIRE(session.run().ok());
  vector.outputs.push_back(*io::get_output(session, 0));
  model.test_vectors = {vector, vector};
  const Result<std::vector<uint8_t>> bytes = serialize_model(model);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().message());
  for (uint32_t i = 0; i < 2; ++i) {
    CHECK(stored_input(*bytes, 0, i).type() == static_cast<uint8_t>(DataType::kInt8));
    CHECK(stored_input(*bytes, 0, i).offset() == stored_input(*bytes, 1, i).offset());
  }
  const Result<Model> read = test::load(*bytes);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(read->test_vectors[0].inputs[0].f32()[0] == 5.f);
  CHECK(read->test_vectors[1].inputs[1].f32()[0] == 2.5f);
}
