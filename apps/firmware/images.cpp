#include "images.h"

namespace images {

namespace {

// In place of strcmp(), whose unrolled form in newlib takes 0.7 KB of flash.
bool equal(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

}  // namespace

const char* open(sn_session* session, sn_image_info* info) {
  sn_tensor input = {};
  input.struct_size = sizeof input;
  *info = {};
  info->struct_size = sizeof *info;
  if (sn_input(session, 0, &input) != SN_OK || input.rank != 4 || input.dims[0] != 1 ||
      input.dims[1] != static_cast<int32_t>(kChannels) || input.dims[2] != static_cast<int32_t>(kSide) ||
      input.dims[3] != static_cast<int32_t>(kSide)) {
    return "expected a model with an input [1, 3, 32, 32]";
  }
  if (sn_image(session, info) != SN_OK || info->channels != kChannels) {
    return "expected a mean and a standard deviation for 3 channels, or none";
  }
  if (!equal(info->color_order, "RGB") && !equal(info->color_order, "BGR")) {
    return "expected colours in the order RGB or BGR";
  }
  return nullptr;
}

void to_input(const sn_image_info& info, const uint8_t* record, float* input) {
  const bool bgr = info.color_order[0] == 'B';
  for (size_t c = 0; c < kChannels; ++c) {
    const uint8_t* plane = record + 1 + (bgr ? kChannels - 1 - c : c) * kArea;
    for (size_t i = 0; i < kArea; ++i) {
      input[c * kArea + i] = (static_cast<float>(plane[i]) - info.mean[c]) / info.std_dev[c];
    }
  }
}

}  // namespace images
