#include <sparsenet/train_tools.h>

#include <algorithm>

#include "train/random_stream.h"

namespace sparsenet {

CropFlip draw_crop_flip(uint64_t seed, int64_t epoch, int64_t index, int pad) {
  RandomBits bits = random_stream("crop-flip", seed, {epoch, index});
  const uint64_t places = 2 * static_cast<uint64_t>(std::max(pad, 0)) + 1;
  CropFlip drawn;
  drawn.down = static_cast<int>(random_below(bits, places)) - pad;
  drawn.right = static_cast<int>(random_below(bits, places)) - pad;
  drawn.flip = random_below(bits, 2) == 1;
  return drawn;
}

void apply_crop_flip(const CropFlip& what, const float* image, int channels, int height, int width, float* out) {
  // Columns of the crop that lie in the image; the others are zero.
  const int begin = std::clamp(-what.right, 0, width), end = std::clamp(width - what.right, 0, width);
  for (int c = 0; c < channels; ++c) {
    for (int y = 0; y < height; ++y, out += width) {
      std::fill(out, out + width, 0.0f);
      const int from = y + what.down;
      if (from < 0 || from >= height || begin >= end) continue;
      const float* row = image + (static_cast<int64_t>(c) * height + from) * width + what.right;
      if (what.flip) {
        std::reverse_copy(row + begin, row + end, out + (width - end));
      } else {
        std::copy(row + begin, row + end, out + begin);
      }
    }
  }
}

}  // namespace sparsenet
