// Parameters, images and labels that tests/goldens/train makes in Python too, bit for bit, so that the goldens store
// only what PyTorch made of them. The twin of this file is tests/goldens/train/train_data.py.
#pragma once

#include <sparsenet/graph.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet::test {

// Initial values of a parameter: He-like weights, a quarter of it for the last layer, BatchNorm scales in 0.5..1.5,
// small shifts and biases. The name's end and the rank say which it is.
std::vector<float> train_parameter(const std::string& name, const Shape& shape);

// Gives every parameter of a network of ours those values. Running statistics stay.
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

// Some noise over a coarse pattern of the image's class, learnt in a few steps.
TrainData train_data(int64_t count, int64_t classes, const Shape& image = {3, 32, 32});

}  // namespace sparsenet::test
