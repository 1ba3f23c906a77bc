// Image classification, "ic01": 32 x 32 RGB bytes in rows of pixels become the network's input with the mean, deviation
// and order of colours stated in the model file. Nothing depends on the network's size: the larger network of "ic02"
// has the same input.
#include <string.h>

#include "mlperf_tiny/task.h"

namespace sparsenet::mlperf {
namespace {

constexpr size_t kSide = 32, kChannels = 3, kPixels = kSide * kSide, kInputBytes = kPixels * kChannels;
static_assert(kInputBytes <= kMostInputBytes, "");

bool takes(const sn_tensor& input) {
  return input.rank == 4 && input.dims[0] == 1 && input.dims[1] == static_cast<int32_t>(kChannels) &&
         input.dims[2] == static_cast<int32_t>(kSide) && input.dims[3] == static_cast<int32_t>(kSide);
}

sn_image_info image_of(const sn_session* session) {
  sn_image_info image{};
  image.struct_size = sizeof image;
  (void)sn_image(session, &image);
  return image;
}

const char* check(const sn_session* session, const sn_tensor&, const sn_tensor&) {
  const sn_image_info image = image_of(session);
  if (image.channels != kChannels) return "expected a mean and a standard deviation for 3 channels, or none";
  if (strcmp(image.color_order, "BGR") != 0 && strcmp(image.color_order, "RGB") != 0) {
    return "expected colours in the order RGB or BGR";
  }
  return nullptr;
}

void load(const sn_session* session, const uint8_t* bytes, Numbers* input) {
  const sn_image_info image = image_of(session);
  const bool bgr = strcmp(image.color_order, "BGR") == 0;
  for (size_t c = 0; c < kChannels; ++c) {
    const size_t from = bgr ? kChannels - 1 - c : c;
    for (size_t p = 0; p < kPixels; ++p) {
      input->set(c * kPixels + p, (static_cast<float>(bytes[p * kChannels + from]) - image.mean[c]) / image.std_dev[c]);
    }
  }
}

}  // namespace

const TaskKind image_classification{"ic",  "ic01", kInputBytes, "expected an input [1, 3, 32, 32]",
                                    takes, check,  load,        nullptr};

}  // namespace sparsenet::mlperf
