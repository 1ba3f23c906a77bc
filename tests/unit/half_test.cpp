// Half-precision weights: conversions, which tensors are rounded, and that all kernels, plans, files, devices and
// trainings that see float16 constants compute what their float32 values say.
#include <doctest/doctest.h>
#include <model_generated.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>
#include <sparsenet/half.h>
#include <sparsenet/precision.h>
#include <sparsenet/session.h>
#include <sparsenet/sparsenet.h>
#include <sparsenet/trainer.h>

#include <cmath>
#include <functional>
#include <limits>

#include "format/stored/stored_plan.h"
#include "kernels/isa.h"
#include "model_samples.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "support/check_session.h"
#include "support/device_helpers.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Graph network(const std::string& text) {
  auto graph = build_graph(*parse_architecture(text), 7);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

// Parameters as --precision f16 rounds them, or every constant.
void round_constants(Graph* graph, bool all) {
  if (!all) {
    REQUIRE(parameters_to_float16(graph).ok());
    return;
  }
  for (Value& value : graph->values) {
    if (value.is_constant && to_float16(value.constant, &value.constant)) value.type = DataType::kFloat16;
  }
}

size_t halves(const Graph& graph) {
  size_t count = 0;
  for (const Value& value : graph.values) count += value.is_constant && value.type == DataType::kFloat16 ? 1 : 0;
  return count;
}

// What the rounded network computes, in double precision: after the passes, since what they fold is rounded too.
std::vector<Array> evaluate_folded(const Graph& graph, const std::vector<Array>& inputs, bool folded) {
  Graph copy = graph;
  if (folded) REQUIRE(run_passes(&copy, PassLevel::kAll).ok());
  REQUIRE(constants_to_float32(&copy).ok());
  auto expected = evaluate(copy, inputs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  return std::move(*expected);
}

Model with_plans(Graph graph, bool training) {
  Model model;
  model.graph = std::move(graph);
  TestVector vector;
  const Shape in = model.graph.shape(model.graph.inputs[0]), out = model.graph.shape(model.graph.outputs[0]);
  const std::vector<Array> inputs = random_inputs(model.graph, 3);
  vector.inputs = {Tensor::from(in, {inputs[0].data.begin(), inputs[0].data.end()})};
  auto session = Session::create(model.graph, {});
  REQUIRE(session.ok());
  const auto outputs = run_session(*session, inputs);
  REQUIRE(outputs.ok());
  vector.outputs = {Tensor::from(out, (*outputs)[0])};
  model.test_vectors = {vector, vector};
  auto plan = make_stored_plan(model.graph, "portable-f32", 1);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  REQUIRE(add_step_checks(model.test_vectors, &*plan).ok());
  model.plans.push_back(std::move(*plan));
  if (training) {
    auto trains = make_training_plan(model, "portable-f32");
    REQUIRE_MESSAGE(trains.ok(), trains.status().message());
    REQUIRE(add_step_checks(model.test_vectors, &*trains).ok());
    model.plans.push_back(std::move(*trains));
  }
  return model;
}

std::vector<float> outputs_of(const Model& model, const std::vector<Array>& inputs, Backend backend) {
  SessionOptions options;
  options.backend = backend;
  options.threads = 1;
  auto session = Session::create(model, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const auto outputs = run_session(*session, inputs);
  REQUIRE(outputs.ok());
  return (*outputs)[0];
}

}  // namespace

TEST_CASE("every float16 number becomes a float32 and back") {
  int wrong = 0;
  for (uint32_t half = 0; half <= 0xffff; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    const uint32_t exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
    const float value = half_to_float(bits);
    if (exponent == 0x1f && fraction != 0) {
      wrong += !std::isnan(value) || !std::isnan(half_to_float(float_to_half(value)));
      continue;
    }
    double expected = exponent == 0x1f ? static_cast<double>(kInfinity)
                      : exponent == 0  ? std::ldexp(fraction, -24)
                                       : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
    if (half & 0x8000) expected = -expected;
    wrong += static_cast<double>(value) != expected || std::signbit(value) != ((half & 0x8000) != 0);
    wrong += float_to_half(value) != bits;
  }
  CHECK(wrong == 0);
}

TEST_CASE("float32 numbers round to the nearest float16, ties to even") {
  int wrong = 0;
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = half_to_float(bits), high = half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact
    const uint16_t even = bits % 2 == 0 ? bits : static_cast<uint16_t>(bits + 1);
    wrong += float_to_half(middle) != even || float_to_half(-middle) != (even | 0x8000);
    wrong += float_to_half(std::nextafter(middle, 0.f)) != bits;
    wrong += float_to_half(std::nextafter(middle, kInfinity)) != bits + 1;
  }
  CHECK(wrong == 0);
  CHECK(float_to_half(65519.99f) == 0x7bff);
  CHECK(float_to_half(65520.f) == 0x7c00);
  CHECK(float_to_half(-kInfinity) == 0xfc00);
  CHECK(float_to_half(std::numeric_limits<float>::denorm_min()) == 0);
}

TEST_CASE("weights are rounded; statistics and what is out of range stay float32; subnormal numbers are kept") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 2, 4, 4});
  const ValueId w = g.add_constant("w", Tensor::from({2, 2, 1, 1}, {1e-7f, 0.1f, -3.f, 65519.f}));
  const ValueId bias = g.add_constant("bias", Tensor::from({2}, {65520.f, 1.f}));
  const ValueId both = g.add_constant("scale and mean", Tensor::from({2}, {0.1f, 0.2f}));
  const ValueId shift = g.add_constant("shift", Tensor::from({2}, {0.1f, -0.f}));
  const ValueId variance = g.add_constant("variance", Tensor::from({2}, {0.3f, 0.4f}));
  const ValueId factor = g.add_constant("factor", Tensor::from({1}, {0.1f}));
  ValueId y = g.add_node(Op::kConv, "conv", {x, w, bias}, ConvAttrs{});
  y = g.add_node(Op::kBatchNorm, "bn", {y, both, shift, both, variance}, BatchNormAttrs{});
  g.outputs = {g.add_node(Op::kMul, "mul", {y, factor})};
  REQUIRE(g.infer_shapes().ok());
  const auto report = parameters_to_float16(&g);
  REQUIRE(report.ok());
  CHECK(report->rounded == 2);
  CHECK(report->statistics == 2);
  CHECK(report->out_of_range == std::vector<std::string>{"bias"});
  CHECK(g.value(w).type == DataType::kFloat16);
  CHECK(g.value(shift).type == DataType::kFloat16);
  for (const ValueId id : {bias, both, variance, factor}) CHECK(g.value(id).type == DataType::kFloat32);
  CHECK(to_float32(g.value(w).constant) == std::vector<float>{std::ldexp(2.f, -24), 0.0999755859375f, -3.f, 65504.f});
  CHECK(std::signbit(to_float32(g.value(shift).constant)[1]));
  CHECK(parameters_to_float16(&g)->rounded == 0);
  const auto inputs = random_inputs(g, 1);
  for (const Backend backend : cpu_backends()) {
    CheckOptions options;
    options.backend = backend;
    CHECK(check_session(g, inputs, evaluate_folded(g, inputs, true), options) == "");
  }
  REQUIRE(constants_to_float32(&g).ok());
  CHECK(halves(g) == 0);
  CHECK(g.value(w).constant.f32()[0] == std::ldexp(2.f, -24));
}

TEST_CASE("random graphs with float16 constants equal the reference on every backend") {
  size_t checked = 0;
  for (const auto* list : {&layer_generators(), &data_generators(), &general_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      const int seeds = scaled_by_effort(6);
      for (int seed = 0; seed < seeds; ++seed) {
        Graph graph = make_graph(generator, static_cast<uint64_t>(seed));
        if (!graph.infer_shapes().ok()) continue;
        round_constants(&graph, seed % 2 == 0);
        if (halves(graph) == 0) continue;
        const auto inputs = random_inputs(graph, static_cast<uint64_t>(seed));
        CheckOptions options;
        options.optimize = seed % 3 != 0;
        options.may_refuse = generator.may_refuse;
        Graph copy = graph;
        if (!run_passes(&copy, options.optimize ? PassLevel::kAll : PassLevel::kRequired).ok()) continue;
        REQUIRE(constants_to_float32(&copy).ok());
        const auto expected = evaluate(copy, inputs);
        REQUIRE_MESSAGE(expected.ok(), expected.status().message());
        for (const Backend backend : cpu_backends()) {
          options.backend = backend;
          options.threads = seed % 2 + 1;
          const std::string what = check_session(graph, inputs, *expected, options);
          CHECK_MESSAGE(what == "", label(generator, static_cast<uint64_t>(seed)), ", ", text(backend), ": ", what);
        }
        ++checked;
      }
    }
  }
  CHECK(checked >= static_cast<size_t>(scaled_by_effort(150)));
}

TEST_CASE("a stored plan gives the same bits as planning, and its constants take half") {
  for (const std::string text :
       {"sparsenet-abc-v0", "densenet-bc-40-12", "resnet20", "sparsenet-abc:blocks=2-2-3,k=5,path=3,attention=se"}) {
    CAPTURE(text);
    Graph graph = network(text);
    const Model wide = with_plans(graph, false);
    round_constants(&graph, false);
    Model model = with_plans(graph, false);
    const std::vector<uint8_t> bytes = bytes_of(model);
    if (text == "sparsenet-abc-v0") {
      CHECK(static_cast<double>(bytes.size()) <= 0.63 * static_cast<double>(bytes_of(wide).size()));
    }
    auto read = load_model(bytes.data(), bytes.size(), nullptr, "half");
    REQUIRE_MESSAGE(read.ok(), read.status().message());
    CHECK(bytes_of(*read) == bytes);
    REQUIRE(read->plans.size() == 1);
    double all = 0, before = 0;
    for (const Tensor& t : read->plans[0].constants) all += static_cast<double>(t.bytes());
    for (const Tensor& t : wide.plans[0].constants) before += static_cast<double>(t.bytes());
    CHECK(all <= 0.53 * before);
    Model without = *read;
    without.plans.clear();
    const auto inputs = random_inputs(graph, 5);
    for (const Backend backend : {Backend::kAuto, Backend::kPortable, Backend::kReference}) {
      CAPTURE(name(backend));
      CHECK(outputs_of(*read, inputs, backend) == outputs_of(without, inputs, backend));
    }
    // Another number, another plan.
    Value* changed = nullptr;
    for (Value& value : read->graph.values) changed = value.type == DataType::kFloat16 ? &value : changed;
    REQUIRE(changed != nullptr);
    std::vector<float> values = to_float32(changed->constant);
    values[0] = values[0] * 2 + 1;
    REQUIRE(to_float16(Tensor::from(changed->shape, values), &changed->constant));
    const std::vector<uint8_t> other = bytes_of(*read);
    const auto again = load_model(other.data(), other.size(), nullptr, "changed");
    REQUIRE(again.ok());
    CHECK(again->plans.empty());
  }
}

TEST_CASE("graphs that make no sense are refused, and not read") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 4});
  const ValueId w = g.add_constant("w", Tensor::filled({3, 4}, 0.25f));
  g.outputs = {g.add_node(Op::kFullyConnected, "fc", {x, w}, FullyConnectedAttrs{})};
  for (const DataType type : {DataType::kFloat32, DataType::kFloat16}) {
    Graph without_data = g;
    without_data.value(w).type = without_data.value(w).constant.type = type;
    without_data.value(w).constant.data = nullptr;
    CHECK(parameters_to_float16(&without_data).status().code() == StatusCode::kInvalidModel);
    CHECK(constants_to_float32(&without_data).code() == StatusCode::kInvalidModel);
    CHECK(Trainer::create(without_data, {}).status().code() == StatusCode::kInvalidModel);
  }
  Graph no_such_value = g;
  no_such_value.nodes[0].inputs[1] = 1000000;
  CHECK(parameters_to_float16(&no_such_value).status().code() == StatusCode::kInvalidModel);
}

TEST_CASE("what is folded stays float32 where float16 would lose it") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 4});
  const ValueId w = g.add_constant("w", Tensor::filled({3, 4}, 0.25f));
  const ValueId tiny = g.add_constant("tiny", Tensor::filled({1}, 1e-8f));
  ValueId y = g.add_node(Op::kFullyConnected, "fc", {x, w}, FullyConnectedAttrs{});
  y = g.add_node(Op::kSigmoid, "sigmoid", {y});
  g.outputs = {g.add_node(Op::kMul, "mul", {y, tiny})};
  REQUIRE(g.infer_shapes().ok());
  REQUIRE(parameters_to_float16(&g)->rounded == 1);
  const auto inputs = random_inputs(g, 1);
  SessionOptions plain;
  plain.optimize = false;
  auto a = Session::create(g, {}), b = Session::create(g, plain);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  const auto folded = run_session(*a, inputs), unfolded = run_session(*b, inputs);
  for (size_t i = 0; i < 3; ++i) {
    CHECK((*unfolded)[0][i] > 1e-9f);
    CHECK((*folded)[0][i] == doctest::Approx((*unfolded)[0][i]).epsilon(1e-5));
  }
  CHECK(float_to_half(1e-8f) == 0);
}

TEST_CASE("a new last layer of a model with float16 weights is float32") {
  Graph graph = network("sparsenet-abc:blocks=1-1,k=4,path=2");
  round_constants(&graph, false);
  const Status replaced = replace_head(&graph, 5, 1);
  CHECK_MESSAGE(replaced.ok(), replaced.message());
  TrainOptions options;
  options.batch = 2;
  CHECK(Trainer::create(graph, options).ok());
}

TEST_CASE("values that are computed in other types are refused by name") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 6});
  const ValueId both = g.add_node(Op::kConcat, "concat", {x, x}, AxisAttrs{1}, "both");
  const auto parts = g.add_node_multi(Op::kSplit, "split", {both}, SplitAttrs{1, {9, 3}}, {"front", "back"});
  g.outputs = {parts[1]};
  g.value(both).type = DataType::kInt64;
  const auto session = Session::create(g, {});
  CHECK(session.status().code() == StatusCode::kUnsupported);
  CHECK(session.status().message().find("value 'both': expected float32 or int8, found int64") != std::string::npos);
}

TEST_CASE("older runtimes refuse files with float16 constants, and no others") {
  Model model = tiny_model();
  const auto version = [](const Model& m) {
    const std::vector<uint8_t> bytes = bytes_of(m);
    const auto read = load_model(bytes.data(), bytes.size(), nullptr, "file");
    REQUIRE(read.ok());
    return schema::GetModel(bytes.data())->min_runtime();
  };
  CHECK(version(model) == 1);
  round_constants(&model.graph, true);
  CHECK(version(model) == 2);
}

TEST_CASE("devices read float16 parameters where they lie: the bits of a Session, and a training that verifies") {
  Graph graph = network("sparsenet-abc:blocks=2-2-3,k=8,path=3");
  round_constants(&graph, false);
  const Model source = with_plans(std::move(graph), true);
  const std::vector<uint8_t> bytes = bytes_of(source);
  const auto inputs = random_inputs(source.graph, 9);
  const std::vector<float> input(inputs[0].data.begin(), inputs[0].data.end());
  const std::vector<float> expected = outputs_of(source, inputs, Backend::kPortable);
  for (const uint32_t kernels : {SN_KERNELS_LINKED, SN_KERNELS_COMPACT}) {
    CAPTURE(kernels);
    for (const uint32_t training : {0u, 1u}) {
      CAPTURE(training);
      Room model(bytes);
      sn_options options{};
      options.struct_size = sizeof options;
      options.batch = 1;
      options.kernels = kernels;
      options.training = training;
      sn_needs needs{};
      needs.struct_size = sizeof needs;
      sn_message why{};
      why.struct_size = sizeof why;
      REQUIRE_MESSAGE(sn_measure(model.at(), model.bytes(), &options, &needs, &why) == SN_OK, why.text);
      if (!training) CHECK(needs.weights_bytes == 0);  // nothing is copied
      Room memory(needs.memory_bytes);
      sn_session* session = nullptr;
      REQUIRE_MESSAGE(
          sn_prepare(model.at(), model.bytes(), &options, memory.at(), memory.bytes(), &session, &why) == SN_OK,
          why.text);
      if (training) {
        CHECK_MESSAGE(sn_train_verify(session, nullptr, &why) == SN_OK, why.text);
        continue;
      }
      CHECK_MESSAGE(sn_verify(session, 0, nullptr, &why) == SN_OK, why.text);
      CHECK_MESSAGE(sn_verify_steps(session, nullptr, &why) == SN_OK, why.text);
      REQUIRE(sn_set_input(session, 0, input.data(), input.size()) == SN_OK);
      REQUIRE(sn_run(session) == SN_OK);
      std::vector<float> found(expected.size());
      REQUIRE(sn_get_output(session, 0, found.data(), found.size()) == SN_OK);
      if (std::string(active_isa().name) == "compact") CHECK(found == expected);
      CHECK(relative_error(std::vector<double>(expected.begin(), expected.end()), found) < kWinogradTolerance);
      CHECK(memory.border_is_whole());
    }
  }
}

TEST_CASE("training reads float16 weights and gives float32 ones") {
  Graph half = network("sparsenet-abc:blocks=1-1,k=4,path=2"), wide = half;
  round_constants(&half, false);
  wide = half;
  REQUIRE(constants_to_float32(&wide).ok());
  TrainOptions options;
  options.batch = 4;
  options.threads = 1;
  auto a = Trainer::create(half, options), b = Trainer::create(wide, options);
  REQUIRE_MESSAGE(a.ok(), a.status().message());
  REQUIRE(b.ok());
  std::vector<float> images(4 * 3 * 32 * 32);
  for (size_t i = 0; i < images.size(); ++i) images[i] = std::sin(static_cast<float>(i));
  const int32_t labels[] = {0, 3, 5, 9};
  for (int step = 0; step < 3; ++step) {
    const auto x = a->step(images.data(), labels, 0.05f), y = b->step(images.data(), labels, 0.05f);
    REQUIRE(x.ok());
    REQUIRE(y.ok());
    CHECK(x->loss == y->loss);
  }
  const auto trained = a->graph();
  REQUIRE(trained.ok());
  CHECK(halves(*trained) == 0);
}

TEST_CASE("types of a stored plan that do not fit are refused") {
  Graph graph = network("sparsenet-abc:blocks=1-1,k=4,path=2");
  round_constants(&graph, false);
  Model model = with_plans(std::move(graph), false);
  std::vector<uint8_t> bytes = bytes_of(model);
  const auto refused = [&](const std::string& part, const std::function<void(flatbuffers::Vector<uint8_t>*)>& change) {
    std::vector<uint8_t> damaged = bytes;
    auto* plan = const_cast<schema::Plan*>(schema::GetModel(damaged.data())->plans()->Get(0));
    change(const_cast<flatbuffers::Vector<uint8_t>*>(plan->types()));
    seal(&damaged);
    const auto read = load_model(damaged.data(), damaged.size(), nullptr, "damaged");
    REQUIRE_FALSE(read.ok());
    CAPTURE(read.status().message());
    CHECK(read.status().message().find(part) != std::string::npos);
  };
  const auto* plan = schema::GetModel(bytes.data())->plans()->Get(0);
  REQUIRE(plan->types() != nullptr);
  CHECK(plan->version() == rt::kTypedPlanVersion);
  const uint32_t views = plan->views()->size();
  refused("types", [&](auto* types) { types->Mutate(0, 6); });
  refused("types", [&](auto* types) { types->Mutate(types->size() - 1, 255); });
  refused("places in the data section", [&](auto* types) { types->Mutate(views, 2); });
  const uint32_t input = plan->inputs()->Get(0)->view(), output = plan->outputs()->Get(0)->view();
  for (uint8_t type = 1; type < rt::kDataTypes;
       ++type) {  // ports are copied from and to callers; integers have a scale
    const auto as = static_cast<DataType>(type);
    const std::string part = as == DataType::kInt8 || as == DataType::kUInt8 ? "scale" : "expected a view of float32";
    refused(part, [&](auto* types) { types->Mutate(input, type); });
    refused(part, [&](auto* types) { types->Mutate(output, type); });
  }
  for (uint8_t type = 1; type < rt::kDataTypes; ++type) {  // of the first step's input: other steps write floats there
    std::vector<uint8_t> damaged = bytes;
    auto* changed =
        const_cast<flatbuffers::Vector<uint8_t>*>(schema::GetModel(damaged.data())->plans()->Get(0)->types());
    changed->Mutate(
        static_cast<uint32_t>(schema::GetModel(damaged.data())->plans()->Get(0)->steps()->Get(0)->in_view()), type);
    seal(&damaged);
    const auto read = load_model(damaged.data(), damaged.size(), nullptr, "damaged");
    if (!read.ok()) continue;  // it leaves the arena
    const auto session = Session::create(*read, {});
    CHECK((session.ok() || session.status().code() == StatusCode::kUnsupported));
  }
}
