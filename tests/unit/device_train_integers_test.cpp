// Training a float32 layer behind a body of integers through the C API: the same bits as a Trainer's, from real numbers
// and from bytes, in memory of a known size; what plans cannot hold is refused by name, and damage is harmless.
#include <model_generated.h>
#include <sparsenet/deploy.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "graph/ops.h"
#include "kernels/isa.h"
#include "model_samples.h"
#include "plan/plan.h"
#include "support/integer_maker.h"
#include "support/skip.h"
#include "support/train_helpers.h"
#include "support/trained_integers.h"
#include "support/training_board.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr const char* kIntegerTarget = "portable-f32";

// A body with integers as input, rounding once or twice, and a float32 layer behind Dequantize, with a Softmax or not.
Graph typed_network(uint64_t seed, DataType type) {
  Random random(seed);
  IntegerMaker g(random);
  const ValueId in = g.input({1, 3, 8, 8}, {{0.02f}, {type == DataType::kUInt8 ? 128 : 3}, 0}, type);
  ValueId x = in;
  if (type == DataType::kUInt8) x = g.node(Op::kQuantize, {in}, NoAttrs{}, {{0.02f}, {0}, 0});
  ConvAttrs same;
  same.kernel = {3, 3};
  same.pads = {1, 1, 1, 1};
  x = g.layer(x, {6, 3, 3, 3}, same);
  const ValueId y = g.layer(x, {6, 6, 1, 1});
  x = g.node(Op::kAdd, {x, y}, NoAttrs{}, g.for_sums(std::max(g.scale(x), g.scale(y)), 100));
  PoolAttrs pool;
  pool.kernel = pool.stride = {2, 2};
  x = g.move(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, {x}, pool);
  x = g.move(Op::kReshape, {x}, ReshapeAttrs{{0, -1}});
  x = g.graph.add_node(Op::kDequantize, "real", {x});
  Values weights(5 * 96);
  for (float& w : weights) w = static_cast<float>(0.1 * random.normal());
  x = g.graph.add_node(Op::kFullyConnected, "head",
                       {x, g.graph.add_constant("head.weight", Tensor::from({5, 96}, std::move(weights))),
                        g.graph.add_constant("head.bias", Tensor::filled({5}, 0.f))},
                       FullyConnectedAttrs{});
  if (random.chance(0.5)) x = g.graph.add_node(Op::kSoftmax, "softmax", {x}, AxisAttrs{1});
  return g.finish({x});
}

struct Case {
  std::string name;
  Graph graph;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    all.push_back(
        {"a dense block, " + std::to_string(seed), quantised(float_network(seed), seed, {"FullyConnected*"})});
    all.push_back(
        {"of bytes, " + std::to_string(seed), typed_network(seed, seed % 2 == 0 ? DataType::kInt8 : DataType::kUInt8)});
  }
  all.push_back({"abc", quantised(train_network("sparsenet-abc:blocks=2-1,k=4,path=2"), 1, {"fc"})});
  return all;
}

TrainData data_for(const Graph& graph, int64_t count) {
  const Shape& in = graph.shape(graph.inputs[0]);
  return train_data(count, graph.shape(graph.outputs[0])[1], {in[1], in[2], in[3]});
}

// With vectors of the input's own type, made by the reference kernels.
void add_vectors(Model* model, int count) {
  SessionOptions options;
  options.backend = Backend::kReference;
  Session session = *Session::create(model->graph, options);
  const TensorInfo in = session.inputs()[0], out = session.outputs()[0];
  Random random(77);
  for (int v = 0; v < count; ++v) {
    TestVector vector;
    vector.tolerance = 1e-4f;
    const auto elements = static_cast<size_t>(element_count(in.shape));
    if (in.type == DataType::kFloat32) {
      Values image = random_images(static_cast<uint64_t>(v), 1, element_count(in.shape));
      REQUIRE(session.set_input(0, image.data(), elements).ok());
      vector.inputs.push_back(Tensor::from(in.shape, std::move(image)));
    } else {
      std::vector<int8_t> bytes(elements);
      for (int8_t& b : bytes) b = static_cast<int8_t>(random.integer(-128, 127));
      if (in.type == DataType::kInt8) {
        REQUIRE(session.set_input(0, bytes.data(), elements).ok());
      } else {
        REQUIRE(session.set_input(0, reinterpret_cast<const uint8_t*>(bytes.data()), elements).ok());
      }
      vector.inputs.push_back(integer_constant(in.shape, std::move(bytes)));
      vector.inputs.back().type = in.type;
    }
    REQUIRE(session.run().ok());
    Values outputs(static_cast<size_t>(element_count(out.shape)));
    REQUIRE(session.get_output(0, outputs.data(), outputs.size()).ok());
    vector.outputs.push_back(Tensor::from(out.shape, std::move(outputs)));
    model->test_vectors.push_back(std::move(vector));
  }
}

Model trainable(const Graph& graph, int vectors = 0) {
  Model model;
  model.graph = graph;
  add_vectors(&model, vectors);
  auto plan = make_stored_plan(model.graph, kIntegerTarget);
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  model.plans.push_back(std::move(*plan));
  auto training = make_training_plan(model, kIntegerTarget);
  REQUIRE_MESSAGE(training.ok(), training.status().message());
  model.plans.push_back(std::move(*training));
  return model;
}

TrainOptions head_options(int accumulate) {
  TrainOptions options;
  options.batch = 1;
  options.accumulate = accumulate;
  options.threads = 1;
  options.freeze = "all-but-head";
  options.backend = Backend::kPortable;
  return options;
}

}  // namespace

TEST_CASE("training behind integers: computes what a Trainer computes, bit for bit") {
  constexpr int kImages = 3;
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    Trainer expected = make_trainer(c.graph, head_options(kImages));
    Board board(bytes_of(trainable(c.graph)));
    CHECK((board.tensor(false).type == SN_FLOAT32) == (c.graph.value(c.graph.inputs[0]).type == DataType::kFloat32));
    CHECK(board.tensor(true).type == SN_FLOAT32);
    const TrainData data = data_for(c.graph, 4 * kImages);
    const size_t floats = board.parameters().size();
    CHECK(same_bits(board.parameters(), state_parameters(expected, floats)));
    double first = 0, last = 0;
    for (int64_t update = 0; update < 4; ++update) {
      last = 0;
      for (int64_t i = update * kImages; i < (update + 1) * kImages; ++i) {
        const auto step = expected.step(data.batch_images(i, 1), data.batch_labels(i, 1), 0.05f);
        REQUIRE_MESSAGE(step.ok(), step.status().message());
        CHECK(board.add(data, i) == static_cast<float>(step->loss));
        last += step->loss;
      }
      if (update == 0) first = last;
      CHECK(board.update(0.05f) == doctest::Approx(last / kImages).epsilon(1e-6));
      CHECK(same_bits(board.parameters(), state_parameters(expected, floats)));
    }
    CHECK(last != first);
    // It now computes the same as the trained model.
    const Graph trained = expected.graph().value();
    const Values image(data.batch_images(0, 1), data.batch_images(0, 1) + data.image_size());
    Values wanted = run(trained, image, 1), found = board.logits(image.data());
    if (trained.nodes.back().op == Op::kSoftmax) {  // which is no part of a training
      const float most = *std::max_element(found.begin(), found.end());
      double sum = 0;
      for (const float v : found) sum += std::exp(static_cast<double>(v - most));
      for (float& v : found) v = static_cast<float>(std::exp(static_cast<double>(v - most)) / sum);
    }
    for (size_t k = 0; k < found.size(); ++k) CHECK(found[k] == doctest::Approx(wanted[k]).epsilon(1e-4));
    CHECK(board.memory.border_is_whole());
  }
}

TEST_CASE("training behind integers: bytes and the real numbers that they stand for give the same") {
  for (const DataType type : {DataType::kInt8, DataType::kUInt8}) {
    const std::vector<uint8_t> bytes = bytes_of(trainable(typed_network(3, type)));
    Board of_bytes(bytes), of_numbers(bytes);
    const sn_tensor in = of_bytes.tensor(false);
    CHECK(in.type == (type == DataType::kInt8 ? SN_INT8 : SN_UINT8));
    Random random(9);
    for (int image = 0; image < 3; ++image) {
      std::vector<uint8_t> pixels(in.elements);
      Values numbers;
      for (uint8_t& p : pixels) {
        p = static_cast<uint8_t>(random.integer(0, 255));
        const int integer = type == DataType::kInt8 ? static_cast<int8_t>(p) : int{p};
        numbers.push_back(in.scale * static_cast<float>(integer - in.zero_point));
      }
      REQUIRE(sn_set_input_bytes(of_bytes.session, 0, pixels.data(), pixels.size()) == SN_OK);
      REQUIRE(sn_set_input(of_numbers.session, 0, numbers.data(), numbers.size()) == SN_OK);
      CHECK(of_bytes.add(image) == of_numbers.add(image));
    }
    CHECK(of_bytes.update(0.1f) == of_numbers.update(0.1f));
    CHECK(same_bits(of_bytes.parameters(), of_numbers.parameters()));
    // Where real numbers stand, such as the label, bytes are refused.
    const uint8_t label = 1;
    CHECK(sn_set_input_bytes(of_bytes.session, 1, &label, 1) == SN_INVALID_ARGUMENT);
  }
}

TEST_CASE("training behind integers: every list of kernels sees the same integers") {
  const Graph graph = quantised(float_network(2), 2, {"FullyConnected*"});
  const std::vector<uint8_t> bytes = bytes_of(trainable(graph));
  const TrainData data = data_for(graph, 4);
  Board linked(bytes), compact(bytes, nullptr, SN_KERNELS_COMPACT);
  for (int64_t i = 0; i < 4; ++i) CHECK(linked.add(data, i) == doctest::Approx(compact.add(data, i)).epsilon(1e-5));
  CHECK(linked.update(0.1f) == doctest::Approx(compact.update(0.1f)).epsilon(1e-5));
  const std::vector<float> a = linked.parameters(), b = compact.parameters();
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-4));
}

TEST_CASE("training behind integers: parameters go away and come back, and a check comes with the plan") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    const Model source = trainable(c.graph, 2);
    const TrainingCheck& check = source.plans[1].check;
    REQUIRE(check.losses.size() == 5);
    CHECK(check.losses.back() < check.losses.front());
    const std::vector<uint8_t> bytes = bytes_of(source);
    Board board(bytes), after_reset(bytes);
    float error = -1;
    sn_message why{sizeof why, ""};
    CHECK_MESSAGE(sn_train_verify(board.session, &error, &why) == SN_OK, why.text);
    CHECK(error < 1e-5f);
    CHECK(same_bits(board.parameters(), after_reset.parameters()));
    const TrainData data = data_for(c.graph, 2);
    for (int64_t i = 0; i < 2; ++i) board.add(data, i);
    board.update(0.1f);
    const std::vector<float> kept = board.parameters(), trained = board.logits(data.batch_images(1, 1));
    CHECK_FALSE(same_bits(trained, after_reset.logits(data.batch_images(1, 1))));
    void* place = nullptr;
    size_t size = 0;
    REQUIRE(sn_train_parameters(after_reset.session, &place, &size) == SN_OK);
    std::memcpy(place, kept.data(), size);
    CHECK(same_bits(after_reset.logits(data.batch_images(1, 1)), trained));

    // The file keeps all of it.
    const auto read = load_model(bytes.data(), bytes.size(), nullptr, "bytes");
    REQUIRE_MESSAGE(read.ok(), read.status().message());
    CHECK(bytes_of(*read) == bytes);
    CHECK(read->plans[1].trains);
  }
}

TEST_CASE("training behind integers: test vectors that hold the image as bytes serve both plans") {
  Model source;
  source.graph = quantised(float_network(2), 2, {"FullyConnected*"});
  add_vectors(&source, 2);
  for (TestVector& vector : source.test_vectors) REQUIRE(round_inputs(source.graph, &vector).ok());
  for (const bool trains : {false, true}) {
    auto plan = trains ? make_training_plan(source, kIntegerTarget) : make_stored_plan(source.graph, kIntegerTarget);
    REQUIRE_MESSAGE(plan.ok(), plan.status().message());
    source.plans.push_back(std::move(*plan));
  }
  const std::vector<uint8_t> bytes = bytes_of(source);
  const schema::Model& file = *schema::GetModel(bytes.data());
  for (uint32_t v = 0; v < 2; ++v) {
    CHECK(file.test_vectors()->Get(v)->inputs()->Get(0)->type() == static_cast<uint8_t>(DataType::kInt8));
  }
  Board board(bytes);
  float error = -1;
  sn_message why{sizeof why, ""};
  CHECK_MESSAGE(sn_train_verify(board.session, &error, &why) == SN_OK, why.text);
  CHECK(error < 1e-5f);
  CHECK(board.memory.border_is_whole());

  // What is wrong with a test vector is said.
  std::vector<uint8_t> damaged = bytes;
  const auto* input = schema::GetModel(damaged.data())->test_vectors()->Get(1)->inputs()->Get(0);
  REQUIRE(reinterpret_cast<flatbuffers::Table*>(const_cast<schema::Tensor*>(input))
              ->SetField<uint8_t>(schema::Tensor::VT_TYPE, static_cast<uint8_t>(DataType::kUInt8), 0));
  repair(damaged);
  Board other(damaged);
  CHECK(sn_train_verify(other.session, &error, &why) == SN_INVALID_MODEL);
  CHECK(std::string(why.text) == "test vector 1: input 0: expected values of the plan's type in its shape");

  // A training plan that says of these bytes, or of others, what the graph does not.
  const auto refused = [&](const std::string& message, const std::function<void(Plan&)>& change) {
    Model model;
    model.graph = source.graph;
    auto training = make_training_plan(model, kIntegerTarget);
    REQUIRE_MESSAGE(training.ok(), training.status().message());
    model.plans = {std::move(*training)};
    change(const_cast<Plan&>(*model.plans[0].plan));
    const Status status = serialize_model(model).status();
    CAPTURE(status.message());
    CHECK(status.code() == StatusCode::kInvalidModel);
    CHECK(status.message().find(message) != std::string::npos);
  };
  refused(", as its Quantize has, found scale ", [](Plan& p) { p.inputs[0].of_vectors.scales[0] *= 2.f; });
  refused("expected no scale, as no Quantize takes it, found scale 0.5 and zero point 3", [](Plan& p) {
    p.inputs[1].of_vectors = {{0.5f}, {3}, 0};
  });
  refused("output 1 ", [](Plan& p) { p.outputs[1].of_vectors = {{0.5f}, {3}, 0}; });
}

TEST_CASE("training behind integers: a device is given what both plans need, and no more memory than it says") {
  Model source = trainable(quantised(train_network("sparsenet-abc:blocks=2-2,k=4,path=2"), 1, {"fc"}), 1);
  const auto parts = make_device_parts(source);
  REQUIRE_MESSAGE(parts.ok(), parts.status().message());
  const auto has = [&](const std::string& kernel) {
    return std::find(parts->kernels.begin(), parts->kernels.end(), kernel) != parts->kernels.end();
  };
  for (const char* kernel : {"compact::kIntegerConvSingle", "kIntegerReferenceDequantize", "kReferenceCrossEntropy",
                             "kReferenceUpdateSgd"}) {
    CHECK_MESSAGE(has(kernel), kernel);
  }
  CHECK_FALSE(has("compact::kPool"));  // nothing in front of the last layer is float32
  CHECK_FALSE(has("kReferenceConv"));
  for (const char* part : {"&kIntegerParts", "&kTrainingParts"}) {
    CHECK_MESSAGE(parts->kernel_table.find(part) != std::string::npos, part);
  }
  Board board(parts->file);
  CHECK(board.needs.arena_bytes == parts->training_arena_bytes);
  // The body's activations are bytes: the arena is little more than that of inference.
  CHECK(board.needs.arena_bytes < parts->arena_bytes + 6 * board.needs.parameters_bytes);
  if (std::string(active_isa().name) == "compact") {  // a separate run, see CMakeLists.txt
    CHECK(board.needs.memory_bytes <= parts->training_memory_bytes);
    CHECK(board.needs.memory_bytes + 2048 > parts->training_memory_bytes);
  }
  float error = -1;
  CHECK(sn_train_verify(board.session, &error, nullptr) == SN_OK);
}

TEST_CASE("training behind integers: a last layer of integers, and integers behind it, are refused by name") {
  Model model;
  model.graph = quantised(float_network(2), 2);
  const auto head = std::find_if(model.graph.nodes.rbegin(), model.graph.nodes.rend(), [](const Node& node) {
    return node.op == Op::kConv || node.op == Op::kFullyConnected;
  });
  Status status = make_training_plan(model, kIntegerTarget).status();
  CHECK(status.code() == StatusCode::kUnsupported);
  CHECK(status.message() == describe(*head) +
                                " is the last layer and computes with integers; a device trains in float32, from the "
                                "last layer to the output: `sparsenet quantize --keep-float " +
                                head->name + "` keeps this layer so");
  model.graph = typed_network(1, DataType::kInt8);
  while (model.graph.nodes.back().op != Op::kFullyConnected) model.graph.nodes.pop_back();
  const ValueId y =
      model.graph.add_node(Op::kQuantize, "bytes", {model.graph.nodes.back().outputs[0]}, NoAttrs{}, "scores");
  model.graph.value(y).type = DataType::kInt8;
  model.graph.value(y).quantization = {{0.1f}, {0}, 0};
  model.graph.outputs = {y};
  REQUIRE(model.graph.infer_shapes().ok());
  status = make_training_plan(model, kIntegerTarget).status();
  CHECK(status.code() == StatusCode::kUnsupported);
  CHECK(
      status.message() ==
      "Quantize 'bytes' stands behind the last layer and computes with integers; a device trains in float32, from the "
      "last layer to the output: the output has to be float32");
}

TEST_CASE("training behind integers: plans that would leave their memory are refused by name") {
  const Graph graph = typed_network(2, DataType::kInt8);
  const auto refused = [&](const std::string& part, const std::function<void(Plan&)>& change) {
    Model model;
    model.graph = graph;
    auto training = make_training_plan(model, kIntegerTarget);
    REQUIRE_MESSAGE(training.ok(), training.status().message());
    model.plans = {std::move(*training)};
    REQUIRE(serialize_model(model).ok());
    change(const_cast<Plan&>(*model.plans[0].plan));
    const Status status = serialize_model(model).status();
    CAPTURE(part);
    CAPTURE(status.message());
    CHECK(status.code() == StatusCode::kInvalidModel);
    CHECK(status.message().find(part) != std::string::npos);
  };
  const auto step = [](Plan& p, rt::StepOp op) -> rt::Step& {
    return *std::find_if(p.steps.begin(), p.steps.end(), [&](const rt::Step& s) { return s.op == op; });
  };
  using Op = rt::StepOp;
  // Bytes where kernels read and write float32: a step would reach four times as far.
  for (const Op op : {Op::kCrossEntropy, Op::kAccumulate, Op::kSquareSum, Op::kUpdateSgd}) {
    for (int32_t i = 0; i < 2; ++i) {
      refused("of another size or type",
              [&](Plan& p) { const_cast<rt::View&>(step(p, op).train.operands[i]).type = rt::DataType::kInt8; });
    }
  }
  refused("gradient of each bias", [&](Plan& p) {
    const_cast<rt::View&>(step(p, Op::kConvGradWeight).train.operands[0]).type = rt::DataType::kInt8;
  });
  refused("gradient of each weight", [&](Plan& p) { step(p, Op::kConvGradWeight).out.type = rt::DataType::kInt8; });
  refused("gradient in the arena", [&](Plan& p) { step(p, Op::kConvGradWeight).in2.type = rt::DataType::kInt8; });
  refused("expected float32, or how to compute",
          [&](Plan& p) { step(p, Op::kConvGradWeight).in.type = rt::DataType::kInt8; });
  refused("types that this kind of step",
          [&](Plan& p) { step(p, Op::kConvGradWeight).quant = step(p, Op::kDequantize).quant; });
  // The label and the loss, which the runtime itself writes and reads.
  const auto typed = [](PlanPort& port) {
    port.view.type = rt::DataType::kInt8;
    port.quantization = {{1.f}, {0}, 0};
  };
  for (const bool loss : {false, true}) {
    refused(loss ? "a loss of 1 x 2, float32" : "a label of 1 x 1, float32",
            [&](Plan& p) { typed(loss ? p.outputs[1] : p.inputs[1]); });
  }
  refused("logits of 1 x two classes or more, float32", [&](Plan& p) { typed(p.outputs[0]); });
  // An image of another type or meaning than the graph's.
  refused("expected the graph's int8, found float32", [](Plan& p) {
    p.inputs[0].view.type = rt::DataType::kFloat32;
    const_cast<rt::Segment*>(p.inputs[0].view.segments)->offset = 0;
  });
  refused("expected the graph's scale 0.0199999996 and zero point 3, found scale 0.5 and zero point 3",
          [](Plan& p) { p.inputs[0].quantization.scales[0] = 0.5f; });
  // Factors that let arithmetic overflow.
  refused("factors, bounds or tables", [&](Plan& p) {
    static const std::vector<rt::Multiplier> kFar(64, {1 << 30, -32});
    const_cast<rt::QuantParams*>(step(p, Op::kConv).quant)->multipliers = kFar.data();
  });
  refused("factors, bounds or tables",
          [&](Plan& p) { const_cast<rt::QuantParams*>(step(p, Op::kDequantize).quant)->scale = std::nanf(""); });
}

TEST_CASE("training behind integers: damage is refused, or harmless where the checksum is set right") {
  const sn_options options = training_options();
  DamageCounts counts;
  for (const DataType type : {DataType::kInt8, DataType::kFloat32}) {
    Model source = trainable(
        type == DataType::kInt8 ? typed_network(5, type) : quantised(float_network(4), 4, {"FullyConnected*"}), 1);
    source.plans.erase(source.plans.begin());  // only the training plan remains
    const std::vector<uint8_t> good = bytes_of(source);
    run_damaged(good, structure_of(good) / static_cast<size_t>(scaled_by_effort(1200)), {&options}, train_once,
                &counts);
  }
  check_counts(counts);
}
