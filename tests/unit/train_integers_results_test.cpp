// What comes out of training networks that compute with integers: such networks again, as the trainer says.
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support/skip.h"
#include "support/train_helpers.h"
#include "support/trained_integers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr int64_t kResultBatch = 3;

}  // namespace

TEST_CASE("training of integers: without a step the same integers come out") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const Graph graph = network_of(seed);
    TrainOptions options;
    options.batch = kResultBatch;
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

TEST_CASE("training of integers: numbers that are not finite are told") {
  const Graph source = quantised(float_network(8), 8);
  TrainOptions options;
  options.batch = 2;
  Trainer trainer = make_trainer(source, options);
  const TrainData data = train_data(2, 5, {3, 8, 8});
  REQUIRE(trainer.step(data.batch_images(0, 2), data.batch_labels(0, 2), 3e38f).ok());
  const auto graph = trainer.graph_view();
  REQUIRE_FALSE(graph.ok());
  CHECK(graph.status().code() == StatusCode::kNotFinite);
  CHECK(graph.status().message().find("tensor '") == 0);
}
