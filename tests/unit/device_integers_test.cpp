// Stored plans of integers and the C API on them: the bytes that the definitions in graph.h say, from every kernel that
// devices and hosts link, on random graphs; types, self-tests and messages.
#include <doctest/doctest.h>
#include <model_generated.h>
#include <sparsenet/deploy.h>
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "model_samples.h"
#include "plan/plan.h"
#include "support/describe.h"
#include "support/device_helpers.h"
#include "support/integer_oracle.h"
#include "support/random_integers.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

template <class T>
std::vector<T> as(const Array& array) {
  return {array.data.begin(), array.data.end()};
}

sn_tensor tensor_of(const sn_session* session, bool output, uint32_t index) {
  sn_tensor t{};
  t.struct_size = sizeof t;
  REQUIRE((output ? sn_output : sn_input)(session, index, &t) == SN_OK);
  return t;
}

sn_status set(sn_session* session, uint32_t index, const Array& array) {
  if (tensor_of(session, false, index).type == SN_FLOAT32) {
    return sn_set_input(session, index, as<float>(array).data(), array.size());
  }
  const std::vector<int> numbers = as<int>(array);
  const std::vector<uint8_t> bytes(numbers.begin(), numbers.end());  // int8 keeps its bits
  return sn_set_input_bytes(session, index, bytes.data(), bytes.size());
}

std::vector<double> get(const sn_session* session, uint32_t index) {
  const sn_tensor t = tensor_of(session, true, index);
  if (t.type == SN_FLOAT32) {
    std::vector<float> values(t.elements);
    REQUIRE(sn_get_output(session, index, values.data(), values.size()) == SN_OK);
    return {values.begin(), values.end()};
  }
  std::vector<int8_t> bytes(t.elements);
  REQUIRE(sn_get_output_bytes(session, index, bytes.data(), bytes.size()) == SN_OK);
  return {bytes.begin(), bytes.end()};
}

// The first difference, or an empty string.
std::string compare(sn_session* session, const std::vector<Array>& inputs, const Expected& expected) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (set(session, static_cast<uint32_t>(i), inputs[i]) != SN_OK) return "input " + std::to_string(i) + " is refused";
  }
  if (sn_run(session) != SN_OK) return "the run failed";
  for (size_t o = 0; o < expected.outputs.size(); ++o) {
    const std::vector<double> found = get(session, static_cast<uint32_t>(o));
    const Array& wanted = expected.outputs[o];
    if (found.size() != wanted.size()) return "another size";
    for (size_t k = 0; k < found.size(); ++k) {
      if (expected.exact ? found[k] == wanted.data[k] : std::fabs(found[k] - wanted.data[k]) <= 1) continue;
      return "output " + std::to_string(o) + ", element " + std::to_string(k) + ": expected " +
             std::to_string(wanted.data[k]) + ", found " + std::to_string(found[k]);
    }
  }
  return "";
}

void plan_for_device(Model* model, int64_t batch = 1) {
  auto stored = make_stored_plan(model->graph, "portable-f32", batch);
  REQUIRE_MESSAGE(stored.ok(), stored.status().message());
  model->plans.push_back(std::move(*stored));
}

constexpr InputKind kInputKinds[] = {InputKind::kAny, InputKind::kLowest, InputKind::kHighest, InputKind::kEnds};

}  // namespace

TEST_CASE("integers: stored plans give the defined bytes on devices") {
  for (const Generator& generator : integer_generators()) {
    for (int s = 0; s < scaled_by_effort(30); ++s) {
      const auto seed = static_cast<uint64_t>(1000 + s);
      Graph graph = make_graph(generator, seed);
      REQUIRE(graph.infer_shapes().ok());
      const int64_t batch = graph.shape(graph.inputs[0])[0];
      Model source;
      source.graph = graph;
      plan_for_device(&source, batch);
      Room model(bytes_of(source));
      for (const uint32_t kernels : {SN_KERNELS_COMPACT, SN_KERNELS_LINKED}) {
        sn_options options{};
        options.struct_size = sizeof options;
        options.batch = static_cast<uint32_t>(batch);
        options.kernels = kernels;
        Room memory(needs_of(model, &options).memory_bytes);
        sn_session* session = prepared(model, memory, &options);
        for (const InputKind kind : kInputKinds) {
          const std::vector<Array> inputs = integer_inputs(graph, seed, kind);
          const auto expected = evaluate_integers(graph, inputs);
          REQUIRE_MESSAGE(expected.ok(), expected.status().message());
          const std::string problem = compare(session, inputs, *expected);
          if (problem.empty()) continue;
          FAIL_CHECK(label(generator, seed), ", kernels ", kernels, ": ", problem, "\n", describe_graph(graph));
          return;
        }
        CHECK(memory.border_is_whole());
      }
    }
  }
}

TEST_CASE("integers: sessions of the C API tell types, convert real numbers, and refuse the wrong calls") {
  Graph graph;
  const ValueId x = graph.add_input("pixels", {1, 4}, DataType::kUInt8);
  graph.value(x).quantization = {{0.5f}, {100}, 0};
  const ValueId y = graph.add_node(Op::kQuantize, "node", {x}, NoAttrs{}, "same");
  graph.value(y).type = DataType::kInt8;
  graph.value(y).quantization = {{0.5f}, {-28}, 0};
  const ValueId z = graph.add_node(Op::kDequantize, "real", {y}, NoAttrs{}, "real");
  graph.outputs = {y, z};
  Model source;
  source.graph = graph;
  plan_for_device(&source);
  Room model(bytes_of(source));
  Room memory(needs_of(model).memory_bytes);
  sn_session* session = prepared(model, memory);
  const sn_tensor in = tensor_of(session, false, 0), out = tensor_of(session, true, 0),
                  real = tensor_of(session, true, 1);
  CHECK(in.type == SN_UINT8);
  CHECK(in.scale == 0.5f);
  CHECK(in.zero_point == 100);
  CHECK(out.type == SN_INT8);
  CHECK(out.zero_point == -28);
  CHECK(real.type == SN_FLOAT32);
  CHECK(real.scale == 0.f);
  const float values[4] = {0.25f, -1000.f, 1000.f, std::numeric_limits<float>::quiet_NaN()};
  REQUIRE(sn_set_input(session, 0, values, 4) == SN_OK);
  REQUIRE(sn_run(session) == SN_OK);
  float found[4];
  REQUIRE(sn_get_output(session, 0, found, 4) == SN_OK);
  CHECK(std::vector<float>(found, found + 4) == std::vector<float>{0.5f, -50.f, 77.5f, 0.f});
  uint8_t bytes[4] = {0, 1, 128, 255};
  REQUIRE(sn_set_input_bytes(session, 0, bytes, 4) == SN_OK);
  REQUIRE(sn_run(session) == SN_OK);
  int8_t answer[4];
  REQUIRE(sn_get_output_bytes(session, 0, answer, 4) == SN_OK);
  CHECK(std::vector<int>(answer, answer + 4) == std::vector<int>{-128, -127, 0, 127});
  CHECK(sn_get_output_bytes(session, 1, answer, 4) == SN_INVALID_ARGUMENT);  // float32
  CHECK(sn_set_input_bytes(session, 0, bytes, 3) == SN_INVALID_ARGUMENT);
  CHECK(sn_set_input_bytes(session, 0, nullptr, 4) == SN_INVALID_ARGUMENT);
  CHECK(sn_set_input_bytes(session, 1, bytes, 4) == SN_INVALID_ARGUMENT);
  // A caller that knows version 2 of the structure gets no more than that.
  sn_tensor old{};
  old.struct_size = offsetof(sn_tensor, type);
  old.scale = 3;
  REQUIRE(sn_input(session, 0, &old) == SN_OK);
  CHECK(old.elements == 4);
  CHECK(old.scale == 3);
}

TEST_CASE("integers: self-tests compare bytes exactly, and name the first step that differs") {
  Random random(5);
  IntegerMaker g(random);
  const ValueId x = g.input({1, 5, 6, 6});
  const ValueId a = g.layer(x, {7, 5, 3, 3});
  const ValueId b = g.layer(a, {4, 7, 1, 1});
  Model model;
  model.graph = g.finish({b});
  Session session = *Session::create(model.graph, {});
  TestVector vector;
  const auto keep = [](const Shape& shape, const std::vector<int8_t>& values) {
    return integer_constant<int8_t>(shape, values);
  };
  const std::vector<int> numbers = as<int>(integer_inputs(model.graph, 1, InputKind::kAny)[0]);
  const std::vector<int8_t> input(numbers.begin(), numbers.end());
  REQUIRE(session.set_input(0, input.data(), input.size()).ok());
  REQUIRE(session.run().ok());
  std::vector<int8_t> output(static_cast<size_t>(element_count(session.outputs()[0].shape)));
  REQUIRE(session.get_output(0, output.data(), output.size()).ok());
  vector.inputs = {keep({1, 5, 6, 6}, input)};
  vector.outputs = {keep(session.outputs()[0].shape, output)};
  model.test_vectors = {vector};
  plan_for_device(&model);
  REQUIRE(add_step_checks(model.test_vectors, &model.plans[0]).ok());
  const auto verify = [&](bool steps, float* error, sn_message* why) {
    Room file(bytes_of(model));
    Room memory(needs_of(file).memory_bytes);
    sn_session* s = prepared(file, memory);
    return steps ? sn_verify_steps(s, error, why) : sn_verify(s, 0, error, why);
  };
  float error = 1;
  sn_message why{};
  why.struct_size = sizeof why;
  CHECK(verify(false, &error, &why) == SN_OK);
  CHECK(error == 0);
  CHECK(verify(true, &error, &why) == SN_OK);
  CHECK(error == 0);
  output[3] = static_cast<int8_t>(output[3] ^ 1);
  model.test_vectors[0].outputs = {keep(session.outputs()[0].shape, output)};
  CHECK(verify(false, &error, &why) == SN_DIFFERENT);
  CHECK(error > 0);
  model.plans[0].step_checks[1].sum += 1;
  CHECK(verify(true, &error, &why) == SN_DIFFERENT);
  CHECK(std::string(why.text).find("step 1 ('") == 0);
  // Real numbers where the plan has integers.
  model.test_vectors[0].inputs = {Tensor::from({1, 5, 6, 6}, std::vector<float>(180, 1.f))};
  CHECK_FALSE(serialize_model(model).ok());
}

TEST_CASE("integers: plans with wrong factors, bounds, tables or types are refused by name") {
  // A convolution with a residual, a function and a Softmax.
  const auto model_of_steps = [] {
    Random random(3);
    IntegerMaker g(random);
    g.rounding = Rounding::kDouble;
    const ValueId x = g.input({1, 4, 3, 3}, g.quantization(0.1));
    const ValueId y = g.layer(x, {4, 4, 1, 1});
    const ValueId sum = g.node(Op::kAdd, {y, x}, NoAttrs{}, g.quantization(0.5));
    const ValueId z = g.node(Op::kSigmoid, {sum}, NoAttrs{}, {{1.f / 256}, {-128}, 0});
    Model model;
    model.graph = g.finish({g.node(Op::kSoftmax, {z}, AxisAttrs{1}, {{1.f / 256}, {-128}, 0})});
    plan_for_device(&model);
    return model;
  };
  using Change = std::function<void(rt::Step&, rt::QuantParams&)>;
  const auto refused = [&](size_t index, const std::string& part, const Change& change) {
    const Model model = model_of_steps();
    auto& plan = const_cast<Plan&>(*model.plans[0].plan);
    REQUIRE(plan.steps.size() == 3);
    REQUIRE(serialize_model(model).ok());
    rt::Step& step = plan.steps[index];
    change(step, const_cast<rt::QuantParams&>(*step.quant));
    const Status status = serialize_model(model).status();
    CAPTURE(status.message());
    CHECK(status.code() == StatusCode::kInvalidModel);
    CHECK(status.message().find("('" + std::string(step.name) + "')") != std::string::npos);
    CHECK(status.message().find(part) != std::string::npos);
  };
  const std::string numbers = "factors, bounds or tables";
  static const rt::Multiplier kSmall[4] = {{1 << 28, 0}, {1 << 30, 0}, {1 << 30, 0}, {1 << 30, 0}},
                              kFar[4] = {{1 << 30, -32}, {1 << 30, 0}, {1 << 30, 0}, {1 << 30, 0}};
  static const rt::ChannelScale kHuge[4] = {{INT32_MAX, 0, 0}, {1, 0, 0}, {1, 0, 0}, {1, 0, 0}};
  for (const rt::Multiplier* wrong : {kSmall, kFar}) {
    refused(0, numbers, [&](rt::Step&, rt::QuantParams& q) { q.multipliers = wrong; });
    refused(0, numbers,
            [&](rt::Step&, rt::QuantParams& q) { const_cast<rt::QuantParams*>(q.residual)->multipliers = wrong; });
  }
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.multiplier_count = 3; });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.in_zero = 300; });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.out_zero = -129; });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.low = 10, q.high = 9; });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.rounding = static_cast<rt::Rounding>(2); });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.residual = nullptr; });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { const_cast<rt::QuantParams*>(q.residual)->left_shift = 31; });
  refused(0, numbers, [](rt::Step&, rt::QuantParams& q) { q.channels = kHuge; });
  refused(0, "weights of int8", [](rt::Step& s, rt::QuantParams&) { s.conv.weight = s.conv.bias; });
  refused(2, "float32, or how to compute", [](rt::Step& s, rt::QuantParams&) { s.quant = nullptr; });
  refused(1, numbers, [](rt::Step&, rt::QuantParams& q) { q.table = nullptr; });
  refused(1, "types", [](rt::Step& s, rt::QuantParams&) { s.op = rt::StepOp::kLayerNorm; });
  refused(2, numbers, [](rt::Step&, rt::QuantParams& q) {
    static const rt::Multiplier kNegative[1] = {{1 << 30, -1}};
    q.multipliers = kNegative;
  });
  refused(2, numbers, [](rt::Step&, rt::QuantParams& q) { q.least = 1; });  // no element has a probability
}

TEST_CASE("integers: a table without entries is refused on devices") {
  Random random(3);
  IntegerMaker g(random);
  const ValueId x = g.input({1, 4, 3, 3}, g.quantization(0.1));
  Model model;
  model.graph = g.finish({g.node(Op::kSigmoid, {x}, NoAttrs{}, {{1.f / 256}, {-128}, 0})});
  plan_for_device(&model);
  std::vector<uint8_t> bytes = bytes_of(model);
  const auto* steps = schema::GetModel(bytes.data())->plans()->Get(0)->steps();
  REQUIRE(steps->size() == 1);
  const auto* table = steps->Get(0)->quant()->table();
  REQUIRE(table->size() == 256);
  const ptrdiff_t length_at = reinterpret_cast<const uint8_t*>(table) - bytes.data();
  std::memset(bytes.data() + length_at, 0, sizeof(uint32_t));
  repair(bytes);
  Room room(bytes);
  sn_options options{};
  options.struct_size = sizeof options;
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  for (const uint32_t kernels : {SN_KERNELS_COMPACT, SN_KERNELS_LINKED}) {
    options.kernels = kernels;
    CHECK(sn_measure(room.at(), room.bytes(), &options, &needs, nullptr) == SN_INVALID_MODEL);
  }
}

TEST_CASE("integers: plans whose ports differ from the graph's are refused by name") {
  Random random(3);
  IntegerMaker g(random);
  const ValueId x = g.input({1, 4, 3, 3}, {{0.5f}, {3}, 0});
  Model model;
  model.graph = g.finish({g.node(Op::kSigmoid, {x}, NoAttrs{}, {{1.f / 256}, {-128}, 0})});
  plan_for_device(&model);
  const_cast<Plan&>(*model.plans[0].plan).inputs[0].quantization = {{0.25f}, {4}, 0};
  const Status status = serialize_model(model).status();
  CAPTURE(status.message());
  CHECK(status.message().find("expected the graph's scale 0.5 and zero point 3, found scale 0.25 and zero point 4") !=
        std::string::npos);
}

TEST_CASE("integers: damage is refused, or harmless where the checksum is set right") {
  DamageCounts counts;
  for (const Generator& generator : integer_generators()) {
    const std::string name = generator.name;
    if (name != "int8 network" && name != "int8 residual" && name != "int8 softmax") continue;
    Model source;
    source.graph = make_graph(generator, 12);
    REQUIRE(source.graph.infer_shapes().ok());
    const int64_t batch = source.graph.shape(source.graph.inputs[0])[0];
    plan_for_device(&source, batch);
    sn_options compact{}, linked{};
    compact.struct_size = linked.struct_size = sizeof compact;
    compact.batch = linked.batch = static_cast<uint32_t>(batch);
    compact.kernels = SN_KERNELS_COMPACT;
    linked.kernels = SN_KERNELS_LINKED;
    run_damaged(
        bytes_of(source), static_cast<size_t>(3 * 100 / std::max(1, scaled_by_effort(100))), {&compact, &linked},
        [](sn_session* session) { (void)sn_run(session); }, &counts);
  }
  check_counts(counts);
}
