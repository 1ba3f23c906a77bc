// Heap calls of training: none in a step.
#include <doctest/doctest.h>

#include "support/heap_counter.h"
#include "support/train_graphs.h"
#include "support/train_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

// Heap calls of `count` steps, allocations and frees together.
int64_t heap_calls_of_steps(Trainer& trainer, const float* images, const int32_t* labels, int count, bool* good) {
  heap::calls = heap::frees = 0;
  heap::counting = true;
  for (int i = 0; i < count; ++i) *good = trainer.step(images, labels, 0.01f).ok() && *good;
  heap::counting = false;
  return heap::calls + heap::frees;
}

}  // namespace

TEST_CASE("steps of whole networks make no heap call") {
  for (const std::string text : {"sparsenet-abc:blocks=2-2,k=4,path=2", "resnet20"}) {
    const Graph graph = train_network(text);
    const TrainData data = train_data(4, 10);
    for (const Optimizer optimizer : {Optimizer::kSgd, Optimizer::kAdam, Optimizer::kAdamW}) {
      for (const int threads : {1, 2}) {
        TrainOptions options;
        options.batch = 4;
        options.threads = threads;
        options.optimizer = optimizer;
        options.accumulate = 2;
        options.clip_norm = 1;
        options.label_smoothing = 0.1f;
        Trainer trainer = make_trainer(graph, options);
        bool good = true;
        const int64_t calls = heap_calls_of_steps(trainer, data.images.data(), data.labels.data(), 6, &good);
        CHECK(good);
        CHECK_MESSAGE(calls == 0, text, " with ", threads, " threads: ", calls, " heap calls");
      }
    }
  }
}

TEST_CASE("no op's training calls the heap in a step") {
  for (const auto* list : {&train_layer_generators(), &train_data_generators(), &train_general_generators(),
                           &train_network_generators()}) {
    for (const Generator& generator : *list) {
      for (uint64_t seed = 1; seed < 4; ++seed) {
        const Graph graph = make_graph(generator, seed);
        const Shape& shape = graph.shape(graph.inputs[0]);
        TrainOptions options;
        options.batch = shape[0];
        options.threads = 2;
        Trainer trainer = make_trainer(graph, options);
        const std::vector<Array> inputs = random_inputs(graph, seed);
        const std::vector<float> images(inputs[0].data.begin(), inputs[0].data.end());
        const std::vector<int32_t> labels(static_cast<size_t>(shape[0]), 1);
        bool good = true;
        const int64_t calls = heap_calls_of_steps(trainer, images.data(), labels.data(), 3, &good);
        CHECK_MESSAGE(good, generator.name, " seed ", seed);
        CHECK_MESSAGE(calls == 0, generator.name, " seed ", seed, ": ", calls, " heap calls");
      }
    }
  }
}

TEST_CASE("a step under a memory budget, frozen in part, or refused makes no heap call either") {
  const Graph graph = train_network("sparsenet-abc:blocks=2-2,k=4,path=2");
  const TrainData data = train_data(8, 10);
  TrainOptions options;
  options.batch = 8;
  options.threads = 2;
  const TrainMemory whole = make_trainer(graph, options).memory();
  std::vector<TrainOptions> all(3, options);
  all[0].memory_budget = (whole.arena_bytes + whole.scratch_bytes + whole.packed_bytes) * 3 / 4;
  all[1].freeze = "all-but-head";
  all[2].freeze = "block0.*";
  for (const TrainOptions& o : all) {
    Trainer trainer = make_trainer(graph, o);
    bool good = true;
    CHECK(heap_calls_of_steps(trainer, data.images.data(), data.labels.data(), 5, &good) == 0);
    CHECK(good);
  }
}
