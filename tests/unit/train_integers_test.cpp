// Training of networks that compute with integers, which it simulates. What a step computes is compared with the
// definition in double precision (support/smooth_network.h), and the simulated network with the integers that it stands
// for.
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
#include "support/trained_integers.h"
#include "train/simulated_form.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

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
