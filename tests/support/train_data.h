// Parameters, images and labels that tests/goldens/train makes in Python too, bit for bit, so that the goldens need to
// store only PyTorch's results. The counterpart of this file is tests/goldens/train/train_data.py.
#pragma once

#include <sparsenet/graph.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::test {

// Initial values of a parameter: He-like weights, a quarter of that for the last layer, BatchNorm scales in 0.5..1.5,
// small shifts and biases. The kind follows from the end of the name and the rank.
std::vector<float> train_parameter(const std::string& name, const Shape& shape);

// Sets every parameter of one of our networks to these values. Running statistics stay.
void set_train_parameters(Graph& graph);

struct TrainData {
  Shape image;  // [C, H, W]
  int64_t count = 0;
  std::vector<float> images;  // [count, C, H, W]
  std::vector<int32_t> labels;

  size_t image_size() const { return static_cast<size_t>(element_count(image)); }
  const float* batch_images(int64_t batch, int64_t size) const {
    return &images[static_cast<size_t>(batch * size) * image_size()];
  }
  const int32_t* batch_labels(int64_t batch, int64_t size) const { return &labels[static_cast<size_t>(batch * size)]; }
};

// Noise over a coarse pattern for the image's class, which can be learnt in a few steps.
TrainData train_data(int64_t count, int64_t classes, const Shape& image = {3, 32, 32});

}  // namespace sparsenet::test
