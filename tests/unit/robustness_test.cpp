// Hostile and odd graphs: whatever they contain, the result is a Status or an output, never a crash. To be run under
// the sanitizers.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "support/check_session.h"
#include "support/describe.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr int64_t kMaxElements = int64_t{1} << 22;  // above it a mutated graph may be legal, but is too slow to test

int64_t odd_number(Random& random) {
  static const std::vector<int64_t> kList{0,  -1, 1,  2,  3,       7,    16,        255,       65536,
                                          -2, 64, 99, -7, 1 << 20, 4096, INT32_MAX, INT32_MIN, int64_t{1} << 40};
  return random.pick(kList);
}

// Changes one number somewhere in the attributes.
struct AttrMutator {
  Random& random;

  void change(int32_t& v) { v = static_cast<int32_t>(odd_number(random)); }
  void change(int64_t& v) { v = odd_number(random); }
  void change(float& v) {
    static const std::vector<float> kList{0, -1, 1e30f, -1e30f, INFINITY, -INFINITY, NAN, 1e-30f};
    v = random.pick(kList);
  }
  template <class T>
  void change_one(T& list) {
    if (!list.empty()) change(list[random.index(list.size())]);
  }
  template <class T>
  void resize(std::vector<T>& list) {
    if (random.chance(0.5) && !list.empty()) {
      list.pop_back();
    } else {
      list.push_back(static_cast<T>(odd_number(random)));
    }
  }

  void operator()(NoAttrs&) {}
  void operator()(ConvAttrs& a) {
    switch (random.integer(0, 5)) {
      case 0:
        change_one(a.kernel);
        break;
      case 1:
        change_one(a.stride);
        break;
      case 2:
        change_one(a.dilation);
        break;
      case 3:
        change_one(a.pads);
        break;
      case 4:
        change(a.groups);
        break;
      default:
        (*this)(a.activation);
    }
  }
  void operator()(Activation& a) {
    if (random.chance(0.5)) a.kind = static_cast<Activation::Kind>(random.integer(0, 9));
    change(random.chance(0.5) ? a.a : a.b);
  }
  void operator()(FullyConnectedAttrs& a) { (*this)(a.activation); }
  void operator()(BatchNormAttrs& a) { change(a.epsilon); }
  void operator()(ClipAttrs& a) { change(random.chance(0.5) ? a.low : a.high); }
  void operator()(AlphaBetaAttrs& a) { change(random.chance(0.5) ? a.alpha : a.beta); }
  void operator()(AxisAttrs& a) { change(a.axis); }
  void operator()(SplitAttrs& a) {
    switch (random.integer(0, 2)) {
      case 0:
        change(a.axis);
        break;
      case 1:
        resize(a.sizes);
        break;
      default:
        change_one(a.sizes);
    }
  }
  void operator()(SliceAttrs& a) {
    switch (random.integer(0, 4)) {
      case 0:
        change_one(a.axes);
        break;
      case 1:
        change_one(a.starts);
        break;
      case 2:
        change_one(a.ends);
        break;
      case 3:
        change_one(a.steps);
        break;
      default:
        resize(a.steps);
    }
  }
  void operator()(PadAttrs& a) {
    switch (random.integer(0, 2)) {
      case 0:
        change_one(a.before);
        break;
      case 1:
        resize(a.after);
        break;
      default:
        change(a.value);
    }
  }
  void operator()(PoolAttrs& a) {
    switch (random.integer(0, 3)) {
      case 0:
        change_one(a.kernel);
        break;
      case 1:
        change_one(a.stride);
        break;
      case 2:
        change_one(a.pads);
        break;
      default:
        a.ceil_mode = !a.ceil_mode;
    }
  }
  void operator()(ReduceAttrs& a) { random.chance(0.5) ? change_one(a.axes) : resize(a.axes); }
  void operator()(ReshapeAttrs& a) { random.chance(0.5) ? change_one(a.dims) : resize(a.dims); }
  void operator()(TransposeAttrs& a) { random.chance(0.5) ? change_one(a.perm) : resize(a.perm); }
  void operator()(AffineAttrs& a) { (*this)(a.activation); }
  void operator()(std::shared_ptr<const TrainAttrs>&) {}  // not in graphs made by users
  void operator()(AttentionAttrs& a) { (*this)(a.activation); }
};

ValueId odd_value(const Graph& graph, Random& random) {
  if (random.chance(0.8)) return static_cast<ValueId>(random.index(graph.values.size()));
  return static_cast<ValueId>(odd_number(random));
}

void mutate(Graph& graph, Random& random) {
  Node& node = graph.nodes[random.index(graph.nodes.size())];
  Value& value = graph.values[random.index(graph.values.size())];
  switch (random.integer(0, 10)) {
    case 0:
    case 1:
    case 2: {
      AttrMutator mutator{random};
      std::visit(mutator, node.attrs);
      break;
    }
    case 3:
      if (!node.inputs.empty()) node.inputs[random.index(node.inputs.size())] = odd_value(graph, random);
      break;
    case 4:
      if (!node.outputs.empty()) node.outputs[random.index(node.outputs.size())] = odd_value(graph, random);
      break;
    case 5:
      node.op = static_cast<Op>(random.integer(0, 27));
      break;
    case 6:
      if (!value.shape.empty() && !value.is_constant)
        value.shape[random.index(value.shape.size())] = odd_number(random);
      break;
    case 7:
      if (random.chance(0.5))
        node.inputs.push_back(odd_value(graph, random));
      else if (!node.inputs.empty())
        node.inputs.pop_back();
      break;
    case 8: {
      std::vector<ValueId>& list = random.chance(0.5) ? graph.outputs : graph.inputs;
      if (random.chance(0.5))
        list.push_back(odd_value(graph, random));
      else if (!list.empty())
        list.pop_back();
      break;
    }
    case 9:
      std::swap(graph.nodes[random.index(graph.nodes.size())], node);
      break;
    default:
      if (random.chance(0.5))
        node.outputs.push_back(odd_value(graph, random));
      else if (!node.outputs.empty())
        node.outputs.pop_back();
  }
}

bool too_large(const Graph& graph) {
  int64_t total = 0;
  for (const Value& value : graph.values) total += std::max<int64_t>(0, element_count(value.shape));
  int64_t work = 0;
  for (const Node& node : graph.nodes) {
    if (node.outputs.empty()) continue;
    int64_t window = 1;
    if (const auto* a = std::get_if<ConvAttrs>(&node.attrs)) window = int64_t{a->kernel[0]} * a->kernel[1] * 64;
    if (const auto* a = std::get_if<PoolAttrs>(&node.attrs)) window = int64_t{a->kernel[0]} * a->kernel[1];
    work += window * element_count(graph.shape(node.outputs[0]));
  }
  return total > kMaxElements || work > 40 * kMaxElements;
}

// Creates a session and runs it if the graph is legal; the results of a legal graph are also compared with the
// reference.
void try_graph(const Graph& graph, Backend backend, const std::string& what) {
  Graph checked = graph;
  SessionOptions options;
  options.backend = backend;
  options.threads = 1;
  bool legal = checked.infer_shapes().ok();
  if (legal) {
    options.batch = checked.shape(checked.inputs[0])[0];
  } else {
    legal = checked.set_batch(options.batch).ok();  // may repair inputs that disagree on the batch
  }
  if (legal && too_large(checked)) return;
  auto session = Session::create(graph, options);
  CHECK_MESSAGE((legal || !session.ok()), what, ": created a session of a graph that infer_shapes refuses");
  if (!session.ok()) {
    CHECK_MESSAGE(!session.status().message().empty(), what);
    return;
  }
  const std::vector<Array> inputs = random_inputs(checked, 1);
  const auto outputs = run_session(*session, inputs);
  CHECK_MESSAGE(outputs.ok(), what, ": ", outputs.status().message());
  const auto expected = evaluate(checked, inputs);
  if (!outputs.ok() || !expected.ok()) return;
  for (size_t i = 0; i < expected->size(); ++i) {
    bool finite = true;
    for (double v : (*expected)[i].data) finite = finite && std::abs(v) < 1e20;
    if (!finite) return;  // with NaN in the input, any output is allowed
  }
  for (size_t i = 0; i < expected->size(); ++i) {
    const double error = relative_error((*expected)[i].data, (*outputs)[i]);
    // Mutations create sums that cancel; this suite is only concerned with gross errors.
    CHECK_MESSAGE(error < 1e-2, what, " output ", i, " error ", error, "\n", describe_graph(checked));
  }
}

}  // namespace

TEST_CASE("mutated graphs are refused or run, never crashed on") {
  const std::vector<Backend> backends = cpu_backends();
  for (const std::vector<Generator>* list :
       {&layer_generators(), &data_generators(), &general_generators(), &network_generators()}) {
    for (const Generator& generator : *list) {
      const int seeds = scaled_by_effort(list == &network_generators() ? 60 : 40);
      for (int s = 0; s < seeds; ++s) {
        const auto seed = static_cast<uint64_t>(s);
        Graph graph = make_graph(generator, seed % 7);
        Random random(seed * 31 + 5);
        for (int i = random.integer(1, 3); i > 0; --i) mutate(graph, random);
        try_graph(graph, backends[static_cast<size_t>(seed) % backends.size()], label(generator, seed) + " mutated");
      }
    }
  }
}

TEST_CASE("infinities and NaN pass through") {
  const float values[] = {INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1e-45f};
  for (Backend backend : cpu_backends()) {
    for (const std::vector<Generator>* list : {&layer_generators(), &network_generators()}) {
      for (const Generator& generator : *list) {
        const Graph graph = make_graph(generator, 2);
        std::vector<Array> inputs = random_inputs(graph, 2);
        size_t next = 0;
        for (Array& array : inputs) {
          for (double& v : array.data) v = static_cast<double>(values[next++ % 6]);
        }
        SessionOptions options;
        options.backend = backend;
        options.threads = 2;
        options.batch = graph.shape(graph.inputs[0])[0];
        auto session = Session::create(graph, options);
        if (!session.ok() && generator.may_refuse) continue;
        REQUIRE_MESSAGE(session.ok(), generator.name, ": ", session.status().message());
        CHECK(run_session(*session, inputs).ok());
      }
    }
  }
}

TEST_CASE("sizes that overflow are refused, also where single dimensions fit") {
  const int64_t big = int64_t{1} << 31;
  for (const Shape& shape : {Shape{1, 3, big, big}, Shape{1, big, 1, 1}, Shape{1, 1, big, 1}, Shape{1, big, big, 1},
                             Shape{1, 1 << 20, 1 << 20, 1 << 20}}) {
    Graph g;
    const ValueId x = g.add_input("x", shape);
    g.outputs = {g.add_node(Op::kRelu, "relu", {x})};
    SessionOptions options;
    const auto session = Session::create(g, options);
    if (session.ok()) continue;  // a machine with that much memory
    CHECK_FALSE(session.status().message().empty());
  }
}

TEST_CASE("constants at any float address") {
  Graph g;
  const ValueId x = g.add_input("x", {1, 8, 5, 5});
  Tensor weight;
  weight.shape = {16, 8, 1, 1};
  auto storage = std::make_shared<std::vector<char>>(weight.bytes() + 128);
  char* at = storage->data();
  at += 64 - reinterpret_cast<uintptr_t>(at) % 64 + 4;  // 4 bytes beyond a multiple of 64
  for (size_t i = 0; i < 16 * 8; ++i) {
    const float v = static_cast<float>(i % 7) - 3;
    std::memcpy(at + 4 * i, &v, sizeof v);
  }
  weight.data = at;
  weight.owner = storage;
  g.outputs = {g.add_node(Op::kConv, "conv", {x, g.add_constant("w", weight)}, ConvAttrs{})};
  const std::vector<Array> inputs = random_inputs(g, 1);
  const auto expected = evaluate(g, inputs);
  REQUIRE(expected.ok());
  for (Backend backend : cpu_backends()) {
    CheckOptions options;
    options.backend = backend;
    const std::string problem = check_session(g, inputs, *expected, options);
    CHECK_MESSAGE(problem.empty(), problem);
  }
}

TEST_CASE("long chains, wide concats and many outputs") {
  Graph chain;
  ValueId x = chain.add_input("x", {1, 4});
  for (int i = 0; i < 3000; ++i)
    x = chain.add_node(i % 2 ? Op::kTanh : Op::kSigmoid, "n", {x}, NoAttrs{}, "v" + std::to_string(i));
  chain.outputs = {x};

  Graph wide;
  x = wide.add_input("x", {1, 3, 2, 2});
  std::vector<ValueId> parts;
  for (int i = 0; i < 1500; ++i) {
    parts.push_back(i % 3 ? x : wide.add_node(Op::kRelu, "r", {x}, NoAttrs{}, "v" + std::to_string(i)));
  }
  wide.outputs = {wide.add_node(Op::kConcat, "concat", parts, AxisAttrs{1})};

  Graph many;
  x = many.add_input("x", {1, 3, 2, 2});
  for (int i = 0; i < 500; ++i) {
    many.outputs.push_back(many.add_node(Op::kTanh, "t", {x}, NoAttrs{}, "v" + std::to_string(i)));
  }
  for (const Graph* graph : {&chain, &wide, &many}) {
    const std::vector<Array> inputs = random_inputs(*graph, 1);
    const auto expected = evaluate(*graph, inputs);
    REQUIRE(expected.ok());
    for (Backend backend : cpu_backends()) {
      CheckOptions options;
      options.backend = backend;
      const std::string problem = check_session(*graph, inputs, *expected, options);
      CHECK_MESSAGE(problem.empty(), problem.substr(0, 400));
    }
  }
}

TEST_CASE("one pixel, one channel, kernels larger than the image") {
  for (int32_t kernel : {1, 3, 5, 7}) {
    for (int64_t channels : {1, 5}) {
      Random random(static_cast<uint64_t>(kernel));
      GraphMaker g(random);
      const ValueId x = g.input({1, channels, 1, 1});
      ValueId y = g.conv(x, channels, kernel);
      y = g.conv(g.relu(g.batch_norm(y)), 2 * channels, kernel, 2);
      const Graph graph = g.finish({g.head(y, 3)});
      const std::vector<Array> inputs = random_inputs(graph, 1);
      const auto expected = evaluate(graph, inputs);
      REQUIRE(expected.ok());
      for (Backend backend : cpu_backends()) {
        CheckOptions options;
        options.backend = backend;
        options.threads = 3;
        const std::string problem = check_session(graph, inputs, *expected, options);
        CHECK_MESSAGE(problem.empty(), problem);
      }
    }
  }
}
