#include "images.h"

namespace images {

namespace {

// In place of strcmp(), whose unrolled form in newlib takes 0.7 KB of flash.
bool equal(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

// The integer of a byte's type, from `low` on, that stands for `value` scales; halves go away from zero, as in
// sn_set_input.
int32_t nearest(float value, int32_t zero_point, int32_t low) {
  if (!(value > -1024.f && value < 1024.f)) return value > 0 ? low + 255 : low;
  auto whole = static_cast<int32_t>(value);  // towards zero; the rest is exact
  const float rest = value - static_cast<float>(whole);
  if (rest >= 0.5f) ++whole;
  if (rest <= -0.5f) --whole;
  whole += zero_point;
  return whole < low ? low : whole > low + 255 ? low + 255 : whole;
}

}  // namespace

const char* open(sn_session* session, Input* input) {
  sn_tensor& tensor = input->tensor;
  sn_image_info* info = &input->info;
  tensor.struct_size = sizeof tensor;
  info->struct_size = sizeof *info;
  if (sn_input(session, 0, &tensor) != SN_OK || tensor.rank != 4 || tensor.dims[0] != 1 ||
      tensor.dims[1] != static_cast<int32_t>(kChannels) || tensor.dims[2] != static_cast<int32_t>(kSide) ||
      tensor.dims[3] != static_cast<int32_t>(kSide)) {
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

bool set(sn_session* session, const Input& input, const uint8_t* record, void* buffer) {
  const sn_image_info& info = input.info;
  const sn_tensor& tensor = input.tensor;
  const bool bgr = info.color_order[0] == 'B', real = tensor.type == SN_FLOAT32;
  const int32_t low = tensor.type == SN_INT8 ? -128 : 0;
  for (size_t c = 0; c < kChannels; ++c) {
    const uint8_t* plane = record + 1 + (bgr ? kChannels - 1 - c : c) * kArea;
    for (size_t i = 0; i < kArea; ++i) {
      const float value = (static_cast<float>(plane[i]) - info.mean[c]) / info.std_dev[c];
      if (real) {
        static_cast<float*>(buffer)[c * kArea + i] = value;
      } else {
        static_cast<uint8_t*>(buffer)[c * kArea + i] =
            static_cast<uint8_t>(nearest(value / tensor.scale, tensor.zero_point, low));
      }
    }
  }
  return (real ? sn_set_input(session, 0, static_cast<const float*>(buffer), kPixels)
               : sn_set_input_bytes(session, 0, buffer, kPixels)) == SN_OK;
}

}  // namespace images
