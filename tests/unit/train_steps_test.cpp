// Training steps: each setting of the optimiser compared with PyTorch in float64 (tests/goldens/train), the same bits
// for any number of threads, state that can be saved and restored, and failed steps that must leave no trace.
#include <algorithm>
#include <limits>

#include "support/train_goldens.h"
#include "support/train_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const char* const kTiny = "sparsenet-abc:blocks=2-2,k=4,path=2";

TrainOptions options_of(int64_t batch, int threads = 1) {
  TrainOptions options;
  options.batch = batch;
  options.threads = threads;
  return options;
}

void check_variant(const std::string& name) {
  const auto golden = read_train_golden(name);
  REQUIRE_MESSAGE(golden.ok(), golden.status().message());
  // The tiny networks are so well conditioned that float32 agrees with float64 to 1e-6; ResNet-20 is not.
  const bool tiny = golden->arch.rfind("resnet", 0) != 0;
  const double loss_bound = tiny ? 1e-4 : 5e-3, value_bound = tiny ? 1e-3 : 1e-1;
  Trainer trainer = make_trainer(train_network(golden->arch), golden->options);
  const auto batches = static_cast<int64_t>(golden->losses64.size());
  const TrainData data = train_data(batches * golden->batch, trainer.classes());
  for (int64_t i = 0; i < batches; ++i) {
    const auto step =
        trainer.step(data.batch_images(i, golden->batch), data.batch_labels(i, golden->batch), golden->learning_rate);
    REQUIRE_MESSAGE(step.ok(), name, ": ", step.status().message());
    CHECK(step->updated == ((i + 1) % golden->options.accumulate == 0));
    const double expected = golden->losses64[static_cast<size_t>(i)];
    CHECK_MESSAGE(std::abs(step->loss - expected) <= loss_bound, name, " step ", i, ": loss ", step->loss,
                  ", expected ", expected);
  }
  const Graph trained = trainer.graph().value();
  for (const auto& [value, expected] : golden->values) {
    const Value* found = find_value(trained, value);
    REQUIRE_MESSAGE(found, name, ": no '", value, "'");
    REQUIRE(found->constant.elements() == static_cast<int64_t>(expected.size()));
    double largest = 0, error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      const double d = std::abs(static_cast<double>(found->constant.f32()[i]) - expected[i]);
      error = std::isfinite(d) ? std::max(error, d) : std::numeric_limits<double>::infinity();
    }
    CHECK_MESSAGE(error <= value_bound * std::max(largest, 0.1), name, " ", value, ": off by ", error, " of ", largest);
  }
}

std::vector<unsigned char> state_of(const Trainer& trainer) {
  std::vector<unsigned char> state(trainer.state_bytes());
  const Status saved = trainer.save_state(state.data(), state.size());
  REQUIRE_MESSAGE(saved.ok(), saved.message());
  return state;
}

}  // namespace

TEST_CASE("every setting of the optimisers has PyTorch's losses and parameters") {
  const std::vector<std::string> variants = train_golden_variants();
  CHECK(variants.size() == 16);
  for (const std::string& name : variants) check_variant(name);
}

TEST_CASE("the parameters after five steps have the same bits on 1, 2 and 3 threads") {
  const Graph graph = train_network("sparsenet-abc-v0");
  const TrainData data = train_data(5 * 16, 10);
  Parameters expected, statistics;
  std::vector<double> losses;
  for (int threads = 1; threads <= 3; ++threads) {
    Trainer trainer = make_trainer(graph, options_of(16, threads));
    CHECK(trainer.threads() == threads);
    const std::vector<double> found = train_steps(trainer, data, 16, 0, 5, 0.05f);
    if (threads == 1) {
      expected = parameters_of(trainer);
      statistics = constants_of(trainer.graph().value());
      losses = found;
      CHECK_FALSE(same_bits(constants_of(graph), statistics));
      continue;
    }
    CHECK_MESSAGE(found == losses, threads, " threads: other losses");
    CHECK_MESSAGE(same_bits(parameters_of(trainer), expected), threads, " threads: other parameters");
    CHECK_MESSAGE(same_bits(constants_of(trainer.graph().value()), statistics), threads, " threads: other statistics");
  }
}

TEST_CASE("the same bits on any thread count for other networks, batches and optimisers") {
  for (const std::string text : {"resnet20", "densenet-bc-22-8", "sparsenet-abc:blocks=3-2,k=5,path=2,attention=se"}) {
    const auto parsed = parse_architecture(text);
    if (!parsed.ok()) FAIL(parsed.status().message());
    const Graph graph = train_network(text);
    for (const int64_t batch : {3, 7}) {
      const TrainData data = train_data(3 * batch, 10);
      Parameters expected;
      for (int threads = 1; threads <= 3; ++threads) {
        TrainOptions options = options_of(batch, threads);
        options.optimizer = batch == 3 ? Optimizer::kAdamW : Optimizer::kSgd;
        options.clip_norm = batch == 3 ? 0.5f : 0.f;
        options.label_smoothing = 0.1f;
        Trainer trainer = make_trainer(graph, options);
        train_steps(trainer, data, batch, 0, 3, 0.01f);
        if (threads == 1) expected = parameters_of(trainer);
        CHECK_MESSAGE(same_bits(parameters_of(trainer), expected), text, ", batch ", batch, ", ", threads, " threads");
      }
    }
  }
}

TEST_CASE("a loaded state goes on bit for bit, for every optimiser") {
  const Graph graph = train_network(kTiny);
  const TrainData data = train_data(8 * 6, 10);
  for (const Optimizer optimizer : {Optimizer::kSgd, Optimizer::kAdam, Optimizer::kAdamW}) {
    TrainOptions options = options_of(6);
    options.optimizer = optimizer;
    options.accumulate = 2;
    Trainer straight = make_trainer(graph, options);
    train_steps(straight, data, 6, 0, 3, 0.02f);  // in the middle of an accumulation
    const std::vector<unsigned char> state = state_of(straight);
    const std::vector<double> expected = train_steps(straight, data, 6, 3, 5, 0.02f);

    options.threads = 2;
    Trainer resumed = make_trainer(graph, options);
    train_steps(resumed, data, 6, 5, 2, 0.02f);  // what load_state must undo
    REQUIRE(resumed.state_bytes() == state.size());
    const Status loaded = resumed.load_state(state.data(), state.size());
    REQUIRE_MESSAGE(loaded.ok(), loaded.message());
    CHECK(state_of(resumed) == state);
    CHECK(train_steps(resumed, data, 6, 3, 5, 0.02f) == expected);
    CHECK(same_bits(parameters_of(resumed), parameters_of(straight)));
    CHECK(same_bits(constants_of(resumed.graph().value()), constants_of(straight.graph().value())));
    CHECK(state_of(resumed) == state_of(straight));
  }
}

TEST_CASE("a state of another size is refused and nothing changes") {
  Trainer trainer = make_trainer(train_network(kTiny), options_of(4));
  const Parameters before = parameters_of(trainer);
  std::vector<unsigned char> state(trainer.state_bytes() + 1, 0);
  for (const size_t size : {size_t{0}, trainer.state_bytes() - 1, trainer.state_bytes() + 1}) {
    CHECK(trainer.load_state(state.data(), size).code() == StatusCode::kInvalidArgument);
    CHECK(trainer.save_state(state.data(), size).code() == StatusCode::kInvalidArgument);
  }
  CHECK(trainer.load_state(nullptr, trainer.state_bytes()).code() == StatusCode::kInvalidArgument);
  CHECK(trainer.save_state(nullptr, trainer.state_bytes()).code() == StatusCode::kInvalidArgument);
  CHECK(same_bits(parameters_of(trainer), before));
}

TEST_CASE("a loss that is not finite leaves everything as it was") {
  const TrainData data = train_data(4 * 6, 10);
  for (const float poison : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Trainer trainer = make_trainer(train_network(kTiny), options_of(6, 2));
    train_steps(trainer, data, 6, 0, 2, 0.05f);
    const std::vector<unsigned char> state = state_of(trainer);
    const Parameters before = constants_of(trainer.graph().value());
    std::vector<float> images(data.batch_images(2, 6), data.batch_images(2, 6) + 6 * data.image_size());
    images[images.size() / 2] = poison;
    const auto step = trainer.step(images.data(), data.batch_labels(2, 6), 0.05f);
    REQUIRE_FALSE(step.ok());
    CHECK(step.status().code() == StatusCode::kNotFinite);
    CHECK_FALSE(step.status().message().empty());
    CHECK(same_bits(constants_of(trainer.graph().value()), before));
    CHECK(state_of(trainer) == state);

    // It continues as if the step had not happened.
    Trainer other = make_trainer(train_network(kTiny), options_of(6, 2));
    train_steps(other, data, 6, 0, 2, 0.05f);
    CHECK(train_steps(trainer, data, 6, 3, 1, 0.05f) == train_steps(other, data, 6, 3, 1, 0.05f));
    CHECK(same_bits(parameters_of(trainer), parameters_of(other)));
  }
}

TEST_CASE("gradients that are not finite, though the loss is, leave everything as it was") {
  Graph graph;
  const ValueId x = graph.add_input("x", {1, 2});
  const ValueId w = graph.add_constant("w", Tensor::filled({3, 2}, 1e-30f));
  graph.outputs = {graph.add_node(Op::kFullyConnected, "fc", {x, w}, FullyConnectedAttrs{})};
  Trainer trainer = make_trainer(graph, options_of(2));
  const std::vector<float> images{1e30f, -1e30f, 2e30f, 1e30f};
  const std::vector<int32_t> labels{0, 2};
  const std::vector<unsigned char> state = state_of(trainer);
  const auto step = trainer.step(images.data(), labels.data(), 0.1f);
  REQUIRE_FALSE(step.ok());
  CHECK(step.status().code() == StatusCode::kNotFinite);
  CHECK(state_of(trainer) == state);
}

TEST_CASE("a learning rate that is negative or not finite is refused") {
  Trainer trainer = make_trainer(train_network(kTiny), options_of(3));
  const TrainData data = train_data(3, 10);
  const std::vector<unsigned char> state = state_of(trainer);
  for (const float rate : {-0.1f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const auto step = trainer.step(data.images.data(), data.labels.data(), rate);
    REQUIRE_FALSE(step.ok());
    CHECK(step.status().code() == StatusCode::kInvalidArgument);
  }
  CHECK(state_of(trainer) == state);
}

TEST_CASE("labels out of range and null pointers are refused before anything changes") {
  Trainer trainer = make_trainer(train_network(kTiny), options_of(3));
  const TrainData data = train_data(3, 10);
  const std::vector<unsigned char> state = state_of(trainer);
  for (const int32_t wrong : {-1, 10, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    std::vector<int32_t> labels = data.labels;
    labels[2] = wrong;
    const auto step = trainer.step(data.images.data(), labels.data(), 0.1f);
    REQUIRE_FALSE(step.ok());
    CHECK(step.status().code() == StatusCode::kInvalidArgument);
    CHECK(step.status().message().find(std::to_string(wrong)) != std::string::npos);
  }
  CHECK(trainer.step(nullptr, data.labels.data(), 0.1f).status().code() == StatusCode::kInvalidArgument);
  CHECK(trainer.step(data.images.data(), nullptr, 0.1f).status().code() == StatusCode::kInvalidArgument);
  CHECK(state_of(trainer) == state);
}

TEST_CASE("parameters and gradients are read by index and count") {
  Trainer trainer = make_trainer(train_network(kTiny), options_of(3));
  const TrainData data = train_data(3, 10);
  train_steps(trainer, data, 3, 0, 1, 0.1f);
  REQUIRE_FALSE(trainer.parameters().empty());
  std::vector<float> values(static_cast<size_t>(element_count(trainer.parameters()[0].shape)) + 1);
  const size_t count = values.size() - 1, end = trainer.parameters().size();
  CHECK(trainer.get_parameter(0, values.data(), count).ok());
  CHECK(trainer.get_gradient(0, values.data(), count).ok());
  for (const size_t wrong : {count - 1, count + 1, size_t{0}}) {
    CHECK(trainer.get_parameter(0, values.data(), wrong).code() == StatusCode::kInvalidArgument);
    CHECK(trainer.get_gradient(0, values.data(), wrong).code() == StatusCode::kInvalidArgument);
  }
  CHECK(trainer.get_parameter(0, nullptr, count).code() == StatusCode::kInvalidArgument);
  CHECK(trainer.get_gradient(0, nullptr, count).code() == StatusCode::kInvalidArgument);
  CHECK(trainer.get_parameter(end, values.data(), count).code() == StatusCode::kInvalidArgument);
  CHECK(trainer.get_gradient(end, values.data(), count).code() == StatusCode::kInvalidArgument);
}

TEST_CASE("a learning rate of zero moves running statistics only") {
  const Graph graph = train_network(kTiny);
  Trainer trainer = make_trainer(graph, options_of(6));
  const Parameters before = parameters_of(trainer);
  train_steps(trainer, train_data(6, 10), 6, 0, 1, 0.f);
  CHECK(same_bits(parameters_of(trainer), before));
  CHECK_FALSE(same_bits(constants_of(trainer.graph().value()), constants_of(graph)));
}

TEST_CASE("options that make no sense are refused by name") {
  const Graph graph = train_network(kTiny);
  const float nan = std::nanf("");
  const auto refused = [&](const char* named, auto change) {
    TrainOptions options = options_of(4);
    change(options);
    const auto trainer = Trainer::create(graph, options);
    REQUIRE_MESSAGE(!trainer.ok(), named);
    CHECK_MESSAGE(trainer.status().code() == StatusCode::kInvalidArgument, named, ": ", trainer.status().message());
    CHECK_MESSAGE(trainer.status().message().find(named) != std::string::npos, trainer.status().message());
  };
  refused("batch", [](TrainOptions& o) { o.batch = 0; });
  refused("batch", [](TrainOptions& o) { o.batch = -5; });
  refused("threads", [](TrainOptions& o) { o.threads = -1; });
  refused("momentum", [](TrainOptions& o) { o.momentum = -0.1f; });
  refused("momentum", [=](TrainOptions& o) { o.momentum = nan; });
  refused("weight", [](TrainOptions& o) { o.weight_decay = -1.f; });
  refused("smoothing", [](TrainOptions& o) { o.label_smoothing = 1.5f; });
  refused("clip", [](TrainOptions& o) { o.clip_norm = -1.f; });
  refused("accumulate", [](TrainOptions& o) { o.accumulate = 0; });
  refused("freeze", [](TrainOptions& o) { o.freeze = "no.such.parameter.*"; });
}
