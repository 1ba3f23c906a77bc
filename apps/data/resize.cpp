#include "data/resize.h"

#include <algorithm>
#include <cmath>

namespace sparsenet::io {
namespace {

// The source range and weights of every output sample along one axis.
struct Taps {
  std::vector<int> first;
  std::vector<std::vector<float>> weights;
};

Taps triangle_taps(double begin, double end, int source, int target) {
  const double scale = (end - begin) / target;
  const double radius = std::max(scale, 1.0);
  Taps taps;
  for (int i = 0; i < target; ++i) {
    const double centre = begin + (i + 0.5) * scale;
    int first = std::max(0, static_cast<int>(std::floor(centre - radius)));
    const int last = std::min(source - 1, static_cast<int>(std::ceil(centre + radius)));
    first = std::min(first, last);
    std::vector<double> weights;
    double sum = 0;
    for (int s = first; s <= last; ++s) {
      weights.push_back(std::max(0.0, 1.0 - std::abs(s + 0.5 - centre) / radius));
      sum += weights.back();
    }
    taps.first.push_back(first);
    taps.weights.emplace_back();
    // At the borders part of the filter covers no pixels: the remaining weights are scaled to a sum of one.
    for (const double weight : weights) taps.weights.back().push_back(static_cast<float>(weight / sum));
  }
  return taps;
}

}  // namespace

std::vector<float> resize_bilinear(const Image& image, const Box& box, int width, int height) {
  const Taps across = triangle_taps(box.left, box.right, image.width, width);
  const Taps down = triangle_taps(box.top, box.bottom, image.height, height);
  const auto channels = static_cast<size_t>(image.channels);
  const auto out_width = static_cast<size_t>(width), out_height = static_cast<size_t>(height);
  const int first_row = down.first.front();
  const int end_row = down.first.back() + static_cast<int>(down.weights.back().size());

  // Rows first, but only those that the second step reads: [row][channel][column].
  std::vector<float> rows(static_cast<size_t>(end_row - first_row) * channels * out_width);
  for (int y = first_row; y < end_row; ++y) {
    const uint8_t* source = image.pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(image.width) * channels;
    float* target = rows.data() + static_cast<size_t>(y - first_row) * channels * out_width;
    for (size_t x = 0; x < out_width; ++x) {
      const std::vector<float>& weights = across.weights[x];
      const uint8_t* pixel = source + static_cast<size_t>(across.first[x]) * channels;
      for (size_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (size_t t = 0; t < weights.size(); ++t) sum += weights[t] * static_cast<float>(pixel[t * channels + c]);
        target[c * out_width + x] = sum;
      }
    }
  }

  std::vector<float> result(channels * out_height * out_width, 0.0f);
  for (size_t y = 0; y < out_height; ++y) {
    const std::vector<float>& weights = down.weights[y];
    for (size_t t = 0; t < weights.size(); ++t) {
      const float* source = rows.data() + (static_cast<size_t>(down.first[y] - first_row) + t) * channels * out_width;
      for (size_t c = 0; c < channels; ++c) {
        float* target = result.data() + (c * out_height + y) * out_width;
        for (size_t x = 0; x < out_width; ++x) target[x] += weights[t] * source[c * out_width + x];
      }
    }
  }
  return result;
}

Box centre_crop(int width, int height, int target_width, int target_height) {
  const double scale = std::min(static_cast<double>(width) / target_width, static_cast<double>(height) / target_height);
  const double box_width = scale * target_width, box_height = scale * target_height;
  Box box;
  box.left = (width - box_width) / 2;
  box.top = (height - box_height) / 2;
  box.right = box.left + box_width;
  box.bottom = box.top + box_height;
  return box;
}

}  // namespace sparsenet::io
