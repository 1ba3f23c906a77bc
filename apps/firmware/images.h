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

// Returns null and how images become the model's input, or else why the model does not accept these images.
const char* open(sn_session* session, sn_image_info* info);

// Converts the pixels of a record to the model's input: kPixels floats.
void to_input(const sn_image_info& info, const uint8_t* record, float* input);

}  // namespace images
