// Whole networks compared with PyTorch in float64 (tests/goldens/train): every parameter's gradient for one batch, and
// 20 steps of SGD.
//
// Bounds. Loss of the one batch: 1e-5. Gradients: 5e-3 of the tensor's norm; if the gradient is zero except for
// rounding (a bias before a BatchNorm), at most 1e-5 for every element. Losses of the steps: the first three within
// 1e-3; all 20 within 1e-3 for basic-v0, and within 5e-2 for the others, for which even PyTorch in float32 agrees only
// to 1e-2.
#include <algorithm>
#include <set>

#include "support/skip.h"
#include "support/train_goldens.h"
#include "support/train_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

TrainGolden golden_of(const std::string& name) {
  auto golden = read_train_golden(name);
  REQUIRE_MESSAGE(golden.ok(), golden.status().message());
  return std::move(*golden);
}

Trainer trainer_for(const Graph& graph, TrainOptions options) {
  options.threads = 2;
  return make_trainer(graph, options);
}

size_t parameter_index(const Trainer& trainer, const std::string& name) {
  for (size_t i = 0; i < trainer.parameters().size(); ++i) {
    if (trainer.parameters()[i].name == name) return i;
  }
  FAIL("no parameter '", name, "'");
  return 0;
}

void check_network_gradient(const std::string& arch, const Trainer& trainer, const GoldenGradient& golden,
                            double& worst) {
  const size_t index = parameter_index(trainer, golden.name);
  CHECK(trainer.parameters()[index].trained);
  std::vector<float> gradient(golden.values.size(), std::nanf(""));
  const Status got = trainer.get_gradient(index, gradient.data(), gradient.size());
  REQUIRE_MESSAGE(got.ok(), got.message());
  double square = 0, largest = 0;
  for (size_t i = 0; i < gradient.size(); ++i) {
    const double d = static_cast<double>(gradient[i]) - golden.values[i];
    square += d * d;
    largest = std::max(largest, std::abs(d));
  }
  if (golden.norm == 0) {
    CHECK_MESSAGE(largest <= 1e-5, arch, " ", golden.name, ": expected zero, found ", largest);
    CHECK(std::isfinite(square));
    return;
  }
  const double error = std::sqrt(square) / golden.norm;
  CHECK_MESSAGE(error <= 5e-3, arch, " ", golden.name, ": off by ", error, " of its norm ", golden.norm);
  worst = std::max(worst, error);
}

void check_one_batch(const std::string& arch) {
  const TrainGolden golden = golden_of(arch);
  const Graph graph = train_network(golden.arch);
  Trainer trainer = trainer_for(graph, golden.options);
  const TrainData data = train_data((golden.gradient_batch + 1) * golden.batch, trainer.classes());
  const auto step = trainer.step(data.batch_images(golden.gradient_batch, golden.batch),
                                 data.batch_labels(golden.gradient_batch, golden.batch), 0.f);
  REQUIRE_MESSAGE(step.ok(), step.status().message());
  CHECK(step->loss == doctest::Approx(golden.loss).epsilon(1e-5));
  CHECK(step->correct == golden.correct);
  std::set<std::string> trained;
  for (const ParameterInfo& info : trainer.parameters()) {
    if (info.trained) trained.insert(info.name);
  }
  CHECK(trained.size() == golden.gradients.size());
  double worst = 0;
  int64_t elements = 0;
  for (const GoldenGradient& gradient : golden.gradients) {
    check_network_gradient(arch, trainer, gradient, worst);
    elements += static_cast<int64_t>(gradient.values.size());
  }
  CHECK(elements == graph.parameter_count());
  MESSAGE(arch, ": ", golden.gradients.size(), " gradients, the worst off by ", worst, " of its norm");
}

void check_steps(const std::string& arch, double loss_bound, double value_bound) {
  const TrainGolden golden = golden_of(arch);
  Trainer trainer = trainer_for(train_network(golden.arch), golden.options);
  REQUIRE(golden.losses64.size() == 20);
  const int64_t steps = std::min(20, scaled_by_effort(20));
  const TrainData data = train_data(steps * golden.batch, trainer.classes());
  double worst = 0;
  for (int64_t i = 0; i < steps; ++i) {
    const auto step =
        trainer.step(data.batch_images(i, golden.batch), data.batch_labels(i, golden.batch), golden.learning_rate);
    REQUIRE_MESSAGE(step.ok(), step.status().message());
    const double expected = golden.losses64[static_cast<size_t>(i)], error = std::abs(step->loss - expected);
    CHECK_MESSAGE(error <= (i < 3 ? std::min(loss_bound, 1e-3) : loss_bound), arch, " step ", i, ": loss ", step->loss,
                  ", expected ", expected);
    worst = std::max(worst, error);
  }
  MESSAGE(arch, ": ", steps, " losses, the worst off by ", worst);
  if (steps < 20) return;

  const Graph trained = trainer.graph().value();
  CHECK(golden.values.size() == 6);
  for (const auto& [name, expected] : golden.values) {
    const Value* found = find_value(trained, name);
    REQUIRE_MESSAGE(found, name);
    REQUIRE(found->constant.elements() == static_cast<int64_t>(expected.size()));
    double square = 0, norm = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      square += std::pow(static_cast<double>(found->constant.f32()[i]) - expected[i], 2);
      norm += std::pow(expected[i], 2);
    }
    const double error = std::sqrt(square / norm);
    CHECK_MESSAGE(error <= value_bound, arch, " ", name, ": off by ", error, " of its norm");
  }
}

}  // namespace

TEST_CASE("gradients of sparsenet-basic-v0 equal PyTorch's") {
  check_one_batch("sparsenet-basic-v0");
}
TEST_CASE("gradients of sparsenet-bc-v0 equal PyTorch's") {
  check_one_batch("sparsenet-bc-v0");
}
TEST_CASE("gradients of sparsenet-abc-v0 equal PyTorch's") {
  check_one_batch("sparsenet-abc-v0");
}
TEST_CASE("gradients of densenet-bc-40-12 equal PyTorch's") {
  check_one_batch("densenet-bc-40-12");
}

TEST_CASE("20 steps of sparsenet-basic-v0 have PyTorch's losses") {
  check_steps("sparsenet-basic-v0", 1e-3, 1e-2);
}
TEST_CASE("20 steps of sparsenet-bc-v0 have PyTorch's losses") {
  check_steps("sparsenet-bc-v0", 5e-2, 1e-1);
}
TEST_CASE("20 steps of sparsenet-abc-v0 have PyTorch's losses") {
  check_steps("sparsenet-abc-v0", 5e-2, 1e-1);
}
TEST_CASE("20 steps of densenet-bc-40-12 have PyTorch's losses") {
  check_steps("densenet-bc-40-12", 5e-2, 1e-1);
}
