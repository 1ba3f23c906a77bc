#include "data/image.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "data/file.h"

namespace sparsenet::io {

Result<Image> decode_image(const uint8_t* data, size_t size, const std::string& what) {
  static constexpr uint8_t kPng[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  static constexpr uint8_t kJpeg[3] = {0xff, 0xd8, 0xff};
  if (size >= sizeof kPng && std::memcmp(data, kPng, sizeof kPng) == 0) return decode_png(data, size, what);
  if (size >= sizeof kJpeg && std::memcmp(data, kJpeg, sizeof kJpeg) == 0) return decode_jpeg(data, size, what);
  return unsupported(what + ": expected a PNG or JPEG image, found neither signature in a file of " +
                     std::to_string(size) + " bytes");
}

Result<Image> load_image(const std::string& path) {
  SPARSENET_ASSIGN_OR_RETURN(auto bytes, read_file(path, kMaxImageFileBytes));
  return decode_image(bytes.data(), bytes.size(), path);
}

bool has_image_suffix(const std::string& path) {
  const size_t dot = path.rfind('.');
  if (dot == std::string::npos) return false;
  std::string suffix = path.substr(dot);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg";
}

}  // namespace sparsenet::io
