// Memory of training: what is reported, and the effect of a budget. Activations that are computed a second time change
// no bit of the result; a budget limits arena, scratch and packed weights together; the smallest possible one is named
// and works.
#include <algorithm>
#include <cctype>

#include "support/check_session.h"
#include "support/describe.h"
#include "support/skip.h"
#include "support/train_graphs.h"
#include "support/train_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr int64_t kMeasuredBatch = 16;

TrainOptions memory_options_of(size_t budget, int threads = 1) {
  TrainOptions options;
  options.batch = kMeasuredBatch;
  options.threads = threads;
  options.memory_budget = budget;
  return options;
}

size_t total(const TrainMemory& memory) {
  return memory.arena_bytes + memory.scratch_bytes + memory.packed_bytes;
}

size_t part_of(size_t bytes, double share) {
  return static_cast<size_t>(static_cast<double>(bytes) * share);
}

// The largest whole number in a message that states the smallest budget.
size_t largest_number(const std::string& text) {
  size_t largest = 0;
  for (size_t i = 0; i < text.size();) {
    size_t number = 0, digits = 0;
    for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) && digits < 18; ++i, ++digits) {
      number = number * 10 + static_cast<size_t>(text[i] - '0');
    }
    largest = std::max(largest, number);
    if (digits == 0) ++i;
  }
  return largest;
}

size_t smallest_budget(const Graph& graph, int threads = 1) {
  const auto refused = Trainer::create(graph, memory_options_of(1, threads));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().code() == StatusCode::kInvalidArgument);
  CHECK(refused.status().message().find("budget") != std::string::npos);
  const size_t smallest = largest_number(refused.status().message());
  REQUIRE_MESSAGE(smallest > 1, refused.status().message());
  return smallest;
}

}  // namespace

TEST_CASE("the report adds up") {
  for (const std::string text : {"sparsenet-abc-v0", "sparsenet-basic-v0", "resnet20"}) {
    const Graph graph = train_network(text);
    const TrainMemory m = make_trainer(graph, memory_options_of(0)).memory();
    const auto parameters = static_cast<size_t>(graph.parameter_count()) * sizeof(float);
    CHECK(m.lower_bound_bytes <= m.arena_bytes);
    CHECK(m.parameter_bytes <= m.arena_bytes);
    CHECK(m.parameter_bytes >= 3 * parameters);  // parameters, gradients, momentum
    CHECK(m.micro_batch == kMeasuredBatch);
    CHECK(m.recomputed == 0);
    CHECK(m.extra_macs == 0);
    MESSAGE(text, ": arena ", m.arena_bytes, ", lower bound ", m.lower_bound_bytes, ", parameters ", m.parameter_bytes,
            ", scratch ", m.scratch_bytes, ", packed ", m.packed_bytes);
    TrainOptions adam = memory_options_of(0);
    adam.optimizer = Optimizer::kAdam;
    CHECK(make_trainer(graph, adam).memory().parameter_bytes >= 4 * parameters);
  }
}

TEST_CASE("a budget is kept, and recomputing changes no bit") {
  for (const std::string text : {"sparsenet-abc-v0", "sparsenet-basic-v0", "densenet-bc-40-12"}) {
    const Graph graph = train_network(text);
    const TrainData data = train_data(2 * kMeasuredBatch, 10);
    Trainer plain = make_trainer(graph, memory_options_of(0));
    const size_t most = total(plain.memory());
    const std::vector<double> losses = train_steps(plain, data, kMeasuredBatch, 0, 2, 0.05f);
    const Parameters expected = parameters_of(plain), statistics = constants_of(plain.graph().value());
    bool recomputed = false;
    size_t last_budget = most;
    for (const double share : {1.0, 0.9, 0.7, 0.5}) {
      const size_t budget = part_of(most, share);
      auto trainer = Trainer::create(graph, memory_options_of(budget, share == 0.7 ? 2 : 1));
      if (!trainer.ok()) {  // the budget may be too small, and then the message says so
        CHECK_MESSAGE(trainer.status().code() == StatusCode::kInvalidArgument, trainer.status().message());
        CHECK_MESSAGE(largest_number(trainer.status().message()) > budget, trainer.status().message());
        continue;
      }
      const TrainMemory m = trainer->memory();
      MESSAGE(text, " in ", budget, " bytes: ", total(m), " used, micro-batch ", m.micro_batch, ", recomputed ",
              m.recomputed, ", extra MACs ", m.extra_macs);
      CHECK(total(m) <= budget);
      CHECK(m.extra_macs >= 0);
      CHECK((m.recomputed > 0) >= (m.extra_macs > 0));
      if (budget < last_budget) CHECK((m.recomputed > 0 || m.micro_batch < kMeasuredBatch));
      last_budget = budget;
      if (m.micro_batch != kMeasuredBatch) continue;  // norms then use other batches
      recomputed = recomputed || m.recomputed > 0;
      CHECK_MESSAGE(train_steps(*trainer, data, kMeasuredBatch, 0, 2, 0.05f) == losses, text, " in ", budget, " bytes");
      CHECK_MESSAGE(same_bits(parameters_of(*trainer), expected), text, " in ", budget, " bytes");
      CHECK_MESSAGE(same_bits(constants_of(trainer->graph().value()), statistics), text, " in ", budget, " bytes");
    }
    // A basic layer stores only its groups, which many layers read: there is nothing to recompute.
    const bool bottleneck = text.find("basic") == std::string::npos;
    CHECK_MESSAGE(recomputed == bottleneck, text, ": budgets met by recomputing: ", recomputed);
  }
}

// Norms, views and sums in every order: whatever is recomputed must be as it was.
TEST_CASE("recomputing changes no bit of small networks either") {
  int64_t recomputed = 0;
  for (const Generator& generator : train_network_generators()) {
    const int seeds = scaled_by_effort(&generator == &train_network_generators().back() ? 100 : 6);
    for (uint64_t seed = 1; seed <= static_cast<uint64_t>(seeds); ++seed) {
      Graph graph = make_graph(generator, seed);
      Shape image = graph.shape(graph.inputs[0]);
      image.erase(image.begin());
      const int64_t classes = graph.shape(graph.outputs[0])[1];
      const TrainData data = train_data(2 * kMeasuredBatch, classes, image);
      Trainer plain = make_trainer(graph, memory_options_of(0));
      const std::vector<double> losses = train_steps(plain, data, kMeasuredBatch, 0, 2, 0.05f);
      const Parameters expected = constants_of(plain.graph().value());
      for (const double share : {0.96, 0.92, 0.88, 0.8, 0.7}) {
        auto trainer = Trainer::create(graph, memory_options_of(part_of(total(plain.memory()), share), 1 + (seed % 2)));
        if (!trainer.ok()) {
          CHECK(trainer.status().code() == StatusCode::kInvalidArgument);
          continue;
        }
        CHECK(total(trainer->memory()) <= part_of(total(plain.memory()), share));
        if (trainer->memory().micro_batch != kMeasuredBatch) continue;
        recomputed += trainer->memory().recomputed;
        const bool same = train_steps(*trainer, data, kMeasuredBatch, 0, 2, 0.05f) == losses &&
                          same_bits(constants_of(trainer->graph().value()), expected);
        CHECK_MESSAGE(same, label(generator, seed), " in ", share, " of its memory, recomputed ",
                      trainer->memory().recomputed, "\n", describe_graph(graph));
      }
    }
  }
  MESSAGE(recomputed, " values recomputed");
  CHECK(recomputed > 0);
}

TEST_CASE("a loss that is not finite in a later micro-batch changes nothing") {
  const Graph graph = train_network("sparsenet-abc:blocks=2-2,k=4,path=2");
  TrainOptions options = memory_options_of(smallest_budget(graph));
  options.accumulate = 2;
  Trainer trainer = make_trainer(graph, options);
  REQUIRE(trainer.memory().micro_batch < kMeasuredBatch);
  const TrainData data = train_data(4 * kMeasuredBatch, 10);
  train_steps(trainer, data, kMeasuredBatch, 0, 1, 0.05f);
  const Parameters before = parameters_of(trainer);
  std::vector<float> images(data.batch_images(1, kMeasuredBatch), data.batch_images(2, kMeasuredBatch));
  images.back() = std::nanf("");
  std::vector<unsigned char> state(trainer.state_bytes()), after(state.size());
  REQUIRE(trainer.save_state(state.data(), state.size()).ok());
  CHECK(trainer.step(images.data(), data.batch_labels(1, kMeasuredBatch), 0.05f).status().code() ==
        StatusCode::kNotFinite);
  CHECK(same_bits(parameters_of(trainer), before));
  REQUIRE(trainer.save_state(after.data(), after.size()).ok());
  CHECK(state == after);
  for (const double loss : train_steps(trainer, data, kMeasuredBatch, 2, 2, 0.05f)) CHECK(std::isfinite(loss));
}

TEST_CASE("what is called idle may be written to between steps") {
  for (const int accumulate : {1, 2}) {
    for (const bool small : {false, true}) {
      const Graph graph = train_network("sparsenet-abc:blocks=2-2,k=4,path=2");
      TrainOptions options = memory_options_of(small ? smallest_budget(graph) : 0);
      options.accumulate = accumulate;
      Trainer plain = make_trainer(graph, options), disturbed = make_trainer(graph, options);
      const IdleMemory idle = disturbed.idle_memory();
      REQUIRE(idle.data);
      CHECK(reinterpret_cast<uintptr_t>(idle.data) % 64 == 0);
      // Everything except what parameters, gradients, moments and statistics take.
      CHECK(idle.bytes + 2 * disturbed.memory().parameter_bytes >= disturbed.memory().arena_bytes);
      const TrainData data = train_data(4 * kMeasuredBatch, 10);
      for (int64_t i = 0; i < 4; ++i) {
        std::memset(idle.data, 0xFF, idle.bytes);  // NaN as a float
        const auto expected = train_steps(plain, data, kMeasuredBatch, i, 1, 0.05f);
        CHECK(train_steps(disturbed, data, kMeasuredBatch, i, 1, 0.05f) == expected);
      }
      CHECK(same_bits(parameters_of(plain), parameters_of(disturbed)));
      CHECK(same_bits(constants_of(plain.graph().value()), constants_of(disturbed.graph().value())));
      CHECK(same_bits(constants_of(plain.graph_view().value()), constants_of(plain.graph().value())));
    }
  }
}

TEST_CASE("the smallest budget is named, works, and is the smallest") {
  for (const std::string text : {"sparsenet-abc-v0", "resnet20", "sparsenet-abc:blocks=2-2,k=4,path=2"}) {
    const Graph graph = train_network(text);
    for (const int threads : {1, 2}) {
      const size_t smallest = smallest_budget(graph, threads);
      auto trainer = Trainer::create(graph, memory_options_of(smallest, threads));
      REQUIRE_MESSAGE(trainer.ok(), text, ": ", trainer.status().message());
      CHECK(total(trainer->memory()) <= smallest);
      CHECK(total(trainer->memory()) < total(make_trainer(graph, memory_options_of(0, threads)).memory()));
      const auto less = Trainer::create(graph, memory_options_of(smallest - 1, threads));
      REQUIRE_FALSE(less.ok());
      CHECK(less.status().code() == StatusCode::kInvalidArgument);
      CHECK(largest_number(less.status().message()) == smallest);
      const TrainData data = train_data(3 * kMeasuredBatch, 10);
      for (const double loss : train_steps(*trainer, data, kMeasuredBatch, 0, 3, 0.05f)) CHECK(std::isfinite(loss));
    }
  }
}

TEST_CASE("micro-batches have the batch's loss and gradient where no norm sees the difference") {
  Random random(11);
  GraphMaker g(random);
  ValueId x = g.input({1, 3, 12, 12});
  for (int i = 0; i < 4; ++i) x = g.node(Op::kTanh, {g.conv(x, 12, 3)});
  const Graph graph = g.finish({g.head(x, 7)});
  const TrainData data = train_data(2 * kMeasuredBatch, 7, {3, 12, 12});
  Trainer plain = make_trainer(graph, memory_options_of(0));
  Trainer small = make_trainer(graph, memory_options_of(smallest_budget(graph)));
  CHECK(plain.memory().micro_batch == kMeasuredBatch);
  REQUIRE(small.memory().micro_batch < kMeasuredBatch);
  CHECK(kMeasuredBatch % small.memory().micro_batch == 0);
  for (int64_t i = 0; i < 2; ++i) {
    const auto a = plain.step(data.batch_images(i, kMeasuredBatch), data.batch_labels(i, kMeasuredBatch), 0.1f);
    const auto b = small.step(data.batch_images(i, kMeasuredBatch), data.batch_labels(i, kMeasuredBatch), 0.1f);
    REQUIRE(a.ok());
    REQUIRE_MESSAGE(b.ok(), b.status().message());
    CHECK(b->loss == doctest::Approx(a->loss).epsilon(1e-5));
    CHECK(b->correct == a->correct);
    CHECK(b->images == kMeasuredBatch);
    CHECK(b->updated);
    for (size_t p = 0; p < plain.parameters().size(); ++p) {
      std::vector<float> expected(static_cast<size_t>(element_count(plain.parameters()[p].shape))), found = expected;
      REQUIRE(plain.get_gradient(p, expected.data(), expected.size()).ok());
      REQUIRE(small.get_gradient(p, found.data(), found.size()).ok());
      double norm = 0, square = 0;
      for (size_t e = 0; e < found.size(); ++e) {
        norm += std::pow(static_cast<double>(expected[e]), 2);
        square += std::pow(static_cast<double>(found[e]) - static_cast<double>(expected[e]), 2);
      }
      CHECK_MESSAGE(std::sqrt(square) <= 1e-4 * std::sqrt(norm) + 1e-7, plain.parameters()[p].name);
    }
  }
}

TEST_CASE("a budget chooses the same, and gives the same bits, for any number of threads") {
  const Graph graph = train_network("sparsenet-abc-v0");
  const TrainData data = train_data(2 * kMeasuredBatch, 10);
  constexpr int kMany = 64;  // their scratch takes more than anything else
  const size_t smallest = smallest_budget(graph);
  CHECK(smallest_budget(graph, kMany) == smallest);
  int without_room = 0, with_room = 0;
  for (const size_t budget : {smallest, smallest + smallest / 4, 2 * smallest}) {
    Parameters expected;
    TrainMemory first;
    for (const int threads : {1, 2, 3, kMany}) {
      Trainer trainer = make_trainer(graph, memory_options_of(budget, threads));
      const TrainMemory memory = trainer.memory();
      CHECK(memory.arena_bytes + memory.scratch_bytes + memory.packed_bytes <= budget);
      CHECK(trainer.threads() <= threads);
      without_room += trainer.threads() < threads;
      with_room += threads > 1 && trainer.threads() == threads;
      if (budget == 2 * smallest && threads <= 3) CHECK(trainer.threads() == threads);
      train_steps(trainer, data, kMeasuredBatch, 0, 2, 0.05f);
      if (threads == 1) {
        expected = parameters_of(trainer);
        first = memory;
      }
      CHECK_MESSAGE(memory.micro_batch == first.micro_batch, threads, " threads");
      CHECK_MESSAGE(memory.recomputed == first.recomputed, threads, " threads");
      CHECK_MESSAGE(same_bits(parameters_of(trainer), expected), threads, " threads");
    }
  }
  CHECK(without_room > 0);
  CHECK(with_room > 0);
}

TEST_CASE("a batch with tensors of more than 2^30 elements is refused; a budget cuts it into parts") {
  const Graph graph =
      train_network("sparsenet-basic:blocks=1-1-1,k=12,path=2");  // the first convolution has 24 channels
  TrainOptions options;
  options.batch = 65536;
  options.threads = 1;
  const auto whole = Trainer::create(graph, options);
  REQUIRE_FALSE(whole.ok());
  CHECK_MESSAGE(whole.status().message().find("2^30") != std::string::npos, whole.status().message());
  options.memory_budget = size_t{64} << 20;
  const auto parts = Trainer::create(graph, options);
  REQUIRE_MESSAGE(parts.ok(), parts.status().message());
  CHECK(parts->memory().micro_batch < 65536);
  CHECK(parts->memory().arena_bytes <= options.memory_budget);
}

TEST_CASE("a batch over 65,536 images is refused") {
  const Graph graph = train_network("sparsenet-abc:blocks=2-2,k=4,path=2");
  for (const int64_t batch : {int64_t{65537}, int64_t{1} << 28, int64_t{1} << 31, int64_t{1} << 40, INT64_MAX}) {
    TrainOptions options;
    options.batch = batch;
    options.threads = 1;
    const auto trainer = Trainer::create(graph, options);
    REQUIRE_FALSE(trainer.ok());
    CHECK_MESSAGE(trainer.status().code() == StatusCode::kInvalidArgument, trainer.status().message());
  }
}
