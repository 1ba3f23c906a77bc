// Fine-tuning from C++, one step at a time, with data in memory: what a program on a device does when its user shows it
// new things. It reads one file, the network, and writes none.
//
//   sparsenet-finetune net.snet [STEPS]
//
// The network learns to distinguish three kinds of patterns that are drawn here: horizontal stripes, vertical stripes,
// and checks, in random colours, sizes and positions. It keeps all its weights except the last layer's, which is new;
// the frozen part runs folded and fused, as in inference, so memory and time are a fraction of those of training the
// whole network.
#include <sparsenet/model.h>
#include <sparsenet/session.h>
#include <sparsenet/trainer.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

namespace {

using namespace sparsenet;

constexpr int64_t kBatch = 16, kTestImages = 96;
constexpr int kClasses = 3;

int fail(const Status& status) {
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}

// One image [C, H, W] as the network reads it, with a mean of about 0 and a deviation of about 1. A real program uses
// (pixel - mean) / std with the model's own metadata.mean and metadata.std_dev.
void draw(const Shape& input, int label, std::mt19937& random, float* out) {
  const auto uniform = [&](float low, float high) {
    return low + (high - low) * static_cast<float>(random() >> 8) * 0x1p-24f;
  };
  const int period = 4 + static_cast<int>(random() % 5), x0 = static_cast<int>(random() % 16),
            y0 = static_cast<int>(random() % 16);
  for (int64_t c = 0; c < input[1]; ++c) {
    const float dark = uniform(-1.5f, 0.5f), light = dark + uniform(0.8f, 1.6f);
    for (int64_t y = 0; y < input[2]; ++y) {
      for (int64_t x = 0; x < input[3]; ++x) {
        const bool across = (y + y0) % period * 2 < period, down = (x + x0) % period * 2 < period;
        const bool lit = label == 0 ? across : label == 1 ? down : across != down;
        *out++ = (lit ? light : dark) + uniform(-0.3f, 0.3f);
      }
    }
  }
}

struct Batch {
  std::vector<float> images;
  std::vector<int32_t> labels;
};

Batch draw_batch(const Shape& input, int64_t count, std::mt19937& random) {
  const auto elements = static_cast<size_t>(input[1] * input[2] * input[3]);
  Batch batch{std::vector<float>(elements * static_cast<size_t>(count)), {}};
  for (int64_t i = 0; i < count; ++i) {
    const int label = static_cast<int>(random() % kClasses);
    draw(input, label, random, batch.images.data() + elements * static_cast<size_t>(i));
    batch.labels.push_back(label);
  }
  return batch;
}

// How many of the images the network gets right at the moment, using an ordinary session with the trainer's graph.
Result<int64_t> count_right(const Graph& graph, const Batch& test) {
  SessionOptions options;
  options.batch = static_cast<int64_t>(test.labels.size());
  SPARSENET_ASSIGN_OR_RETURN(auto session, Session::create(graph, options));
  std::vector<float> logits(test.labels.size() * kClasses);
  SPARSENET_RETURN_IF_ERROR(session.set_input(0, test.images.data(), test.images.size()));
  SPARSENET_RETURN_IF_ERROR(session.run());
  SPARSENET_RETURN_IF_ERROR(session.get_output(0, logits.data(), logits.size()));
  int64_t right = 0;
  for (size_t i = 0; i < test.labels.size(); ++i) {
    const float* row = logits.data() + i * kClasses;
    right += std::max_element(row, row + kClasses) - row == test.labels[i];
  }
  return right;
}

int teach(int argc, char** argv) {
  char* end = nullptr;
  const long steps = argc > 2 ? std::strtol(argv[2], &end, 10) : 100;
  const bool is_number = end == nullptr || (end != argv[2] && *end == '\0');
  if (argc < 2 || argc > 3 || !is_number || steps < 1 || steps > 1'000'000'000) {
    std::fprintf(stderr, "error: expected sparsenet-finetune net.snet [STEPS], STEPS being a number of 1 or more\n");
    return 2;
  }
  auto model = load_model(argv[1]);
  if (!model.ok()) return fail(model.status());
  Graph& graph = model->graph;
  const Shape input = graph.inputs.size() == 1 ? graph.shape(graph.inputs[0]) : Shape();
  if (input.size() != 4) return fail(invalid_model(std::string(argv[1]) + ": expected one input [N, C, H, W]"));

  // A new last layer for the new classes; everything in front of it stays as it is.
  const Status replaced = replace_head(&graph, kClasses, 1);
  if (!replaced.ok()) return fail(replaced);
  TrainOptions options;
  options.batch = kBatch;
  options.freeze = "all-but-head";
  options.optimizer = Optimizer::kAdam;
  options.weight_decay = 0;
  auto trainer = Trainer::create(graph, options);
  if (!trainer.ok()) return fail(trainer.status().with_context(argv[1]));
  const TrainMemory memory = trainer->memory();
  std::printf("memory: %zu bytes arena, %zu scratch, %zu packed weights\n", memory.arena_bytes, memory.scratch_bytes,
              memory.packed_bytes);

  std::mt19937 random(7);
  const Batch test = draw_batch(input, kTestImages, random);
  const auto untrained = trainer->graph();
  if (!untrained.ok()) return fail(untrained.status());
  auto right = count_right(*untrained, test);
  if (!right.ok()) return fail(right.status());
  std::printf("before: %lld of %lld right\n", static_cast<long long>(*right), static_cast<long long>(kTestImages));

  for (long step = 0; step < steps; ++step) {
    const Batch batch = draw_batch(input, kBatch, random);  // on a device: camera images and their classes
    auto result = trainer->step(batch.images.data(), batch.labels.data(), 0.01f);
    if (!result.ok()) return fail(result.status());
    if (step % 10 == 9) std::printf("step %ld: loss %.4f\n", step + 1, result->loss);
  }

  const auto trained = trainer->graph();
  if (!trained.ok()) return fail(trained.status());
  right = count_right(*trained, test);
  if (!right.ok()) return fail(right.status());
  std::printf("after:  %lld of %lld right\n", static_cast<long long>(*right), static_cast<long long>(kTestImages));
  // To keep the result: model->graph = *trained; save_model(*model, "mine.snet"), after clearing or renewing
  // model->test_vectors, which belong to the old weights.
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return teach(argc, argv);
  } catch (const std::bad_alloc&) {  // from the vectors in this file: the library does not throw
    std::fprintf(stderr, "error: out of memory\n");
    return 1;
  }
}
