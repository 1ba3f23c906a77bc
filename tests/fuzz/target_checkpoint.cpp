// Checkpoints of trainings: read, compared, loaded into a trainer, trained further, written again.
#include <sparsenet/train_tools.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/checksum.h"
#include "fuzz/mutate_flatbuffer.h"
#include "fuzz/scratch.h"

namespace sparsenet::fuzz {
namespace {

Trainer& trainer() {
  static Trainer made = [] {
    Graph graph;
    const ValueId input = graph.add_input("input", {2, 2, 3, 3});
    ConvAttrs conv;
    conv.kernel = {3, 3};
    ValueId x =
        graph.add_node(Op::kConv, "conv", {input, graph.add_constant("w", Tensor::filled({3, 2, 3, 3}, 0.1f))}, conv);
    const ValueId ones = graph.add_constant("ones", Tensor::filled({3}, 1.f));
    x = graph.add_node(Op::kBatchNorm, "bn",
                       {x, ones, graph.add_constant("shift", Tensor::filled({3}, 0.f)),
                        graph.add_constant("mean", Tensor::filled({3}, 0.f)),
                        graph.add_constant("variance", Tensor::filled({3}, 1.f))},
                       BatchNormAttrs{1e-5f});
    x = graph.add_node(Op::kReshape, "flatten", {x}, ReshapeAttrs{{0, -1}});
    x = graph.add_node(Op::kFullyConnected, "fc", {x, graph.add_constant("fc", Tensor::filled({2, 3}, 0.2f))},
                       FullyConnectedAttrs{});
    graph.outputs.push_back(x);
    TrainOptions options;
    options.batch = 2;
    options.threads = 1;
    Result<Trainer> created = graph.infer_shapes().ok() ? Trainer::create(graph, options)
                                                        : Result<Trainer>(invalid_model("the target's own graph"));
    if (!created.ok()) {
      std::fprintf(stderr, "error: %s\n", created.status().message().c_str());
      std::abort();
    }
    return std::move(*created);
  }();
  return made;
}

void run(const uint8_t* data, size_t size) {
  const Result<Checkpoint> checkpoint = load_checkpoint(scratch_file("training.checkpoint", data, size));
  if (!checkpoint.ok()) return;
  (void)compare_settings(*checkpoint, {{"--epochs", "2"}, {"--batch", "2"}}).ok();
  (void)trainer().load_state(checkpoint->state.data(), checkpoint->state.size()).ok();
  // Given the size that the trainer requires, so that its content matters.
  Bytes fitting = checkpoint->state;
  fitting.resize(trainer().state_bytes());
  if (trainer().load_state(fitting.data(), fitting.size()).ok()) {
    const float images[36] = {1, 2, 3};
    const int32_t labels[2] = {0, 1};
    (void)trainer().step(images, labels, 0.1f).ok();
  }
  // Written again, the file is the same.
  const std::string again = scratch_folder() + "/again.checkpoint";
  const auto state = [&](void* to, size_t bytes) {
    if (bytes > 0) std::memcpy(to, checkpoint->state.data(), bytes);
    return Status();
  };
  if (!save_checkpoint(again, *checkpoint, checkpoint->state.size(), state).ok()) std::abort();
  const Result<Checkpoint> reread = load_checkpoint(again);
  if (!reread.ok() || reread->settings != checkpoint->settings || reread->state != checkpoint->state ||
      reread->step != checkpoint->step || reread->epochs.size() != checkpoint->epochs.size()) {
    std::abort();
  }
}

// Size and checksum stay valid; numbers are stored in units of eight bytes after the texts.
void mutate(Random& random, Bytes& bytes, size_t most) {
  constexpr size_t kHeader = 32, kSizeAt = 16, kSumAt = 24;
  if (random.one_in(2) && bytes.size() >= kHeader + 8) {
    mutate_number(random, &bytes[kHeader + random.below(bytes.size() - kHeader - 7)], 8, false);
  } else {
    mutate_bytes(bytes, most);
  }
  if (bytes.size() < kHeader) return;
  const uint64_t size = bytes.size(), sum = xxh64(bytes.data() + kHeader, bytes.size() - kHeader);
  std::memcpy(&bytes[kSizeAt], &size, 8);
  std::memcpy(&bytes[kSumAt], &sum, 8);
}

}  // namespace

extern const Target checkpoint_target{"checkpoint", 4096, run, mutate};

}  // namespace sparsenet::fuzz
