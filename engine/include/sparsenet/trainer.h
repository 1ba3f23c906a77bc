// Trainer: a graph, its gradients and an optimiser, planned for one batch size in one arena. It trains the same graph
// that is deployed, from scratch or from a file, as a whole or in part:
//
//   TrainOptions options;
//   options.batch = 64;
//   auto trainer = sparsenet::Trainer::create(model->graph, options);
//   for (...) {
//     auto result = trainer->step(images, labels, 0.1f);   // NCHW float32, class indices
//     result->loss, result->correct
//   }
//   auto trained = trainer->graph();                        // with the trained parameters
//   if (trained.ok()) model->graph = std::move(*trained);
//   model->test_vectors.clear();                            // their outputs are those of the old ones
//   if (auto saved = save_model(*model, "trained.snet"); !saved.ok()) ...
//
// The graph has one input [N, C, H, W] (or [N, C]) and one output of logits [N, classes] (a Softmax at the end is left
// out of training: the loss is the cross-entropy of the logits). BatchNorm uses the statistics of the batch and updates
// its running ones: running = 0.9 running + 0.1 batch, with the unbiased variance, as PyTorch does by default.
//
// A graph that computes with integers (see Quantization) is trained with its rounding simulated, and stays one: where
// its nodes depend on trained parameters, they are computed in float32, and every result is rounded to the numbers that
// its integers stand for. Gradients pass straight through the rounding, except where a number is outside the bounds.
// Parameters are the real numbers that their integers stand for. Weights get scales anew from their largest magnitudes;
// the scales of values stay, and the statistics of BatchNorm are the running ones, unchanged. Nodes that depend on no
// trained parameter compute with integers. Trained integers need a small learning rate: 3e-5 is a good start.
//
// Memory: create() allocates everything; step() makes no heap call. Determinism: the parameters after a step depend,
// bit for bit, only on the graph, the options (except `threads`), the data and the instruction set in use. Thread
// safety: a trainer may be used by one thread at a time.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet {

enum class Optimizer : uint8_t {
  kSgd = 0,    // momentum, Nesterov form (I. Sutskever et al. 2013, as PyTorch writes it)
  kAdam = 1,   // arXiv 1412.6980; weight decay is added to the gradient
  kAdamW = 2,  // arXiv 1711.05101; weight decay is applied to the parameter directly
};

struct TrainOptions {
  int64_t batch = 64;
  int threads = 0;         // 0: as many as CPUs this process may use
  ThreadHook thread_hook;  // if it has threads, they are used and `threads` is ignored
  Optimizer optimizer = Optimizer::kSgd;
  float momentum = 0.9f;  // SGD; 0: none
  bool nesterov = true;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;  // Adam, AdamW
  float weight_decay = 1e-4f;
  bool decay_all = true;        // false: no weight decay for biases and BatchNorm
  float label_smoothing = 0.f;  // target = (1 - s) one-hot + s / classes
  float clip_norm = 0.f;        // gradients are scaled so that their joint L2 norm is at most this; 0: off
  int accumulate = 1;           // number of batches whose mean gradient makes one update
  // What is frozen: "none"; "all-but-head" (the last FullyConnected or Conv is trained, everything in front of it runs
  // folded and fused as in inference, with the running statistics); "bn-and-bias" (BatchNorm scale and shift and all
  // biases are trained, weights are not); or a pattern with * and ?: parameters whose names match it are frozen. A
  // BatchNorm whose scale and shift are frozen uses its running statistics and leaves them unchanged.
  std::string freeze = "none";
  // 0: no limit. Otherwise the most bytes that arena, scratch and packed weights may take together. To fit, activations
  // are recomputed, and then the batch is divided into micro-batches (whose gradients are averaged). The choice does
  // not depend on `threads`: it is made to fit with the scratch of four threads, or with that of one thread if nothing
  // fits with four. As many threads then run as the budget has room for (of a thread_hook: all of its threads or none).
  // A budget that is too small is an error (kInvalidArgument), which names the smallest possible one.
  size_t memory_budget = 0;
  // A limit that changes nothing in order to fit: a training that needs more fails with kOutOfMemory and the bytes
  // needed, before any of it is allocated. 0: no limit.
  size_t max_memory_bytes = 0;
  Backend backend = Backend::kAuto;  // kAuto, kPortable, or kReference (only the plain kernels, for checking)
  bool flush_denormals = true;       // as in SessionOptions; can change the last bits of the result
};

struct TrainStep {
  double loss = 0;      // mean cross-entropy of the batch, without label smoothing and weight decay
  int64_t correct = 0;  // images whose largest logit is that of their label
  int64_t images = 0;
  bool updated = false;  // false as long as fewer than TrainOptions::accumulate batches have been added
};

struct TrainMemory {
  size_t arena_bytes = 0;        // activations, gradients, parameters, optimiser state
  size_t parameter_bytes = 0;    // part of the arena: parameters, their gradients and the optimiser's state
  size_t lower_bound_bytes = 0;  // largest sum of bytes live at the same time: no plan can need less
  size_t scratch_bytes = 0;      // working memory of the kernels, for all threads
  size_t packed_bytes = 0;       // weights in the kernels' own order
  int64_t micro_batch = 0;       // images computed at once
  int64_t recomputed = 0;        // activations computed a second time to save memory
  double extra_macs = 0;         // what recomputing costs, as a share of one forward pass
};

// Memory that its owner does not need at the moment.
struct IdleMemory {
  void* data = nullptr;
  size_t bytes = 0;
};

struct ParameterInfo {
  std::string name;  // of the graph's constant
  Shape shape;
  bool trained = false;
  bool decayed = false;
};

class Trainer {
 public:
  // Errors: kUnsupported (an op without a gradient outside the frozen part: names the node), kInvalidArgument (names
  // the option), kInvalidModel, kOutOfMemory.
  static Result<Trainer> create(const Graph& graph, const TrainOptions& options);
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;
  ~Trainer();

  // Trains on one batch: `images` has options.batch images in the input's own shape, `labels` as many class indices in
  // [0, classes). Errors: kInvalidArgument (a label is out of range, or the rate is negative or not finite); kNotFinite
  // (the loss is not finite, or the gradients are not or have a norm above 1e19); kInvalidArgument if thread_hook
  // breaks its rules. After an error all state is as it was before the step. If the hook breaks its rules once the
  // update has begun, the update is finished without the hook, and the next step reports the error.
  Result<TrainStep> step(const float* images, const int32_t* labels, float learning_rate);

  // The graph that the trainer was created from, with the current parameters and running statistics; shapes with batch
  // 1. The only error is kOutOfMemory; for a graph that computes with integers also kNotFinite (names a parameter with
  // values for which there are no integers) and kUnsupported (a sum of integers could leave 32 bits: names the node).
  Result<Graph> graph() const;
  // The same without copies: its float32 constants are the trainer's own, which the next step changes and which live
  // only as long as the trainer. Whether sums of integers stay within 32 bits is not checked.
  Result<Graph> graph_view() const;
  const std::vector<ParameterInfo>& parameters() const;
  // Copy `elements` values, row-major in the parameter's own shape. Gradients are those of the last step (after
  // accumulation, before clipping and weight decay) and exist for trained parameters only. kUnsupported: a frozen
  // parameter of integers.
  Status get_parameter(size_t index, float* data, size_t elements) const;
  Status get_gradient(size_t index, float* data, size_t elements) const;

  // Everything that the next step depends on (parameters, running statistics, optimiser state, counters), so that after
  // load_state() a trainer with the same graph and options continues bit for bit. kInvalidArgument if the size differs.
  size_t state_bytes() const;
  Status save_state(void* data, size_t size) const;
  Status load_state(const void* data, size_t size);

  TrainMemory memory() const;
  // The largest part of the arena that holds nothing between two steps, aligned to 64 bytes: free to use until the next
  // step or until the trainer is destroyed, whichever comes first. For example, a session that evaluates the network
  // can live in it (SessionOptions::memory).
  IdleMemory idle_memory();
  int threads() const;
  int64_t classes() const;
  // The planned steps: forward, backward, running statistics, update. step_profiled() is step() with each planned step
  // timed; StepInfo::milliseconds is the sum over the micro-batches.
  const std::vector<StepInfo>& steps() const;
  Result<TrainStep> step_profiled(const float* images, const int32_t* labels, float learning_rate);

 private:
  friend struct TrainerAccess;
  class Impl;
  explicit Trainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Whether a training simulates integers: whether anything that depends on a trained parameter computes with them.
// kInvalidArgument: as Trainer::create, for options.freeze.
Result<bool> simulates_integers(const Graph& graph, const TrainOptions& options);

// Gives the last FullyConnected (or 1x1 Conv) layer `classes` outputs, with weights He-initialised from the seed and a
// zero bias. Errors: kUnsupported if the graph does not end in such a layer, kInvalidArgument (classes), kOutOfMemory;
// after an error the graph is as it was.
Status replace_head(Graph* graph, int64_t classes, uint64_t seed);

}  // namespace sparsenet
