#include "mlperf_tiny/ic_task.h"

#include <string.h>

namespace sparsenet::mlperf {

const char* IcTask::open(sn_session* session) {
  sn_tensor input{}, output{};
  input.struct_size = sizeof input;
  output.struct_size = sizeof output;
  if (sn_input(session, 0, &input) != SN_OK || input.rank != 4 || input.dims[0] != 1 ||
      input.dims[1] != static_cast<int32_t>(kChannels) || input.dims[2] != static_cast<int32_t>(kSide) ||
      input.dims[3] != static_cast<int32_t>(kSide)) {
    return "expected an input [1, 3, 32, 32]";
  }
  if (sn_output(session, 0, &output) != SN_OK || output.elements < 1 || output.elements > kMostClasses) {
    return "expected an output of 1 to 128 classes";
  }
  sn_image_info image{};
  image.struct_size = sizeof image;
  if (sn_image(session, &image) != SN_OK || image.channels != kChannels) {
    return "expected a mean and a standard deviation for 3 channels, or none";
  }
  const bool bgr = strcmp(image.color_order, "BGR") == 0;
  if (!bgr && strcmp(image.color_order, "RGB") != 0) return "expected colours in the order RGB or BGR";
  for (size_t c = 0; c < kChannels; ++c) {
    source_channel_[c] = bgr ? kChannels - 1 - c : c;
    mean_[c] = image.mean[c];
    std_dev_[c] = image.std_dev[c];
  }
  session_ = session;
  classes_ = output.elements;
  return nullptr;
}

void IcTask::load(const uint8_t bytes[kInputBytes]) {
  for (size_t c = 0; c < kChannels; ++c) {
    for (size_t p = 0; p < kPixels; ++p) {
      input_[c * kPixels + p] =
          (static_cast<float>(bytes[p * kChannels + source_channel_[c]]) - mean_[c]) / std_dev_[c];
    }
  }
}

sn_status IcTask::infer() {
  // Set before every run: a plan may reuse the input's memory during a run.
  sn_status status = sn_set_input(session_, 0, input_, kInputBytes);
  if (status == SN_OK) status = sn_run(session_);
  if (status == SN_OK) status = sn_get_output(session_, 0, outputs_, classes_);
  return status;
}

}  // namespace sparsenet::mlperf
