// ResNet for CIFAR (arXiv 1512.03385, sec. 4.2): 6 n + 2 layers, widths 16, 32, 64. Where the width doubles, the
// shortcuts are those of option A (subsampling and zero channels, no parameters) or B (1x1 convolutions). Names are
// those of the widespread PyTorch form (akamaster/pytorch_resnet_cifar10).
#include <string>

#include "zoo/architecture_builders.h"
#include "zoo/layer_builder.h"

namespace sparsenet {
namespace {

// Option A: every second row and column, and the missing channels as zeros, half of them before and half after.
ValueId padded_shortcut(LayerBuilder* layers, const std::string& name, ValueId x, int64_t width) {
  SliceAttrs every_second;
  every_second.axes = {2, 3};
  every_second.starts = {0, 0};
  every_second.ends = {layers->dim(x, 2), layers->dim(x, 3)};
  every_second.steps = {2, 2};
  const int64_t missing = width - layers->channels(x);
  PadAttrs zeros;
  zeros.before = {0, missing / 2, 0, 0};
  zeros.after = {0, missing - missing / 2, 0, 0};
  x = layers->add(Op::kSlice, name + ".slice", {x}, every_second);
  return layers->add(Op::kPad, name + ".pad", {x}, zeros);
}

// Option B: a 1x1 convolution of every second row and column, normalised.
ValueId convolved_shortcut(LayerBuilder* layers, const std::string& name, ValueId x, int64_t width, float epsilon) {
  x = layers->conv(name + ".0", x, {width, 1, 2, 0, false});
  return layers->batch_norm(name + ".1", x, epsilon);
}

}  // namespace

Result<Graph> build_resnet(const Architecture& arch, uint64_t seed) {
  LayerBuilder layers(seed);
  const int64_t size = image_size(arch);
  const int blocks = (arch.depth - 2) / 6;
  const float epsilon = arch.bn_epsilon;
  ValueId x = layers.input("input", {1, 3, size, size});
  x = layers.conv("conv1", x, {16, 3, 1, 1, false});
  x = layers.relu("relu1", layers.batch_norm("bn1", x, epsilon));
  int64_t width = 16;
  for (int stage = 1; stage <= 3; ++stage, width *= 2) {
    for (int i = 0; i < blocks; ++i) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(i);
      const bool narrow = stage > 1 && i == 0;
      ValueId y = layers.conv(name + ".conv1", x, {width, 3, narrow ? 2 : 1, 1, false});
      y = layers.relu(name + ".relu1", layers.batch_norm(name + ".bn1", y, epsilon));
      y = layers.conv(name + ".conv2", y, {width, 3, 1, 1, false});
      y = layers.batch_norm(name + ".bn2", y, epsilon);
      if (narrow) {
        const std::string shortcut = name + ".shortcut";
        x = arch.shortcut == Architecture::Shortcut::kConv ? convolved_shortcut(&layers, shortcut, x, width, epsilon)
                                                           : padded_shortcut(&layers, shortcut, x, width);
      }
      x = layers.relu(name + ".relu2", layers.add(Op::kAdd, name + ".add", {y, x}));
    }
  }
  x = layers.flatten("flatten", layers.unary(Op::kGlobalAveragePool, "pool", x));
  return layers.finish(layers.fully_connected("linear", x, arch.classes, "logits"));
}

}  // namespace sparsenet
