#include "data/preprocess.h"

#include <algorithm>
#include <cmath>

#include "data/resize.h"

namespace sparsenet::io {
namespace {

// One value per channel from the metadata's list: an empty list gives the default, a single value applies to all
// channels.
Result<std::vector<float>> per_channel(const std::vector<float>& list, int channels, float missing, const char* what) {
  const auto count = static_cast<size_t>(channels);
  if (list.empty()) return std::vector<float>(count, missing);
  if (list.size() == 1) return std::vector<float>(count, list[0]);
  if (list.size() == count) return list;
  return invalid_model(std::string("metadata: expected ") + std::to_string(channels) + " values of " + what +
                       ", found " + std::to_string(list.size()));
}

// Luma according to ITU-R BT.601, which image libraries use for grey.
constexpr float kLuma[3] = {0.299f, 0.587f, 0.114f};

}  // namespace

Normalisation normalisation_of(const Metadata& metadata) {
  if (metadata.mean.empty() && metadata.std_dev.empty()) return Normalisation::kMissing;
  // For 0..255 pixels, a deviation below 1 would mean images of a single colour.
  const bool unit_range =
      !metadata.std_dev.empty() &&
      std::all_of(metadata.std_dev.begin(), metadata.std_dev.end(), [](float value) { return value < 1; }) &&
      std::all_of(metadata.mean.begin(), metadata.mean.end(), [](float value) { return value <= 1; });
  return unit_range ? Normalisation::kLooksUnitRange : Normalisation::kStored;
}

Result<Preprocess> Preprocess::create(const Shape& input, const Metadata& metadata) {
  constexpr int64_t kMaxSide = 16384;
  if (input.size() != 4 || (input[1] != 3 && input[1] != 1) || input[2] < 1 || input[3] < 1 || input[2] > kMaxSide ||
      input[3] > kMaxSide) {
    return invalid_model("the network's input is no image: expected shape [N, 3 or 1, H, W], found " +
                         to_string(input));
  }
  Preprocess result;
  result.channels_ = static_cast<int>(input[1]);
  result.height_ = static_cast<int>(input[2]);
  result.width_ = static_cast<int>(input[3]);

  if (result.channels_ == 1) {
    result.order_ = Order::kGray;  // one channel leaves no choice, whatever the metadata's default
  } else if (metadata.color_order == "RGB") {
    result.order_ = Order::kRgb;
  } else if (metadata.color_order == "BGR") {
    result.order_ = Order::kBgr;
  } else {
    return invalid_model("metadata: expected colour order RGB or BGR for 3 channels, found '" + metadata.color_order +
                         "'");
  }
  if (metadata.resize != "bilinear" && metadata.resize != "bilinear-crop") {
    return invalid_model("metadata: expected resize rule bilinear or bilinear-crop, found '" + metadata.resize + "'");
  }
  result.crop_ = metadata.resize == "bilinear-crop";

  SPARSENET_ASSIGN_OR_RETURN(auto mean, per_channel(metadata.mean, result.channels_, 0.0f, "mean"));
  SPARSENET_ASSIGN_OR_RETURN(auto std_dev, per_channel(metadata.std_dev, result.channels_, 1.0f, "std"));
  for (const float value : std_dev) {
    if (value == 0.0f || !std::isfinite(value)) return invalid_model("metadata: a std is zero or not finite");
  }
  result.mean_ = std::move(mean);
  result.std_dev_ = std::move(std_dev);
  return result;
}

void Preprocess::apply(const Image& image, float* out) const {
  const auto area = static_cast<size_t>(width_) * static_cast<size_t>(height_);
  const auto source_channels = static_cast<size_t>(image.channels);

  std::vector<float> planes;  // [source channel][row][column]
  if (image.width == width_ && image.height == height_) {
    planes.resize(source_channels * area);
    for (size_t i = 0; i < area; ++i) {
      for (size_t c = 0; c < source_channels; ++c) {
        planes[c * area + i] = static_cast<float>(image.pixels[i * source_channels + c]);
      }
    }
  } else {
    const Box whole{0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
    const Box box = crop_ ? centre_crop(image.width, image.height, width_, height_) : whole;
    planes = resize_bilinear(image, box, width_, height_);
  }

  for (size_t c = 0; c < static_cast<size_t>(channels_); ++c) {
    // Divides instead of multiplying by the reciprocal: the same bits as in the frameworks that trained the network.
    const float mean = mean_[c], std_dev = std_dev_[c];
    float* target = out + c * area;
    if (source_channels == 3 && order_ == Order::kGray) {
      for (size_t i = 0; i < area; ++i) {
        const float luma = kLuma[0] * planes[i] + kLuma[1] * planes[area + i] + kLuma[2] * planes[2 * area + i];
        target[i] = (luma - mean) / std_dev;
      }
      continue;
    }
    const size_t from = source_channels == 1 ? 0 : order_ == Order::kBgr ? 2 - c : c;
    const float* source = planes.data() + from * area;
    for (size_t i = 0; i < area; ++i) target[i] = (source[i] - mean) / std_dev;
  }
}

}  // namespace sparsenet::io
