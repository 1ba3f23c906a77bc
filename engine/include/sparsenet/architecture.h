// The SparseNet / DenseNet family and CIFAR ResNets by name: "sparsenet-abc-v1",
// "sparsenet-abc:blocks=8-12-16,k=16,path=14,keep=7-7,attention=paper,pre-relu=1,classes=10,stem=cifar,bn-eps=1e-5",
// "densenet-bc-100-12", "resnet20". Sources: arXiv 1804.05340 and its authors' scripts; arXiv 1608.06993 (DenseNet);
// arXiv 1512.03385 sec. 4.2 (CIFAR ResNet). docs/architectures.md lists the keys.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

struct Architecture {
  enum class Family : uint8_t { kSparseNet, kDenseNet, kResNet };
  enum class Layer : uint8_t { kBasic, kBottleneck };  // kBottleneck: bc and abc
  enum class Attention : uint8_t { kNone, kPaper, kSqueezeExcite };
  enum class Stem : uint8_t { kCifar, kImageNet };
  // The shortcut of a residual block that changes its width: subsampling and zero channels (option A of the paper), or
  // a 1x1 convolution with batch normalisation (option B).
  enum class Shortcut : uint8_t { kPad, kConv };

  Family family = Family::kSparseNet;
  Layer layer = Layer::kBottleneck;
  Attention attention = Attention::kPaper;
  Stem stem = Stem::kCifar;
  std::vector<int> blocks{8, 12, 16};  // layers of each block
  int k = 16;                          // channels of a group
  int path = 14;                       // most groups that a layer reads besides the newest; DenseNet: no limit
  int keep_far = 7, keep_near = 7;     // F and N of the keep rule F-N; F + N = path
  bool pre_relu = true;                // the ReLU between BN and the 1x1 convolution of a bottleneck layer
  int classes = 10;
  float bn_epsilon = 1e-5f;
  int depth = 20;                      // ResNet only
  int image_size = 0;                  // 0: 32 (cifar stem), 224 (imagenet stem)
  Shortcut shortcut = Shortcut::kPad;  // ResNet only
};

// Errors (kInvalidArgument) name the key, what was expected and what was found, and list the known names.
Result<Architecture> parse_architecture(const std::string& text);

// The spelled-out form, from which parse_architecture gives the same architecture again.
std::string to_string(const Architecture& arch);

// The graph with He initialisation: convolution weights are normal with standard deviation sqrt(2 / (KH KW O)), BN has
// scale 1, shift 0, mean 0 and variance 1, and biases are zero. The same seed gives the same bits. Constants have the
// names and the order of the reference PyTorch form (see docs/converting.md), so weights can be imported by name or by
// order. Input "input" [1, 3, S, S], output "logits" [1, classes]. Errors: kInvalidArgument names the option.
Result<Graph> build_graph(const Architecture& arch, uint64_t seed = 0);

// The short names that `sparsenet create --help` and error messages list.
std::vector<std::string> known_architectures();

}  // namespace sparsenet
