// Bilinear resizing with half-pixel centres.
#pragma once

#include <vector>

#include "data/image.h"

namespace sparsenet::io {

// A part of an image, in pixels; its edges may lie between pixels.
struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
};

// Resizes `box` of the image to width x height. Sample i of the output is at (i + 1/2) / size of the box; enlarging is
// plain bilinear interpolation, and shrinking widens the triangle filter to the size of an output pixel, so that all
// source pixels count (Pillow's BILINEAR, PyTorch's antialias=True). The result is planar, [channel][row][column], in
// 0..255, not rounded. The box lies within the image and is not empty.
std::vector<float> resize_bilinear(const Image& image, const Box& box, int width, int height);

// How an image of that size is cropped so that its short side fills the target: the largest centred box of the target's
// shape.
Box centre_crop(int width, int height, int target_width, int target_height);

}  // namespace sparsenet::io
