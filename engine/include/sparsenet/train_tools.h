// What surrounds a Trainer in a training loop: the learning rate of a step, the order of an epoch, augmentation, and
// checkpoints. `sparsenet train` is made of these; each can be used alone.
//
// Determinism: learning rate, order and augmentation are functions of their arguments alone, so a training that is
// interrupted and resumed, or that uses another number of threads, sees the same numbers.
// Thread safety: all functions may be called from several threads at once.
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
  kPaperSvhn = 1,  // the same paper's for SVHN: x 1, 0.1, 0.01, from 0, 20/40, 30/40 on
  kCosine = 2,     // arXiv 1608.03983 without restarts: half a cosine from the rate to 0
  kOneCycle = 3,   // arXiv 1708.07120: up linearly from rate / 25 over 30 % of the steps, by a cosine to rate / 10^4
  kConstant = 4,
};

struct LearningRate {
  Schedule schedule = Schedule::kPaper;
  double rate = 0.1;
  int64_t epochs = 1;  // all of them, warm-up among them
  int64_t steps_per_epoch = 1;
  // Epochs of linear warm-up, from rate / steps to the rate the schedule starts with; the schedule then spans the
  // epochs that are left. Less than `epochs`.
  int64_t warmup_epochs = 0;

  // Of the step with this number, 0 <= step < epochs * steps_per_epoch (later ones keep the last step's rate).
  float at(int64_t step) const;
};

// The indices 0 .. count-1 in the order in which an epoch goes through them: Fisher-Yates from seed and epoch. Epochs
// count from 0. `count` is at most 2^32.
std::vector<uint32_t> epoch_order(int64_t count, uint64_t seed, int64_t epoch);

// Random crop of an image padded with zeros, and random horizontal flip: the usual augmentation of CIFAR.
struct CropFlip {
  int down = 0, right = 0;  // where the crop begins, against the image: -pad .. pad
  bool flip = false;
};
// For the image with this index in the data set in this epoch.
CropFlip draw_crop_flip(uint64_t seed, int64_t epoch, int64_t index, int pad);
// `image` and `out`: channels x height x width values, not overlapping. Zeros are what lies outside the image: of a
// normalised one, the mean colour.
void apply_crop_flip(const CropFlip& what, const float* image, int channels, int height, int width, float* out);

// A running 64-bit hash (XXH64), to tell whether two trainings are of the same data: hash(b, hash(a)) stands for a, b.
uint64_t hash_bytes(const void* data, size_t size, uint64_t previous = 0);

// What was measured in one epoch.
struct EpochRecord {
  double train_loss = 0;     // mean cross-entropy over the epoch's steps
  double train_error = 0;    // share of wrong answers in them, 0..1
  double test_error = -1;    // after the epoch; negative: not measured
  double learning_rate = 0;  // of its last step
  double seconds = 0;        // spent in steps
  int64_t images = 0;
};

// A training that can be gone on with, in one file.
struct Checkpoint {
  // Everything that decides about the outcome, as name and value; compare_settings() tells whether it may be resumed.
  std::vector<std::pair<std::string, std::string>> settings;
  int64_t step = 0;                 // steps done since the beginning
  std::vector<EpochRecord> epochs;  // finished ones
  // Of the epoch that is under way: sums over its steps so far.
  double loss_sum = 0, seconds = 0;
  int64_t correct = 0, images = 0;
  bool has_step_losses = false;
  std::vector<double> step_losses;  // one a step since the beginning, where asked for
  std::vector<uint8_t> state;       // Trainer::save_state; load_checkpoint fills it in
};

// Writes it with a checksum to a temporary file beside `path`, syncs, renames: whatever happens meanwhile, `path` is
// the old checkpoint or the new one, whole. `save_state` gets memory for `state_bytes` bytes (Trainer::state_bytes);
// checkpoint.state is not looked at, so that the state need not be held twice. The file's bytes are put together in
// `room` where they fit there (Trainer::idle_memory), else on the heap.
Status save_checkpoint(const std::string& path, const Checkpoint& checkpoint, size_t state_bytes,
                       const std::function<Status(void* data, size_t size)>& save_state, IdleMemory room = {});
// kNotFound, kIo; kInvalidModel where the file is no checkpoint or is damaged, kUnsupported where a newer version wrote
// it. Messages begin with the path.
Result<Checkpoint> load_checkpoint(const std::string& path);

// kInvalidArgument naming the first setting that differs, with both values.
Status compare_settings(const Checkpoint& checkpoint, const std::vector<std::pair<std::string, std::string>>& settings);

}  // namespace sparsenet
