// Training of networks that compute with integers, which it simulates. What a step computes is compared with the
// definition in double precision (support/smooth_network.h), the simulated network with the integers that it stands
// for, and what comes out of a training with what the trainer says.
#include <sparsenet/deploy.h>
#include <sparsenet/quantize.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <numeric>

#include "graph/training_ops.h"
#include "support/check_gradient.h"
#include "support/check_session.h"
#include "support/convert.h"
#include "support/describe.h"
#include "support/integer_maker.h"
#include "support/skip.h"
#include "support/smooth_network.h"
#include "support/train_graphs.h"
#include "support/train_helpers.h"
#include "train/simulated_form.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

using Values = std::vector<float>;

Values random_images(uint64_t seed, int64_t count, int64_t elements) {
  Random random(seed ^ 0x51ab);
  Values images(static_cast<size_t>(count * elements));
  for (float& v : images) v = static_cast<float>(random.normal());
  return images;
}

Graph quantised(Graph graph, uint64_t seed, const std::vector<std::string>& keep_float = {}) {
  Model model;
  model.graph = std::move(graph);
  REQUIRE(model.graph.set_batch(1).ok());
  const Values images = random_images(seed, 16, element_count(model.graph.shape(model.graph.inputs[0])));
  QuantizeOptions options;
  options.keep_float = keep_float;
  const auto result = quantize(model, images.data(), 16, options);
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  return result->graph;
}

// A dense block with groups of different ranges, a gate, a residual and pooling of each kind.
Graph float_network(uint64_t seed) {
  Random random(seed);
  GraphMaker g(random);
  const ValueId x = g.input({1, 3, 8, 8});
  const ValueId a = g.conv(x, 5, 3);
  const ValueId b = g.conv(g.relu(g.batch_norm(a)), 4, 3);
  const ValueId c = g.conv(g.relu(g.batch_norm(g.concat({a, b}))), 6, 1);
  const ValueId gate = g.node(Op::kSigmoid, {g.conv(g.global_pool(c), 6, 1)});
  const ValueId gated = g.node(Op::kMul, {c, gate});
  const ValueId all = g.pool(seed % 2 == 0 ? Op::kAveragePool : Op::kMaxPool, g.concat({a, b, gated}), 2, 2);
  const ValueId d = g.relu(g.conv(g.batch_norm(all), 8, 3));
  const ValueId e = g.relu(g.node(Op::kAdd, {d, g.conv(d, 8, 3, 1, seed % 3 == 0 ? 8 : 1)}));
  return g.finish({g.fully_connected(g.flatten(g.pool(Op::kAveragePool, e, 2, 2)), 5)});
}

// As other programs quantise: integers as input, one scale for some weights, tables and a Softmax.
Graph integer_network(uint64_t seed) {
  Random random(seed);
  IntegerMaker g(random);
  ConvAttrs same;
  same.kernel = {3, 3};
  same.pads = {1, 1, 1, 1};
  const ValueId in = g.input({1, 3, 6, 6}, g.quantization(0.02));
  ValueId x = g.layer(in, {6, 3, 3, 3}, same);
  const Op function = random.chance(0.5) ? Op::kTanh : Op::kHardSwish;
  // TensorFlow Lite's Tanh has one scale.
  const bool fixed = function == Op::kTanh && g.rounding == Rounding::kDouble;
  x = g.node(function, {x}, NoAttrs{}, fixed ? Quantization{{1.f / 128}, {0}, 0} : g.quantization(0.01));
  ConvAttrs each = same;
  each.groups = 6;
  ValueId y = g.layer(x, {6, 1, 3, 3}, each);
  x = g.node(Op::kAdd, {x, y}, NoAttrs{}, g.for_sums(std::max(g.scale(x), g.scale(y)), 300));
  x = g.node(Op::kClip, {x}, ClipAttrs{-1, 3}, g.quantization(3. / 200));
  PadAttrs pad;
  pad.before = {0, 0, 1, 0};
  pad.after = {0, 0, 1, 0};
  x = g.move(Op::kPad, {x}, pad);
  PoolAttrs pool;
  pool.kernel = pool.stride = {2, 2};
  x = g.move(random.chance(0.5) ? Op::kMaxPool : Op::kAveragePool, {x}, pool);
  x = g.node(Op::kQuantize, {x}, NoAttrs{}, g.for_sums(g.scale(x), 100));
  if (random.chance(0.5)) x = g.node(Op::kGlobalAveragePool, {x}, NoAttrs{}, g.for_sums(g.scale(x), 60));
  x = g.move(Op::kReshape, {x}, ReshapeAttrs{{0, -1}});
  x = g.layer(x, {4, g.graph.shape(x)[1]});
  if (random.chance(0.3)) x = g.node(Op::kSoftmax, {x}, AxisAttrs{1}, {{1.f / 256}, {-128}, 0});
  return g.finish({x});
}

Graph network_of(uint64_t seed) {
  return seed % 2 == 0 ? quantised(float_network(seed), seed) : integer_network(seed);
}

std::vector<int32_t> random_labels(uint64_t seed, int64_t count, int64_t classes) {
  Random random(seed ^ 0x1abe1);
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < count; ++i) labels.push_back(random.integer(0, static_cast<int>(classes) - 1));
  return labels;
}

// All of it simulated, with everything trained.
Graph simulated_whole(Graph graph) {
  separate_biases(&graph);
  std::vector<bool> trained(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    if (node.op != Op::kConv && node.op != Op::kFullyConnected && node.op != Op::kScale) continue;
    for (size_t i = 1; i < node.inputs.size(); ++i) trained[static_cast<size_t>(node.inputs[i])] = true;
  }
  const Status status = simulate_integers(&graph, trained);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return graph;
}

// The same for a batch. A Softmax at the end is left out, and the input's real numbers, as float32, are the input.
Graph simulated(Graph source, int64_t batch) {
  Graph graph = simulated_whole(std::move(source));
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    if (graph.nodes[i].op != Op::kSoftmax) continue;
    graph.outputs = {graph.nodes[i].inputs[0]};
    graph.nodes.resize(i);
  }
  ValueId integers = graph.inputs[0];
  if (graph.value(integers).type == DataType::kFloat32) {
    REQUIRE(graph.nodes[0].op == Op::kQuantize);
    integers = graph.nodes[0].outputs[0];
    graph.nodes.erase(graph.nodes.begin());
  }
  const auto real = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                 [&](const Node& n) { return n.op == Op::kDequantize && n.inputs[0] == integers; });
  REQUIRE(real != graph.nodes.end());
  graph.inputs[0] = real->outputs[0];
  graph.nodes.erase(real);
  REQUIRE(graph.set_batch(batch).ok());
  return graph;
}

// What the first Quantize, or the input itself, makes of images: real numbers that integers stand for.
Values rounded_input(const Graph& graph, const Values& images) {
  const Value* first = &graph.value(graph.inputs[0]);
  if (first->type == DataType::kFloat32) {
    REQUIRE(graph.nodes[0].op == Op::kQuantize);
    first = &graph.value(graph.nodes[0].outputs[0]);
  }
  const float scale = first->quantization.scales[0];
  const auto zero = static_cast<float>(first->quantization.zero_points[0]);
  Values out;
  for (const float v : images) {
    out.push_back((std::clamp(std::nearbyint(v / scale) + zero, -128.f, 127.f) - zero) * scale);
  }
  return out;
}

Values run(const Graph& graph, const Values& images, int64_t batch, Backend backend = Backend::kAuto) {
  SessionOptions options;
  options.batch = batch;
  options.backend = backend;
  options.threads = 1;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->set_input(0, images.data(), images.size()).ok());
  REQUIRE(session->run().ok());
  Values out(static_cast<size_t>(element_count(session->outputs()[0].shape)));
  REQUIRE(session->get_output(0, out.data(), out.size()).ok());
  return out;
}

// The scale of the integers that a Dequantize has made real.
float scale_behind(const Graph& graph, ValueId real) {
  for (const Node& node : graph.nodes) {
    if (node.outputs[0] == real) return graph.value(node.inputs[0]).quantization.scales[0];
  }
  return 0;
}

// The scale of the integers that become the network's output.
float output_scale(const Graph& graph) {
  float scale = 0;
  for (const Node& node : graph.nodes) {
    const Value& y = graph.value(node.outputs[0]);
    if (y.type == DataType::kInt8 && y.shape.size() == 2 && y.quantization.scales.size() == 1) {
      scale = y.quantization.scales[0];
    }
  }
  return scale;
}

bool ends_in_softmax(const Graph& graph) {
  return graph.nodes.back().op == Op::kSoftmax;
}

constexpr int64_t kBatch = 3;

}  // namespace

TEST_CASE("training of integers: loss and gradients are those of the definition") {
  int done = 0, failures = 0;
  const int wanted = scaled_by_effort(24);
  for (uint64_t seed = 1; done < wanted && seed < 4000; ++seed) {
    const Graph graph = network_of(seed);
    const Shape& shape = graph.shape(graph.inputs[0]);
    const Values images = rounded_input(graph, random_images(seed, kBatch, element_count(shape)));
    const Graph simulation = simulated(graph, kBatch);
    const std::vector<int32_t> labels = random_labels(seed, kBatch, simulation.shape(simulation.outputs[0])[1]);
    const auto smooth = smooth_network(simulation, images);
    REQUIRE_MESSAGE(smooth.ok(), smooth.status().message());
    TrainReference::Options reference_options;
    reference_options.frozen_norms = smooth->norms;
    const auto reference = TrainReference::create(smooth->graph, images, labels, reference_options);
    REQUIRE_MESSAGE(reference.ok(), reference.status().message());
    if (smooth->tie_distance < 1e-4 || reference->kink_distance() < 1e-5) continue;
    TrainOptions options;
    options.batch = kBatch;
    options.threads = 1 + done % 3;
    options.backend = done % 4 == 3 ? Backend::kReference : Backend::kAuto;
    ++done;
    Trainer trainer = make_trainer(graph, options);
    const auto step = trainer.step(images.data(), labels.data(), 0.f);
    REQUIRE_MESSAGE(step.ok(), step.status().message());
    std::string problem;
    if (!(std::abs(step->loss - reference->cross_entropy()) <= 1e-4 * (1 + reference->cross_entropy()))) {
      problem =
          "loss: expected " + std::to_string(reference->cross_entropy()) + ", found " + std::to_string(step->loss);
    }
    double largest = 0;
    std::vector<Values> gradients;
    for (size_t p = 0; p < trainer.parameters().size(); ++p) {
      CHECK(trainer.parameters()[p].trained);
      gradients.emplace_back(static_cast<size_t>(element_count(trainer.parameters()[p].shape)));
      REQUIRE(trainer.get_gradient(p, gradients.back().data(), gradients.back().size()).ok());
      for (const float v : gradients.back()) largest = std::max(largest, std::abs(static_cast<double>(v)));
    }
    const std::vector<float> units = weight_units(simulation);
    Random random(seed);
    for (size_t p = 0; p < gradients.size() && problem.empty(); ++p) {
      const std::string& name = trainer.parameters()[p].name;
      const auto found = std::find_if(smooth->graph.values.begin(), smooth->graph.values.end(),
                                      [&](const Value& v) { return v.name == name; });
      REQUIRE(found != smooth->graph.values.end());
      const auto id = found - smooth->graph.values.begin();
      for (float& v : gradients[p])
        v *= units[static_cast<size_t>(id)];  // the simulation's weights are multiples of it
      problem = check_gradient(*reference, static_cast<ValueId>(id), gradients[p], kGradientAbsolute * largest + 1e-7,
                               random);
      if (!problem.empty()) problem = "gradient of '" + name + "': " + problem;
    }
    if (problem.empty()) continue;
    if (++failures <= 2) FAIL_CHECK("seed ", seed, ": ", problem, "\n", describe_graph(simulation));
  }
  CHECK_MESSAGE(done == wanted, "only ", done, " networks are far enough from ties and kinks");
  CHECK(failures == 0);
}

TEST_CASE("training of integers: what is simulated is what the integers compute") {
  int64_t outputs = 0, same = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const Graph graph = network_of(seed);
    // What is rounded twice may end a step away, of small integers often, and layers behind multiply that.
    if (ends_in_softmax(graph) || graph.nodes.back().rounding == Rounding::kDouble) continue;
    const Values images =
        rounded_input(graph, random_images(seed, kBatch, element_count(graph.shape(graph.inputs[0]))));
    const auto smooth = smooth_network(simulated(graph, kBatch), images);
    REQUIRE_MESSAGE(smooth.ok(), smooth.status().message());
    const Values found = run(graph, images, kBatch);
    const double step = static_cast<double>(output_scale(graph));
    REQUIRE(found.size() == smooth->outputs.size());
    for (size_t i = 0; i < found.size(); ++i) {
      const double difference = std::abs(static_cast<double>(found[i]) - smooth->outputs.data[i]) / step;
      CHECK_MESSAGE(difference < 1.01, "seed ", seed, ", output ", i);
      same += difference < 0.01;
      ++outputs;
    }
  }
  CHECK(same * 100 >= outputs * 97);
}

namespace {

// The simulation of every node, but of the numbers that the integers in front of it stand for instead of those that
// were simulated: nothing grows from node to node. Its values follow those of the graph, which computes its integers
// beside it; `pairs`: a value, and its simulation.
Graph beside_integers(Graph graph, std::vector<std::pair<ValueId, ValueId>>* pairs) {
  Graph both = graph;
  const auto offset = static_cast<ValueId>(graph.values.size());
  const Graph simulation = simulated_whole(std::move(graph));
  for (Value value : simulation.values) {
    value.name += ".simulated";
    both.values.push_back(std::move(value));
  }
  std::vector<ValueId> real(simulation.values.size(), kNoValue);
  const auto real_of = [&](ValueId id) {  // in place of a value that was simulated
    if (id == kNoValue) return id;
    ValueId& known = real[static_cast<size_t>(id)];
    if (known != kNoValue) return known;
    known = id == simulation.inputs[0] ? id : id + offset;
    if (id >= offset || both.value(id).type != DataType::kInt8 || both.value(id).is_constant) return known;
    if (both.value(id).quantization.scales.size() > 1) return known;  // a concatenation of what is real already
    known = both.add_node(Op::kDequantize, "real", {id}, NoAttrs{}, both.value(id).name + ".real");
    return known;
  };
  for (Node node : simulation.nodes) {
    if (node.op == TrainOp::kRoundWeight) {  // weights are what they are rounded to
      std::vector<float> weight = to_float32(simulation.value(node.inputs[0]).constant);
      for (float& w : weight) w *= train_attrs(node).alpha;
      real[static_cast<size_t>(node.outputs[0])] =
          both.add_constant(node.name + ".weight", Tensor::from(simulation.shape(node.inputs[0]), std::move(weight)));
      continue;
    }
    const ValueId result = node.outputs[0];
    if (simulation.value(result).type == DataType::kInt8) continue;  // it is not simulated
    if (node.op == Op::kDequantize) {
      real[static_cast<size_t>(result)] = real_of(node.inputs[0]);
      continue;
    }
    for (ValueId& id : node.inputs) id = real_of(id);
    for (ValueId& id : node.outputs) {
      if (id < offset && both.value(id).type == DataType::kInt8 && both.value(id).quantization.scales.size() == 1) {
        pairs->emplace_back(real_of(id), id + offset);
      }
      id += offset;
    }
    both.nodes.push_back(std::move(node));
  }
  both.outputs.clear();
  for (const auto& [integer, other] : *pairs) both.outputs.insert(both.outputs.end(), {integer, other});
  return both;
}

}  // namespace

TEST_CASE("training of integers: every node of real networks is simulated to within a step") {
  std::vector<std::pair<std::string, Graph>> networks;
  for (const char* name : {"sparsenet-abc-v0-int8", "sparsenet-abc-v1-int8"}) {
    auto model = load_model(SPARSENET_SOURCE_DIR "/models/" + std::string(name) + ".snet");
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    networks.emplace_back(name, std::move(model->graph));
  }
  const std::string resnet8 = shared_file("models/mlperf-tiny-resnet8/pretrainedResnet_quant.tflite");
  if (!resnet8.empty() && can_convert()) {
    auto model = convert({resnet8});
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    networks.emplace_back("resnet8", std::move(model->graph));
  }
  for (const auto& [name, graph] : networks) {
    std::vector<std::pair<ValueId, ValueId>> pairs;
    const Graph both = beside_integers(graph, &pairs);
    SessionOptions options;
    options.backend = Backend::kReference;
    options.optimize = false;
    auto session = Session::create(both, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    const TensorInfo input = session->inputs()[0];
    Values image(static_cast<size_t>(element_count(input.shape)));
    Random random(5);
    for (float& v : image) v = static_cast<float>(random.real(-2, 2));
    if (input.type == DataType::kInt8) {
      for (float& v : image) v = input.quantization.scales[0] * static_cast<float>(random.integer(0, 255));
    }
    REQUIRE(session->set_input(0, image.data(), image.size()).ok());
    REQUIRE(session->run().ok());
    size_t all = 0, same = 0;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const Value& value = both.value(pairs[i].first);
      Values expected(static_cast<size_t>(element_count(value.shape))), found(expected.size());
      REQUIRE(session->get_output(2 * i, expected.data(), expected.size()).ok());
      REQUIRE(session->get_output(2 * i + 1, found.data(), found.size()).ok());
      const float scale = scale_behind(both, pairs[i].first);
      double most = 0;
      for (size_t k = 0; k < found.size(); ++k) {
        const double difference = std::abs(static_cast<double>(found[k] - expected[k])) / static_cast<double>(scale);
        most = std::max(most, difference);
        same += difference < 0.01;
        ++all;
      }
      CHECK_MESSAGE(most < 1.01, name, ": ", value.name);
    }
    CHECK_MESSAGE(same * 1000 >= all * 995, name, ": ", same, " of ", all);
    MESSAGE(name, ": ", same, " of ", all, " numbers are the same");
  }
}

TEST_CASE("training of integers: without a step the same integers come out") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const Graph graph = network_of(seed);
    TrainOptions options;
    options.batch = kBatch;
    options.weight_decay = 0;
    Trainer trainer = make_trainer(graph, options);
    const auto result = trainer.graph();
    REQUIRE_MESSAGE(result.ok(), result.status().message());
    for (const Value& before : graph.values) {
      if (!before.is_constant) continue;
      const Value* after = find_value(*result, before.name);
      REQUIRE(after);
      CHECK(after->type == before.type);
      const bool same = std::memcmp(after->constant.data, before.constant.data, before.constant.bytes()) == 0;
      CHECK_MESSAGE((same || before.type == DataType::kInt32), "seed ", seed, ": ", before.name);
      for (size_t i = 0; i < before.quantization.scales.size(); ++i) {
        CHECK(after->quantization.scales[i] == doctest::Approx(before.quantization.scales[i]).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("training of integers: learns, and its result computes with integers what the trainer says") {
  const Graph graph = quantised(train_network("sparsenet-abc:blocks=2-2,k=4,path=2"), 1);
  const TrainData data = train_data(64, 10);
  TrainOptions options;
  options.batch = 16;
  options.optimizer = Optimizer::kAdam;
  Trainer trainer = make_trainer(graph, options);
  const std::vector<double> losses = train_steps(trainer, data, 16, 0, 4, 0.002f);
  std::vector<double> last = losses;
  for (int round = 0; round < 12; ++round) last = train_steps(trainer, data, 16, 0, 4, 0.002f);
  const auto mean = [](const std::vector<double>& v) {
    return std::accumulate(v.begin(), v.end(), 0.) / static_cast<double>(v.size());
  };
  CHECK(mean(last) < 0.85 * mean(losses));
  const auto result = trainer.graph();
  REQUIRE_MESSAGE(result.ok(), result.status().message());
  REQUIRE(result->nodes.size() == graph.nodes.size());
  for (size_t i = 0; i < graph.values.size(); ++i) CHECK(result->values[i].type == graph.values[i].type);
  // The trainer's loss on a batch, and that of the integers.
  const Values images(data.images.begin(), data.images.begin() + 16 * 3072);
  const double simulated_loss = train_steps(trainer, data, 16, 0, 1, 0.f)[0];
  const Values logits = run(*result, images, 16);
  double loss = 0;
  for (size_t n = 0; n < 16; ++n) {
    double sum = 0;
    for (size_t k = 0; k < 10; ++k) sum += std::exp(static_cast<double>(logits[n * 10 + k]));
    loss += (std::log(sum) - static_cast<double>(logits[n * 10 + static_cast<size_t>(data.labels[n])])) / 16;
  }
  CHECK(loss == doctest::Approx(simulated_loss).epsilon(0.02));
  CHECK(run(*result, images, 16, Backend::kReference) == logits);
}

TEST_CASE("training of integers: the same bits from any number of threads, and from where it was saved") {
  const Graph graph = quantised(float_network(2), 2);
  const TrainData data = train_data(24, 5, {3, 8, 8});
  TrainOptions options;
  options.batch = 4;
  options.threads = 1;
  Trainer one = make_trainer(graph, options);
  const std::vector<double> losses = train_steps(one, data, 4, 0, 6, 0.01f);
  options.threads = 3;
  Trainer three = make_trainer(graph, options);
  const std::vector<double> begin = train_steps(three, data, 4, 0, 3, 0.01f);
  std::vector<unsigned char> state(three.state_bytes());
  REQUIRE(three.save_state(state.data(), state.size()).ok());
  Trainer other = make_trainer(graph, options);
  REQUIRE(other.load_state(state.data(), state.size()).ok());
  const std::vector<double> end = train_steps(other, data, 4, 3, 3, 0.01f);
  CHECK(std::equal(begin.begin(), begin.end(), losses.begin()));
  CHECK(std::equal(end.begin(), end.end(), losses.begin() + 3));
  CHECK(same_bits(parameters_of(one), parameters_of(other)));
}

TEST_CASE("training of integers: a memory budget changes nothing but the order of sums") {
  const Graph graph = quantised(float_network(4), 4);
  const TrainData data = train_data(8, 5, {3, 8, 8});
  TrainOptions options;
  options.batch = 8;
  options.threads = 1;
  Trainer whole = make_trainer(graph, options);
  const TrainMemory memory = whole.memory();
  options.memory_budget = (memory.arena_bytes + memory.scratch_bytes + memory.packed_bytes) / 2;
  Trainer parts = make_trainer(graph, options);
  CHECK((parts.memory().micro_batch < 8 || parts.memory().recomputed > 0));
  CHECK(parts.memory().arena_bytes < memory.arena_bytes);
  const double a = train_steps(whole, data, 8, 0, 1, 0.01f)[0], b = train_steps(parts, data, 8, 0, 1, 0.01f)[0];
  CHECK(a == doctest::Approx(b).epsilon(1e-5));
}

TEST_CASE("training of integers: what is in front of the trained layers stays integers") {
  for (const bool float_head : {false, true}) {
    const Graph graph = quantised(
        float_network(6), 6, float_head ? std::vector<std::string>{"FullyConnected*"} : std::vector<std::string>{});
    TrainOptions options;
    options.batch = 4;
    options.freeze = "all-but-head";
    Trainer trainer = make_trainer(graph, options);
    int integer_layers = 0, simulated_values = 0;
    for (const StepInfo& step : trainer.steps()) {
      integer_layers += step.op == "Conv" && step.kernel.find("_s8") != std::string::npos;
      simulated_values += step.op == "FakeQuantize";
    }
    CHECK(integer_layers >= 5);
    CHECK(simulated_values == (float_head ? 0 : 1));
    const TrainData data = train_data(16, 5, {3, 8, 8});
    train_steps(trainer, data, 4, 0, 4, 0.05f);
    const Graph result = trainer.graph().value();
    int moved = 0;
    for (const Value& before : graph.values) {
      if (!before.is_constant) continue;
      const Value* after = find_value(result, before.name);
      REQUIRE(after);
      moved += std::memcmp(after->constant.data, before.constant.data, before.constant.bytes()) != 0;
    }
    CHECK(moved == 2);  // the last layer's weight and bias
    Graph other = graph;
    const Status replaced = replace_head(&other, 7, 1);
    CHECK(replaced.ok() == float_head);
    if (float_head) {
      CHECK(other.shape(other.outputs[0]) == Shape{1, 7});
    } else {
      CHECK(replaced.message().find("computes with integers, whose ranges were measured") != std::string::npos);
    }
  }
}

TEST_CASE("training of integers: plans for devices refuse it, and numbers that are not finite are told") {
  Model model;
  model.graph = quantised(float_network(8), 8);
  const auto plan = make_training_plan(model, "portable-f32");
  REQUIRE_FALSE(plan.ok());
  CHECK(plan.status().message().find("computes with integers: plans that train on a device") != std::string::npos);
  TrainOptions options;
  options.batch = 2;
  Trainer trainer = make_trainer(model.graph, options);
  const TrainData data = train_data(2, 5, {3, 8, 8});
  REQUIRE(trainer.step(data.batch_images(0, 2), data.batch_labels(0, 2), 3e38f).ok());
  const auto graph = trainer.graph_view();
  REQUIRE_FALSE(graph.ok());
  CHECK(graph.status().code() == StatusCode::kNotFinite);
  CHECK(graph.status().message().find("tensor '") == 0);
}

TEST_CASE("steps that simulate integers: all kernels give the same bits") {
  Random random(7);
  Graph graph;
  const ValueId x = graph.add_input("x", {2, 13, 3, 5});
  TrainAttrs a;
  a.activation = {Activation::Kind::kClip, -3.f, 12.9375f};
  a.alpha = 0.0625f;
  a.beta = -80;
  const ValueId y = graph.add_node(TrainOp::kFakeQuantize, "even", {x}, to_attrs(a));
  a.epsilon = -1.f / 1024;
  const ValueId z = graph.add_node(TrainOp::kFakeQuantize, "away", {x}, to_attrs(a));
  a.epsilon = 1.f / 1024;
  const ValueId up = graph.add_node(TrainOp::kFakeQuantize, "up", {x}, to_attrs(a));
  graph.outputs = {y, z, up};
  Values numbers;
  for (int i = 0; i < 2 * 13 * 15; ++i) {
    numbers.push_back(
        static_cast<float>(random.chance(0.5) ? (random.integer(-100, 300) + 0.5) / 16 : 4 * random.normal()));
  }
  std::vector<Values> all;
  for (const Backend backend : {Backend::kReference, Backend::kPortable}) {
    SessionOptions options;
    options.backend = backend;
    options.batch = 2;
    auto session = Session::create(graph, options);
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    REQUIRE(session->set_input(0, numbers.data(), numbers.size()).ok());
    REQUIRE(session->run().ok());
    for (size_t o = 0; o < 3; ++o) {
      all.emplace_back(numbers.size());
      REQUIRE(session->get_output(o, all.back().data(), numbers.size()).ok());
    }
  }
  for (size_t o = 0; o < 3; ++o) CHECK(all[o] == all[o + 3]);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const double v = std::clamp(static_cast<double>(numbers[i]), -3., 12.9375) / 0.0625 - 80;
    const double even = std::nearbyint(v), away = std::trunc(v + (v < 0 ? -0.5 : 0.5) * (1 + 1. / 512));
    CHECK(static_cast<double>(all[0][i]) == (even + 80) * 0.0625);
    CHECK(static_cast<double>(all[1][i]) == (away + 80) * 0.0625);
    CHECK(static_cast<double>(all[2][i]) == (std::floor(v + 0.5 + 1. / 1024) + 80) * 0.0625);
  }
}
