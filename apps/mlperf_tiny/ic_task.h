// The image classification task of MLPerf Tiny ("ic01") on the C API: 32 x 32 RGB bytes in rows of pixels, as in the
// benchmark's files, become the network's input with the mean and deviation stated in the model file.
#pragma once

#include <sparsenet/sparsenet.h>
#include <stddef.h>
#include <stdint.h>

namespace sparsenet::mlperf {

class IcTask {
 public:
  static constexpr size_t kSide = 32, kChannels = 3, kPixels = kSide * kSide, kInputBytes = kPixels * kChannels;
  static constexpr size_t kMostClasses = 128;

  // Null, or why this network cannot perform the task: a message with static storage.
  const char* open(sn_session* session);

  // Converts bytes [row][column][channel] to the input tensor. Benchmarks do not measure this.
  void load(const uint8_t bytes[kInputBytes]);
  // One inference on what was loaded: copies the input into the session's arena and runs.
  sn_status infer();

  size_t classes() const { return classes_; }
  const float* outputs() const { return outputs_; }  // of the last inference; zeros before the first

 private:
  sn_session* session_ = nullptr;
  size_t classes_ = 0;
  size_t source_channel_[kChannels] = {0, 1, 2};
  float mean_[kChannels] = {0, 0, 0}, std_dev_[kChannels] = {1, 1, 1};
  float input_[kInputBytes] = {};
  float outputs_[kMostClasses] = {};
};

}  // namespace sparsenet::mlperf
