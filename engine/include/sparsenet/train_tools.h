// What a training loop needs besides a Trainer: the learning rate of a step, the order of an epoch, augmentation, and
// checkpoints. `sparsenet train` is built from these; each can be used on its own.
//
// Determinism: learning rate, order and augmentation depend only on their arguments, so a training that is interrupted
// and resumed, or that uses another number of threads, gets the same numbers. Thread safety: all functions may be
// called from several threads at once.
#pragma once

#include <sparsenet/status.h>
#include <sparsenet/trainer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sparsenet {

enum class Schedule : uint8_t {
  kPaper = 0,      // arXiv 1804.05340 sec. 4.2: the rate x 1, 0.1, 0.01, 0.002, from 0, 150/280, 200/280, 250/280 on
  kPaperSvhn = 1,  // the same paper, for SVHN: the rate x 1, 0.1, 0.01, from 0, 20/40, 30/40 on
  kCosine = 2,     // arXiv 1608.03983 without restarts: half a cosine from the rate to 0
  kOneCycle = 3,   // arXiv 1708.07120: up linearly from rate / 25 over 30 % of the steps, by a cosine to rate / 10^4
  kConstant = 4,
};

struct LearningRate {
  Schedule schedule = Schedule::kPaper;
  double rate = 0.1;
  int64_t epochs = 1;  // all epochs, including warm-up
  int64_t steps_per_epoch = 1;
  // Epochs of linear warm-up, from rate / steps to the rate with which the schedule starts; the schedule then spans the
  // remaining epochs. Less than `epochs`.
  int64_t warmup_epochs = 0;

  // The rate of step number `step`, 0 <= step < epochs * steps_per_epoch (later steps keep the last step's rate).
  float at(int64_t step) const;
};

// The indices 0 .. count-1 in the order in which an epoch visits them: a Fisher-Yates shuffle seeded by `seed` and
// `epoch`. Epochs count from 0. `count` is at most 2^32.
std::vector<uint32_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch);

// A random crop of an image padded with zeros, and a random horizontal flip: the usual augmentation for CIFAR.
struct CropFlip {
  int down = 0, right = 0;  // the crop's offset relative to the image: -pad .. pad
  bool flip = false;
};
// The crop and flip for the image with this index in the data set, in this epoch.
CropFlip draw_crop_flip(uint64_t seed, int64_t epoch, int64_t index, int pad);
// `image` and `out`: channels x height x width values, not overlapping. Outside the image lie zeros, which are the mean
// colour if the image is normalised.
void apply_crop_flip(const CropFlip& what, const float* image, int channels, int height, int width, float* out);

// A running 64-bit hash (XXH64), to tell whether two trainings use the same data. The hash of a followed by b is
// hash(b, hash(a)).
uint64_t hash_bytes(const void* data, size_t size, uint64_t previous = 0);

// What was measured in one epoch.
struct EpochRecord {
  double train_loss = 0;     // mean cross-entropy over the epoch's steps
  double train_error = 0;    // share of wrong answers in these steps, 0..1
  double test_error = -1;    // after the epoch; negative: not measured
  double learning_rate = 0;  // of the epoch's last step
  double seconds = 0;        // spent in steps
  int64_t images = 0;
};

// A training that can be resumed, in one file.
struct Checkpoint {
  // Everything that affects the outcome, as name and value; compare_settings() tells whether the training may be
  // resumed.
  std::vector<std::pair<std::string, std::string>> settings;
  int64_t step = 0;                 // steps done since the start of the training
  std::vector<EpochRecord> epochs;  // finished ones
  // Of the current epoch: sums over its steps so far.
  double loss_sum = 0, seconds = 0;
  int64_t correct = 0, images = 0;
  bool has_step_losses = false;
  std::vector<double> step_losses;  // one per step since the start of the training, if requested
  std::vector<uint8_t> state;       // Trainer::save_state; load_checkpoint fills it in
};

// Writes the checkpoint with a checksum to a temporary file beside `path`, syncs it and renames it: at any moment,
// `path` is either the complete old checkpoint or the complete new one. `save_state` gets memory for `state_bytes`
// bytes (Trainer::state_bytes); checkpoint.state is not looked at, so the state need not be held twice. The file's
// bytes are assembled in `room` (Trainer::idle_memory) if they fit there, otherwise on the heap.
Status save_checkpoint(const std::string& path, const Checkpoint& checkpoint, size_t state_bytes,
                       const std::function<Status(void* data, size_t size)>& save_state, IdleMemory room = {});
// Errors: kNotFound, kIo; kInvalidModel if the file is not a checkpoint or is damaged; kUnsupported if a newer version
// wrote it. Messages begin with the path.
Result<Checkpoint> load_checkpoint(const std::string& path);

// Fails with kInvalidArgument, naming the first setting that differs and both values.
Status compare_settings(const Checkpoint& checkpoint, const std::vector<std::pair<std::string, std::string>>& settings);

}  // namespace sparsenet
