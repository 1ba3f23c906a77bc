// Decoded images and the PNG and JPEG decoders.
#pragma once

#include <sparsenet/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::io {

// 8-bit pixels, interleaved, rows from top to bottom without padding.
struct Image {
  int width = 0, height = 0;
  int channels = 3;  // 3: R, G, B; 1: grey
  std::vector<uint8_t> pixels;

  size_t bytes() const {
    return static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels);
  }
};

// Limits above which files are rejected before memory is allocated for them.
constexpr uint64_t kMaxImageFileBytes = uint64_t{256} << 20;
constexpr int kMaxImageSide = 32768;
constexpr uint64_t kMaxImagePixels = uint64_t{1} << 27;

// Decodes a PNG or JPEG, recognised by content. The result is RGB or grey; palettes are resolved, 16-bit samples
// reduced, transparency dropped, CMYK JPEGs converted. Gamma, colour profiles and EXIF orientation are not applied, as
// in the image loaders with which networks are usually trained. A truncated file is an error, not a partly grey image.
Result<Image> load_image(const std::string& path);

// The same from memory; `what` stands for the path in messages.
Result<Image> decode_image(const uint8_t* data, size_t size, const std::string& what);
Result<Image> decode_png(const uint8_t* data, size_t size, const std::string& what);
Result<Image> decode_jpeg(const uint8_t* data, size_t size, const std::string& what);

// An 8-bit PNG of the image.
Result<std::vector<uint8_t>> encode_png(const Image& image);

// True if the name ends in .png, .jpg or .jpeg, in any case.
bool has_image_suffix(const std::string& path);

}  // namespace sparsenet::io
