// Training part of a network: what is frozen does not change, a frozen front runs as in inference, and a new head fits
// after it.
#include <sparsenet/session.h>

#include <algorithm>

#include "support/graph_maker.h"
#include "support/train_helpers.h"
#include "support/train_reference.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const char* const kSmall = "sparsenet-abc:blocks=2-2,k=4,path=2";
constexpr int64_t kFrozenBatch = 6;

TrainOptions freeze_options_of(const std::string& freeze, int threads = 1) {
  TrainOptions options;
  options.batch = kFrozenBatch;
  options.threads = threads;
  options.freeze = freeze;
  return options;
}

// Running statistics that differ from those of any batch, so that the two cannot be confused.
Graph network_with_statistics(const std::string& text) {
  Graph graph = train_network(text);
  Random random(5);
  for (Value& value : graph.values) {
    const bool mean = value.name.find("running_mean") != std::string::npos;
    if (!mean && value.name.find("running_var") == std::string::npos) continue;
    std::vector<float> values(static_cast<size_t>(element_count(value.shape)));
    for (float& v : values) v = static_cast<float>(mean ? random.real(-0.5, 0.5) : random.real(0.6, 1.8));
    value.constant = Tensor::from(value.shape, std::move(values));
  }
  return graph;
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.rfind(start, 0) == 0;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Trains a little and checks for every constant that it changed if and only if `moves(name)`.
template <class Moves>
void check_what_moves(const Graph& graph, const std::string& freeze, Moves moves) {
  TrainOptions options = freeze_options_of(freeze);
  options.weight_decay = 1e-3f;  // changes what has no gradient but is trained
  Trainer trainer = make_trainer(graph, options);
  for (const ParameterInfo& info : trainer.parameters()) {
    CHECK_MESSAGE(info.trained == moves(info.name), freeze, ": ", info.name);
    if (!info.trained) {
      CHECK_FALSE(info.decayed);
      continue;
    }
    CHECK(info.decayed);
  }
  train_steps(trainer, train_data(3 * kFrozenBatch, 10), kFrozenBatch, 0, 3, 0.1f);
  const Graph trained = trainer.graph().value();
  for (const Value& before : graph.values) {
    if (!before.is_constant) continue;
    const Value* after = find_value(trained, before.name);
    REQUIRE_MESSAGE(after, before.name);
    REQUIRE(after->shape == before.shape);
    const bool same = std::memcmp(after->constant.data, before.constant.data, before.constant.bytes()) == 0;
    CHECK_MESSAGE(same != moves(before.name), freeze, ": ", before.name, same ? " did not move" : " moved");
  }
}

// Mean cross-entropy in inference, and the gradient of the last bias: the mean of softmax - one-hot.
double inference_loss(const Graph& graph, const TrainData& data, int64_t classes, std::vector<double>* bias_gradient) {
  SessionOptions options;
  options.batch = kFrozenBatch;
  options.threads = 1;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->set_input(0, data.images.data(), static_cast<size_t>(kFrozenBatch) * data.image_size()).ok());
  REQUIRE(session->run().ok());
  const auto width = static_cast<size_t>(classes);
  std::vector<float> logits(static_cast<size_t>(kFrozenBatch) * width);
  REQUIRE(session->get_output(0, logits.data(), logits.size()).ok());
  double loss = 0;
  bias_gradient->assign(width, 0.0);
  for (size_t n = 0; n < static_cast<size_t>(kFrozenBatch); ++n) {
    const float* row = &logits[n * width];
    double sum = 0;
    for (size_t c = 0; c < width; ++c) sum += std::exp(static_cast<double>(row[c]));
    const auto label = static_cast<size_t>(data.labels[n]);
    loss += (std::log(sum) - static_cast<double>(row[label])) / static_cast<double>(kFrozenBatch);
    for (size_t c = 0; c < width; ++c) {
      const double probability = std::exp(static_cast<double>(row[c])) / sum;
      (*bias_gradient)[c] += (probability - (c == label ? 1 : 0)) / static_cast<double>(kFrozenBatch);
    }
  }
  return loss;
}

}  // namespace

TEST_CASE("what is frozen stays as it was, all else moves") {
  const Graph graph = network_with_statistics(kSmall);
  check_what_moves(graph, "none", [](const std::string&) { return true; });
  check_what_moves(graph, "all-but-head", [](const std::string& name) { return starts_with(name, "fc."); });
  check_what_moves(graph, "fc.*", [](const std::string& name) { return !starts_with(name, "fc."); });
  check_what_moves(graph, "stem.weight", [](const std::string& name) { return name != "stem.weight"; });
  check_what_moves(graph, "block0.*", [](const std::string& name) { return !starts_with(name, "block0."); });
  check_what_moves(graph, "block?.layers.1.*",
                   [](const std::string& name) { return name.find("layers.1.") == std::string::npos; });
  // One of scale and shift is still trained: batch statistics are used, and the running ones change.
  check_what_moves(graph, "*.bn0.weight", [](const std::string& name) { return !ends_with(name, ".bn0.weight"); });
}

TEST_CASE("bn-and-bias trains scales, shifts and biases alone") {
  const Graph graph = network_with_statistics(kSmall);
  check_what_moves(graph, "bn-and-bias", [&](const std::string& name) {
    const Value* value = find_value(graph, name);
    return value && value->shape.size() == 1;
  });
}

TEST_CASE("a frozen front gives the training step what inference gives") {
  for (const std::string text : {kSmall, "sparsenet-abc-v0", "resnet20"}) {
    const Graph graph = network_with_statistics(text);
    const TrainData data = train_data(kFrozenBatch, 10);
    std::vector<double> expected;
    const double loss = inference_loss(graph, data, 10, &expected);
    for (const int threads : {1, 2}) {
      Trainer trainer = make_trainer(graph, freeze_options_of("all-but-head", threads));
      const auto step = trainer.step(data.images.data(), data.labels.data(), 0.f);
      REQUIRE_MESSAGE(step.ok(), step.status().message());
      CHECK(step->loss == doctest::Approx(loss).epsilon(1e-5));
      bool found = false;
      for (size_t p = 0; p < trainer.parameters().size(); ++p) {
        const ParameterInfo& info = trainer.parameters()[p];
        std::vector<float> gradient(static_cast<size_t>(element_count(info.shape)));
        const Status got = trainer.get_gradient(p, gradient.data(), gradient.size());
        CHECK_MESSAGE(got.ok() == info.trained, info.name);
        if (!info.trained || info.shape.size() != 1) continue;
        found = true;
        REQUIRE(gradient.size() == expected.size());
        for (size_t c = 0; c < expected.size(); ++c) {
          CHECK(static_cast<double>(gradient[c]) == doctest::Approx(expected[c]).epsilon(1e-4).scale(0.1));
        }
      }
      CHECK(found);
    }
  }
}

TEST_CASE("a norm with frozen scale and shift uses its running statistics") {
  auto arch = parse_architecture("sparsenet-abc:blocks=2-2,k=4,path=2");
  REQUIRE(arch.ok());
  arch->image_size = 8;
  auto graph = build_graph(*arch, 3);
  REQUIRE(graph.ok());
  set_train_parameters(*graph);
  const TrainData data = train_data(kFrozenBatch, 10, {3, 8, 8});
  TrainReference::Options options;
  for (const Node& node : graph->nodes) {
    if (node.op == Op::kBatchNorm && starts_with(node.name, "block0.")) options.frozen_norms.insert(node.name);
  }
  CHECK(options.frozen_norms.size() == 8);
  const auto reference = TrainReference::create(*graph, data.images, data.labels, options);
  REQUIRE_MESSAGE(reference.ok(), reference.status().message());
  Trainer trainer = make_trainer(*graph, freeze_options_of("block0.*"));
  const auto step = trainer.step(data.images.data(), data.labels.data(), 0.f);
  REQUIRE_MESSAGE(step.ok(), step.status().message());
  CHECK(step->loss == doctest::Approx(reference->cross_entropy()).epsilon(1e-5));

  // Gradients pass through the frozen block to the stem before it.
  Random random(9);
  for (size_t p = 0; p < trainer.parameters().size(); ++p) {
    const ParameterInfo& info = trainer.parameters()[p];
    if (info.name != "stem.weight" && info.name != "fc.weight" && info.name != "trans0.0.weight") continue;
    std::vector<float> gradient(static_cast<size_t>(element_count(info.shape)));
    REQUIRE(trainer.get_gradient(p, gradient.data(), gradient.size()).ok());
    const auto id = static_cast<ValueId>(find_value(*graph, info.name) - graph->values.data());
    std::vector<double> delta(gradient.size());
    double found = 0, norm = 0;
    for (size_t i = 0; i < delta.size(); ++i) {
      delta[i] = random.chance(0.5) ? 1e-6 : -1e-6;
      found += static_cast<double>(gradient[i]) * delta[i];
      norm += std::pow(static_cast<double>(gradient[i]), 2);
    }
    const double up = reference->loss_at(id, delta);
    for (double& d : delta) d = -d;
    const double expected = (up - reference->loss_at(id, delta)) / 2;
    CHECK_MESSAGE(std::abs(found - expected) <= 1e-6 * 5e-3 * std::sqrt(norm), info.name, ": expected ", expected * 1e6,
                  ", found ", found * 1e6);
  }
}

TEST_CASE("training the head alone lowers the loss and takes less memory") {
  const Graph graph = network_with_statistics("sparsenet-abc-v0");
  const TrainData data = train_data(kFrozenBatch, 10);
  Trainer head = make_trainer(graph, freeze_options_of("all-but-head"));
  std::vector<double> losses;
  for (int i = 0; i < 40; ++i) losses.push_back(train_steps(head, data, kFrozenBatch, 0, 1, 0.03f)[0]);
  CHECK(losses.back() < 0.8 * losses.front());
  const TrainMemory all = make_trainer(graph, freeze_options_of("none")).memory(), few = head.memory();
  CHECK(4 * few.arena_bytes < all.arena_bytes);
  CHECK(few.parameter_bytes < all.parameter_bytes);
}

TEST_CASE("an op without a gradient is named, unless it lies in a frozen part") {
  Random random(4);
  GraphMaker g(random);
  const ValueId x = g.conv(g.input({1, 3, 8, 8}), 6, 3);
  const ValueId y =
      g.graph.add_node(Op::kAffine, "the-affine", {x, g.constant({6}, 1, 0.2), g.constant({6}, 0, 0.2)}, AffineAttrs{});
  const Graph graph = g.finish({g.head(y, 10)});
  const auto refused = Trainer::create(graph, freeze_options_of("none"));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().code() == StatusCode::kUnsupported);
  CHECK_MESSAGE(refused.status().message().find("the-affine") != std::string::npos, refused.status().message());

  const TrainData data = train_data(kFrozenBatch, 10, {3, 8, 8});
  std::vector<double> expected;
  const double loss = inference_loss(graph, data, 10, &expected);
  Trainer trainer = make_trainer(graph, freeze_options_of("all-but-head"));
  CHECK(train_steps(trainer, data, kFrozenBatch, 0, 1, 0.1f)[0] == doctest::Approx(loss).epsilon(1e-5));
}

TEST_CASE("a Softmax at the end is left out, in front of a Reshape too") {
  const TrainData data = train_data(3 * kFrozenBatch, 5, {3, 8, 8});
  std::vector<std::vector<double>> losses;
  for (const int softmax : {0, 1, 2}) {  // none, at the end, before the Reshape
    Random random(8);
    GraphMaker g(random);
    ValueId x = g.global_pool(g.conv(g.relu(g.conv(g.input({1, 3, 8, 8}), 6, 3)), 5, 1));
    if (softmax == 2) x = g.node(Op::kSoftmax, {x}, AxisAttrs{1});
    x = g.flatten(x);
    if (softmax == 1) x = g.node(Op::kSoftmax, {x}, AxisAttrs{1});
    Trainer trainer = make_trainer(g.finish({x}), freeze_options_of("none"));
    losses.push_back(train_steps(trainer, data, kFrozenBatch, 0, 3, 0.1f));
  }
  CHECK(losses[1] == losses[0]);
  CHECK(losses[2] == losses[0]);
}

TEST_CASE("running statistics that something else reads too are refused by name") {
  // Exporters store equal tensors once: all ones may be both scale and variance of a new network, or belong to two
  // layers.
  for (const int shared : {0, 1, 2}) {
    Random random(9);
    GraphMaker g(random);
    const ValueId scale = g.constant({6}, 1, 0), shift = g.constant({6}, 0, 0), mean = g.constant({6}, 0, 0);
    const ValueId variance = g.constant({6}, 1, 0);
    ValueId x = g.conv(g.input({1, 3, 8, 8}), 6, 3);
    x = g.graph.add_node(Op::kBatchNorm, "first", {x, scale, shift, mean, shared == 1 ? scale : variance},
                         BatchNormAttrs{});
    x = g.conv(g.relu(x), 6, 3);
    x = g.graph.add_node(Op::kBatchNorm, "second",
                         {x, g.constant({6}, 1, 0), g.constant({6}, 0, 0), shared == 2 ? mean : g.constant({6}, 0, 0),
                          g.constant({6}, 1, 0)},
                         BatchNormAttrs{});
    const auto trainer = Trainer::create(g.finish({g.head(g.relu(x), 5)}), freeze_options_of("none"));
    REQUIRE(trainer.ok() == (shared == 0));
    if (shared == 0) continue;
    CHECK(trainer.status().code() == StatusCode::kUnsupported);
    CHECK_MESSAGE(trainer.status().message().find("'first'") != std::string::npos, trainer.status().message());
  }
}

TEST_CASE("a pattern that matches everything is refused: nothing would be trained") {
  const auto trainer = Trainer::create(train_network(kSmall), freeze_options_of("*"));
  REQUIRE_FALSE(trainer.ok());
  CHECK(trainer.status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("a new head has the classes asked for, the same weights from the same seed, and learns") {
  Graph graph = train_network(kSmall);
  const Graph original = graph;
  Status replaced = replace_head(&graph, 4, 7);
  REQUIRE_MESSAGE(replaced.ok(), replaced.message());
  CHECK(graph.infer_shapes().ok());
  CHECK(graph.shape(graph.outputs[0]) == Shape{1, 4});
  const Value* weight = find_value(graph, "fc.weight");
  const Value* bias = find_value(graph, "fc.bias");
  REQUIRE((weight && bias));
  CHECK(weight->shape == Shape{4, find_value(original, "fc.weight")->shape[1]});
  CHECK(bias->shape == Shape{4});
  CHECK(std::all_of(bias->constant.f32(), bias->constant.f32() + 4, [](float v) { return v == 0.f; }));
  double square = 0;
  for (int64_t i = 0; i < weight->constant.elements(); ++i) {
    square += std::pow(static_cast<double>(weight->constant.f32()[i]), 2);
  }
  CHECK(square > 0);
  for (const Value& value : original.values) {  // everything else is unchanged
    if (!value.is_constant || starts_with(value.name, "fc.")) continue;
    const Value* after = find_value(graph, value.name);
    REQUIRE(after);
    CHECK(std::memcmp(after->constant.data, value.constant.data, value.constant.bytes()) == 0);
  }
  Graph again = original, other = original;
  REQUIRE(replace_head(&again, 4, 7).ok());
  REQUIRE(replace_head(&other, 4, 8).ok());
  CHECK(same_bits(constants_of(again), constants_of(graph)));
  CHECK_FALSE(same_bits(constants_of(other), constants_of(graph)));

  Trainer trainer = make_trainer(graph, freeze_options_of("all-but-head"));
  CHECK(trainer.classes() == 4);
  const TrainData data = train_data(kFrozenBatch, 4);
  std::vector<double> losses;
  for (int i = 0; i < 10; ++i) losses.push_back(train_steps(trainer, data, kFrozenBatch, 0, 1, 0.05f)[0]);
  CHECK(losses.back() < losses.front());
}

TEST_CASE("a head can be a 1x1 convolution; a graph that ends otherwise has none") {
  Random random(3);
  GraphMaker g(random);
  const ValueId x = g.relu(g.conv(g.input({1, 3, 8, 8}), 6, 3));
  Graph graph = g.finish({g.flatten(g.global_pool(g.conv(x, 5, 1)))});
  const Status replaced = replace_head(&graph, 9, 1);
  REQUIRE_MESSAGE(replaced.ok(), replaced.message());
  REQUIRE(graph.infer_shapes().ok());
  CHECK(graph.shape(graph.outputs[0]) == Shape{1, 9});

  // As written by converters: the Reshape contains the number of classes.
  GraphMaker l(random);
  const ValueId pooled = l.global_pool(l.conv(l.relu(l.conv(l.input({1, 3, 8, 8}), 6, 3)), 5, 1));
  Graph literal = l.finish({l.node(Op::kReshape, {pooled}, ReshapeAttrs{{0, 5}})});
  const Status again = replace_head(&literal, 9, 1);
  REQUIRE_MESSAGE(again.ok(), again.message());
  CHECK(literal.shape(literal.outputs[0]) == Shape{1, 9});
  // A head that cannot have another number of classes stays unchanged.
  GraphMaker o(random);
  const ValueId halves = o.conv(o.relu(o.conv(o.input({1, 3, 1, 1}), 6, 1)), 6, 1);
  Graph odd = o.finish({o.node(Op::kReshape, {halves}, ReshapeAttrs{{0, 2, 3}})});
  CHECK(replace_head(&odd, 9, 1).code() == StatusCode::kUnsupported);
  CHECK(odd.infer_shapes().ok());
  CHECK(odd.shape(odd.outputs[0]) == Shape{1, 2, 3});

  GraphMaker h(random);
  Graph bare = h.finish({h.flatten(h.global_pool(h.relu(h.input({1, 3, 8, 8}))))});
  CHECK(replace_head(&bare, 9, 1).code() == StatusCode::kUnsupported);
  Graph tiny = train_network(kSmall);
  CHECK_FALSE(replace_head(&tiny, 0, 1).ok());
  CHECK_FALSE(replace_head(&tiny, -3, 1).ok());
}
