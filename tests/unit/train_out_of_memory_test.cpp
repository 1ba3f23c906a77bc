// No exception leaves the trainer, its tools and replace_head() if memory runs out: with the n-th allocation failing,
// alone and with all that follow.
#include <doctest/doctest.h>
#include <sparsenet/train_tools.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <type_traits>

#include "support/fail_each.h"
#include "support/scratch_folder.h"
#include "support/train_helpers.h"

using namespace sparsenet;
using namespace sparsenet::test;

static_assert(std::is_nothrow_move_constructible_v<Trainer> && std::is_nothrow_move_assignable_v<Trainer>);
static_assert(std::is_nothrow_move_constructible_v<Checkpoint> && std::is_nothrow_move_assignable_v<Checkpoint>);

namespace {

const std::string kSmall = "sparsenet-abc:blocks=1-1,k=2,path=1";

}  // namespace

TEST_CASE("making a trainer") {
  const Graph graph = train_network(kSmall);
  for (const int threads : {1, 2}) {
    TrainOptions options;
    options.batch = 2;
    options.threads = threads;
    const int64_t count = fail_each(
        "Trainer::create", [&] { return Trainer::create(graph, options); }, 100);
    MESSAGE(threads, " threads: about ", count, " allocations");
  }
  TrainOptions options;
  options.freeze = "no parameter has such a name";
  fail_each("Trainer::create with an error", [&] { return Trainer::create(graph, options); });
  options = {};
  options.batch = 2;
  options.threads = 1;
  options.memory_budget = 1;
  fail_each(
      "Trainer::create in too little", [&] { return Trainer::create(graph, options); }, 20);
}

TEST_CASE("using a trainer") {
  const Graph graph = train_network(kSmall);
  const TrainData data = train_data(2, 10);
  TrainOptions options;
  options.batch = 2;
  options.threads = 1;
  options.freeze = "*.weight";
  Trainer trainer = make_trainer(graph, options);
  const float* images = data.images.data();
  const int32_t* labels = data.labels.data();
  const std::vector<int32_t> wrong = {0, 100};
  fail_each("step", [&] { return trainer.step(images, labels, 0.01f); });
  fail_each("step without images", [&] { return trainer.step(nullptr, labels, 0.01f); });
  fail_each("step with a label too large", [&] { return trainer.step(images, wrong.data(), 0.01f); });
  fail_each("step with a negative rate", [&] { return trainer.step(images, labels, -1.f); });
  fail_each("step_profiled", [&] { return trainer.step_profiled(images, labels, 0.01f); });
  fail_each("graph", [&] { return trainer.graph(); });
  fail_each("graph_view", [&] { return trainer.graph_view(); });
  const size_t none = trainer.parameters().size();
  for (size_t i = 0; i < none; ++i) {
    const auto count = static_cast<size_t>(element_count(trainer.parameters()[i].shape));
    std::vector<float> values(count);
    fail_each("get_parameter", [&] { return trainer.get_parameter(i, values.data(), count); });
    fail_each("get_gradient", [&] { return trainer.get_gradient(i, values.data(), count); });
    fail_each("get_parameter without room", [&] { return trainer.get_parameter(i, values.data(), 0); });
    fail_each("get_gradient without room", [&] { return trainer.get_gradient(i, values.data(), 0); });
  }
  float value = 0;
  fail_each("get_parameter of none", [&] { return trainer.get_parameter(none, &value, 1); });
  fail_each("get_gradient of none", [&] { return trainer.get_gradient(none, &value, 1); });
  std::vector<uint8_t> state(trainer.state_bytes());
  fail_each("save_state", [&] { return trainer.save_state(state.data(), state.size()); });
  fail_each("load_state", [&] { return trainer.load_state(state.data(), state.size()); });
  fail_each("save_state without room", [&] { return trainer.save_state(state.data(), 1); });
  fail_each("load_state of too few", [&] { return trainer.load_state(state.data(), 1); });
  no_heap("what a trainer knows", [&] {
    (void)trainer.memory();
    (void)trainer.idle_memory();
    (void)trainer.parameters();
    (void)trainer.steps();
    Trainer other = std::move(trainer);
    trainer = std::move(other);
  });
}

TEST_CASE("replacing the last layer leaves the graph as it was where it fails") {
  Graph graph = train_network(kSmall);
  const int64_t before = graph.parameter_count();
  for (const bool for_good : {false, true}) {
    for (int64_t n = 0;; ++n) {
      Status status;
      {
        const Failing failing(n, for_good);
        status = replace_head(&graph, 4, 1);
      }
      if (status.ok()) break;
      REQUIRE(status.code() == StatusCode::kOutOfMemory);
      REQUIRE(graph.infer_shapes().ok());
      REQUIRE(graph.parameter_count() == before);
    }
    graph = train_network(kSmall);
  }
  fail_each("replace_head", [&] { return replace_head(&graph, 4, 1); });
  fail_each("replace_head of no classes", [&] { return replace_head(&graph, 0, 1); });
  Graph headless = graph;
  headless.nodes.pop_back();
  headless.outputs = {headless.nodes.back().outputs[0]};
  fail_each("replace_head without a head", [&] { return replace_head(&headless, 4, 1); });
}

TEST_CASE("checkpoints and the other tools") {
  const ScratchFolder folder;
  const std::string path = folder.file("training.ckpt"), missing = folder.file("none.ckpt");
  Checkpoint checkpoint;
  checkpoint.settings = {{"rate", "a value that is too long to be kept within a string"}, {"batch", "64"}};
  checkpoint.epochs.resize(3);
  const std::function<Status(void*, size_t)> save = [](void* data, size_t size) {
    std::memset(data, 1, size);
    return Status();
  };
  fail_each("save_checkpoint", [&] { return save_checkpoint(path, checkpoint, 1000, save); });
  fail_each("load_checkpoint", [&] { return load_checkpoint(path); });
  fail_each("load_checkpoint of nothing", [&] { return load_checkpoint(missing); });
  std::vector<std::pair<std::string, std::string>> settings = checkpoint.settings;
  fail_each("compare_settings", [&] { return compare_settings(checkpoint, settings); });
  settings[0].second = "another value that is too long to be kept within a string";
  fail_each("compare_settings that differ", [&] { return compare_settings(checkpoint, settings); });
  const std::function<Status(void*, size_t)> throws = [](void*, size_t) -> Status {
    throw std::runtime_error("tired");
  };
  const Status tired = save_checkpoint(path, checkpoint, 1000, throws);
  CHECK(tired.code() == StatusCode::kInternal);
  CHECK(tired.message().find("tired") != std::string::npos);

  throw_each(
      "epoch_order", [] { (void)epoch_order(100, 1, 1); }, [] { return true; });
  LearningRate rate;
  rate.epochs = 4;
  const std::vector<float> image(3 * 4 * 4, 1.f);
  std::vector<float> cropped(image.size());
  no_heap("schedules, augmentation and hashes", [&] {
    (void)rate.at(2);
    apply_crop_flip(draw_crop_flip(1, 2, 3, 4), image.data(), 3, 4, 4, cropped.data());
    (void)hash_bytes(image.data(), image.size());
  });
}
