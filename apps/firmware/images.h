// The images in flash: records of a label byte and 3 x 32 x 32 bytes, red, green, blue (images.S).
#pragma once

#include <sparsenet/sparsenet.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
extern const uint8_t images_begin[], images_end[];
}

namespace images {

constexpr size_t kSide = 32, kChannels = 3, kArea = kSide * kSide, kPixels = kChannels * kArea, kRecord = 1 + kPixels;

// How images become the model's input.
struct Input {
  sn_image_info info;
  sn_tensor tensor;
};

// Returns null, or why the model does not accept these images.
const char* open(sn_session* session, Input* input);

// Converts the pixels of a record to the model's input, which is float32 or integers, and sets it. `buffer` has room
// for the input in its own type.
bool set(sn_session* session, const Input& input, const uint8_t* record, void* buffer);

}  // namespace images
