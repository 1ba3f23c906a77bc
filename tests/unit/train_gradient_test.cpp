// The gradient of every op, compared with central differences of the loss in double precision, on random small
// classifiers.
//
// A graph is used only if no input of a rectifier, clip or pooling window is closer than 1e-3 to a discontinuity of its
// slope. For each trained parameter a few elements, and two directions that change all of its elements at once, are
// compared. Bound: 1e-3 of the largest element (of the norm, for a direction) plus 1e-6. The loss is compared within
// 1e-5, and the running statistics after the step within 1e-5 of their largest value.
#include <doctest/doctest.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "support/check_gradient.h"
#include "support/check_session.h"
#include "support/describe.h"
#include "support/skip.h"
#include "support/train_graphs.h"
#include "support/train_reference.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr int kMaxReports = 2;  // per generator

struct Case {
  Graph graph;
  std::vector<float> images;
  std::vector<int32_t> labels;
  std::string freeze = "none";
  std::set<std::string> trained;  // parameters
  TrainReference::Options options;
};

// Freezes some parameters in one case in four: those whose names end or begin in a certain way.
void choose_parameters(Case& c, Random& random) {
  std::set<std::string> all;
  for (const Node& node : c.graph.nodes) {
    if (node.op != Op::kConv && node.op != Op::kFullyConnected && node.op != Op::kBatchNorm) continue;
    for (size_t i = 1; i < std::min<size_t>(node.inputs.size(), 3); ++i) {
      if (node.inputs[i] != kNoValue) all.insert(c.graph.value(node.inputs[i]).name);
    }
  }
  c.trained = all;
  if (!random.chance(0.25)) return;
  const std::string digit(1, static_cast<char>('0' + random.integer(0, 9)));
  const bool by_end = random.chance(0.5);
  for (const std::string& name : all) {
    if (by_end ? name.substr(name.size() - 1) == digit : name.rfind("c" + digit, 0) == 0) c.trained.erase(name);
  }
  if (c.trained.empty() || c.trained == all) {
    c.trained = all;
    return;
  }
  c.freeze = by_end ? "*" + digit : "c" + digit + "*";
  for (const Node& node : c.graph.nodes) {
    if (node.op != Op::kBatchNorm) continue;
    const auto frozen = [&](size_t i) { return c.trained.count(c.graph.value(node.inputs[i]).name) == 0; };
    if (frozen(1) && frozen(2)) c.options.frozen_norms.insert(node.name);
  }
}

Case make_case(const Generator& generator, uint64_t seed) {
  Case c;
  c.graph = make_graph(generator, seed);
  Random random(seed ^ 0x7EAC4E5ull);
  const Shape& shape = c.graph.shape(c.graph.inputs[0]);
  c.images.resize(static_cast<size_t>(element_count(shape)));
  for (float& v : c.images) v = static_cast<float>(random.normal());
  const auto classes = static_cast<int>(c.graph.shape(c.graph.outputs[0])[1]);
  for (int64_t n = 0; n < shape[0]; ++n) c.labels.push_back(random.integer(0, classes - 1));
  c.options.label_smoothing = random.chance(0.3) ? 0.2 : 0;
  choose_parameters(c, random);
  return c;
}

ValueId id_of_value(const Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.values.size(); ++i) {
    if (graph.values[i].name == name) return static_cast<ValueId>(i);
  }
  return kNoValue;
}

std::string check_running(const TrainReference& reference, const Graph& before, const Graph& after) {
  for (const auto& [id, expected] : reference.running()) {
    const std::string& name = before.value(id).name;
    const ValueId found = id_of_value(after, name);
    if (found == kNoValue) return "'" + name + "' is missing from the trained graph";
    const Tensor& tensor = after.value(found).constant;
    if (tensor.elements() != static_cast<int64_t>(expected.size())) return "'" + name + "' has another size";
    double largest = 0, error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      error = std::max(error, std::abs(static_cast<double>(tensor.f32()[i]) - expected[i]));
    }
    if (!(error <= 1e-5 * largest + 1e-6)) return "running statistic '" + name + "' is off by " + std::to_string(error);
  }
  return {};
}

std::string check_case(const Case& c, const TrainReference& reference, int threads, uint64_t seed) {
  TrainOptions options;
  options.batch = static_cast<int64_t>(c.labels.size());
  options.threads = threads;
  options.freeze = c.freeze;
  options.label_smoothing = static_cast<float>(c.options.label_smoothing);
  auto trainer = Trainer::create(c.graph, options);
  if (!trainer.ok()) return trainer.status().message();
  const auto step = trainer->step(c.images.data(), c.labels.data(), 0.f);
  if (!step.ok()) return step.status().message();
  std::ostringstream out;
  if (!(std::abs(step->loss - reference.cross_entropy()) <= 1e-5 * (1 + reference.cross_entropy()))) {
    out << "loss: expected " << reference.cross_entropy() << ", found " << step->loss;
    return out.str();
  }
  if (step->correct != reference.correct() && reference.margin() > 1e-5) return "another count of right answers";
  if (step->images != options.batch || !step->updated) return "images or updated is wrong";

  std::vector<std::vector<float>> gradients;
  double largest = 0;
  size_t checked = 0;
  for (size_t p = 0; p < trainer->parameters().size(); ++p) {
    const ParameterInfo& info = trainer->parameters()[p];
    gradients.emplace_back(static_cast<size_t>(element_count(info.shape)), std::nanf(""));
    if (info.trained != (c.trained.count(info.name) > 0)) return "parameter '" + info.name + "': trained is wrong";
    if (!info.trained) continue;
    ++checked;
    const Status got = trainer->get_gradient(p, gradients.back().data(), gradients.back().size());
    if (!got.ok()) return got.message();
    for (const float g : gradients.back()) {
      if (!std::isfinite(g)) return "the gradient of '" + info.name + "' is not finite";
      largest = std::max(largest, std::abs(static_cast<double>(g)));
    }
  }
  Random random(seed);
  for (size_t p = 0; p < gradients.size(); ++p) {
    const ParameterInfo& info = trainer->parameters()[p];
    if (!info.trained) continue;
    const ValueId id = id_of_value(c.graph, info.name);
    if (id == kNoValue) return "parameter '" + info.name + "' is not a constant of the graph";
    if (info.shape != c.graph.shape(id)) return "parameter '" + info.name + "' has another shape";
    const std::string problem = check_gradient(reference, id, gradients[p], kGradientAbsolute * largest + 1e-7, random);
    if (!problem.empty()) return "gradient of '" + info.name + "' " + to_string(info.shape) + ": " + problem;
  }
  if (checked != c.trained.size()) {
    return std::to_string(checked) + " parameters are trained, expected " + std::to_string(c.trained.size());
  }
  return check_running(reference, c.graph, trainer->graph().value());
}

// Checks `cases` graphs of a generator that are far from kinks.
void check_generator(const Generator& generator, int cases, double kink) {
  int done = 0, failures = 0;
  for (uint64_t seed = 1; done < cases && seed < 400; ++seed) {
    const Case c = make_case(generator, seed);
    const auto reference = TrainReference::create(c.graph, c.images, c.labels, c.options);
    REQUIRE_MESSAGE(reference.ok(), label(generator, seed), ": ", reference.status().message());
    if (reference->kink_distance() < kink) continue;
    const int threads = 1 + done % 3;
    const std::string problem = check_case(c, *reference, threads, seed);
    ++done;
    if (problem.empty()) continue;
    if (++failures <= kMaxReports) {
      FAIL_CHECK(label(generator, seed), ", ", threads, " threads, freeze ", c.freeze, ": ", problem, "\n",
                 describe_graph(c.graph));
    }
  }
  CHECK_MESSAGE(done == cases, generator.name, ": only ", done, " graphs are far enough from kinks");
  if (failures > kMaxReports) FAIL_CHECK(generator.name, ": ", failures, " failures in all");
}

void check_all(const std::vector<Generator>& generators, int cases, double kink = 1e-3) {
  for (const Generator& generator : generators) check_generator(generator, scaled_by_effort(cases), kink);
}

}  // namespace

TEST_CASE("gradients of layers equal finite differences") {
  check_all(train_layer_generators(), 40);
}

TEST_CASE("gradients of data movement and arithmetic equal finite differences") {
  check_all(train_data_generators(), 40);
}

TEST_CASE("gradients of ops of general networks equal finite differences") {
  check_all(train_general_generators(), 40);
}

TEST_CASE("gradients of small networks equal finite differences") {
  check_all(train_network_generators(), 8, 1e-4);
  check_generator(train_network_generators().back(), scaled_by_effort(120), 1e-4);  // random DAGs: many, and fast
}

namespace {

using Gradients = std::map<std::string, std::vector<float>>;

Result<Gradients> gradients_on(const Case& c, Backend backend, int threads, double* loss) {
  TrainOptions options;
  options.batch = static_cast<int64_t>(c.labels.size());
  options.threads = threads;
  options.backend = backend;
  auto trainer = Trainer::create(c.graph, options);
  if (!trainer.ok()) return trainer.status();
  const auto step = trainer->step(c.images.data(), c.labels.data(), 0.f);
  if (!step.ok()) return step.status();
  *loss = step->loss;
  Gradients gradients;
  for (size_t p = 0; p < trainer->parameters().size(); ++p) {
    std::vector<float>& gradient = gradients[trainer->parameters()[p].name];
    gradient.assign(static_cast<size_t>(element_count(trainer->parameters()[p].shape)), std::nanf(""));
    SPARSENET_RETURN_IF_ERROR(trainer->get_gradient(p, gradient.data(), gradient.size()));
  }
  return gradients;
}

double norm_of(const std::vector<float>& v) {
  double square = 0;
  for (const float x : v) square += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(square);
}

}  // namespace

// Bound: 2e-3 of the tensor's norm (an input of a rectifier may be on the other side of zero) plus 1e-5 of the largest
// norm.
TEST_CASE("our kernels have the plain kernels' gradients on wide layers") {
  for (const Generator& generator : train_wide_generators()) {
    const int seeds = scaled_by_effort(6);
    for (uint64_t seed = 1; seed <= static_cast<uint64_t>(seeds); ++seed) {
      const Case c = make_case(generator, seed);
      double plain_loss = 0, loss = 0;
      const auto expected = gradients_on(c, Backend::kReference, 1, &plain_loss);
      REQUIRE_MESSAGE(expected.ok(), label(generator, seed), ": ", expected.status().message());
      const auto found = gradients_on(c, Backend::kPortable, 1 + static_cast<int>(seed % 3), &loss);
      REQUIRE_MESSAGE(found.ok(), label(generator, seed), ": ", found.status().message());
      CHECK(loss == doctest::Approx(plain_loss).epsilon(1e-5));
      double largest = 0;
      for (const auto& [name, gradient] : *expected) largest = std::max(largest, norm_of(gradient));
      CHECK(largest > 0);
      for (const auto& [name, gradient] : *expected) {
        std::vector<float> difference = found->at(name);
        for (size_t i = 0; i < gradient.size(); ++i) difference[i] -= gradient[i];
        const double error = norm_of(difference), norm = norm_of(gradient);
        const std::string& tensor = name;  // Clang 14 captures no structured bindings
        CHECK_MESSAGE(error <= 2e-3 * norm + 1e-5 * largest, label(generator, seed), " '", tensor, "': off by ", error,
                      " of ", norm, "\n", describe_graph(c.graph));
      }
    }
  }
}

// Tests the reference itself: a linear network's gradient is known to be (softmax - target) x / N.
TEST_CASE("central differences of the reference find a gradient that is known") {
  Graph graph;
  const ValueId x = graph.add_input("x", {2, 3});
  const ValueId w = graph.add_constant("w", Tensor::from({2, 3}, {0.5f, -1, 0.25f, 1, 0.75f, -0.5f}));
  graph.outputs = {graph.add_node(Op::kFullyConnected, "fc", {x, w}, FullyConnectedAttrs{})};
  const std::vector<float> images{1, 2, 3, -1, 0.5f, 2};
  const std::vector<int32_t> labels{1, 0};
  const auto reference = TrainReference::create(graph, images, labels, {});
  REQUIRE_MESSAGE(reference.ok(), reference.status().message());
  for (size_t i = 0; i < 6; ++i) {
    double expected = 0;
    for (size_t n = 0; n < 2; ++n) {
      const double a = reference->logits()[2 * n], b = reference->logits()[2 * n + 1];
      const double probability = 1 / (1 + std::exp(i < 3 ? b - a : a - b));
      const double target = labels[n] == static_cast<int32_t>(i / 3) ? 1 : 0;
      expected += (probability - target) * static_cast<double>(images[3 * n + i % 3]) / 2;
    }
    std::vector<double> delta(6, 0.0);
    constexpr double kStep = 1e-6;
    delta[i] = kStep;
    const double up = reference->loss_at(w, delta);
    delta[i] = -kStep;
    CHECK((up - reference->loss_at(w, delta)) / (2 * kStep) == doctest::Approx(expected).epsilon(1e-8));
  }
}
