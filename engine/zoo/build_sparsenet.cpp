// Builds SparseNet (arXiv 1804.05340) and DenseNet (arXiv 1608.06993) from primitive ops.
//
// A block's state is its list of groups, newest first; layers read the concatenation of all of them. A group is a value
// of k channels, the oldest one of 2k. What a transition hands to the next block is one value that holds several
// groups: it is split only where the block will drop one of them.
#include <string>
#include <utility>
#include <vector>

#include "zoo/architecture_builders.h"
#include "zoo/layer_builder.h"

namespace sparsenet {
namespace {

struct Group {
  ValueId value;
  int64_t count;  // groups that the value holds
};

class Builder {
 public:
  Builder(const Architecture& arch, uint64_t seed)
      : arch_(arch), k_(arch.k), dense_(arch.family == Architecture::Family::kDenseNet), layers_(seed) {}

  Result<Graph> build() {
    const int64_t size = image_size(arch_);
    ValueId x = stem(layers_.input("input", {1, 3, size, size}));
    int64_t groups = 1;  // in x: all k wide but the last, which is 2k wide
    for (size_t b = 0; b < arch_.blocks.size(); ++b) {
      std::vector<Group> state = enter(b, x, groups);
      for (int i = 0; i < arch_.blocks[b]; ++i) {
        const std::string name = "block" + std::to_string(b) + ".layers." + std::to_string(i);
        state.insert(state.begin(), Group{layer(name, read(name + ".concat", state)), 1});
        drop(&state);
      }
      if (b + 1 == arch_.blocks.size()) {
        x = read("concat", state);
      } else {
        const std::string name = "trans" + std::to_string(b);
        x = transition(name, read(name + ".concat", state), &groups);
      }
    }
    return layers_.finish(head(x));
  }

 private:
  ValueId stem(ValueId x) {
    const bool imagenet = arch_.stem == Architecture::Stem::kImageNet;
    const int32_t kernel = imagenet ? 7 : 3;
    x = layers_.conv("stem", x, {2 * k_, kernel, imagenet ? 2 : 1, kernel / 2});
    x = layers_.relu("stem.relu", x);
    return imagenet ? layers_.pool(Op::kMaxPool, "stem.pool", x, 3, 2, 1) : x;
  }

  // The groups that block b starts with.
  std::vector<Group> enter(size_t b, ValueId x, int64_t groups) {
    if (dense_ || groups == 1 || groups + arch_.blocks[b] <= arch_.path + 1) return {Group{x, groups}};
    std::vector<int64_t> channels(static_cast<size_t>(groups), k_);
    channels.back() = 2 * k_;
    std::vector<Group> state;
    for (ValueId part : layers_.split("block" + std::to_string(b) + ".split", x, channels))
      state.push_back(Group{part, 1});
    return state;
  }

  ValueId read(const std::string& name, const std::vector<Group>& state) {
    std::vector<ValueId> parts;
    parts.reserve(state.size());
    for (const Group& group : state) parts.push_back(group.value);
    return layers_.concat(name, parts);
  }

  // The keep rule F-N: the N + 1 newest and the F oldest stay.
  void drop(std::vector<Group>* state) const {
    if (dense_) return;
    int64_t count = 0;
    for (const Group& group : *state) count += group.count;
    if (count > arch_.path + 1) state->erase(state->begin() + arch_.keep_near + 1);
  }

  ValueId layer(const std::string& name, ValueId x) {
    const float epsilon = arch_.bn_epsilon;
    if (arch_.layer == Architecture::Layer::kBottleneck) {
      x = layers_.batch_norm(name + ".bn0", x, epsilon);
      if (arch_.pre_relu) x = layers_.relu(name + ".relu0", x);
      x = layers_.conv(name + ".conv0", x, {4 * k_});
    }
    x = layers_.relu(name + ".relu1", layers_.batch_norm(name + ".bn1", x, epsilon));
    x = layers_.conv(name + ".conv1", x, {k_, 3, 1, 1});
    switch (arch_.attention) {
      case Architecture::Attention::kPaper:
        return paper_attention(name + ".att", x);
      case Architecture::Attention::kSqueezeExcite:
        return squeeze_excite(name + ".att", x);
      case Architecture::Attention::kNone:
        break;
    }
    return x;
  }

  // g = mean(h); e = W1 relu(bn1(g)) + b1; f = sigmoid(W2 relu(bn2([e, g])) + b2); h + h f
  ValueId paper_attention(const std::string& name, ValueId h) {
    const float epsilon = arch_.bn_epsilon;
    const ValueId g = layers_.unary(Op::kGlobalAveragePool, name + ".pool", h);
    ValueId e = layers_.relu(name + ".relu1", layers_.batch_norm(name + ".bn1", g, epsilon));
    e = layers_.conv(name + ".conv1", e, {k_});
    ValueId f = layers_.concat(name + ".concat", {e, g});
    f = layers_.relu(name + ".relu2", layers_.batch_norm(name + ".bn2", f, epsilon));
    f = layers_.unary(Op::kSigmoid, name + ".sigmoid", layers_.conv(name + ".conv2", f, {k_}));
    return layers_.add(Op::kAdd, name + ".add", {h, layers_.add(Op::kMul, name + ".mul", {h, f})});
  }

  // Squeeze and excitation (arXiv 1709.01507), reduction 8: h sigmoid(W2 relu(W1 mean(h) + b1) + b2)
  ValueId squeeze_excite(const std::string& name, ValueId h) {
    const int64_t reduced = (k_ + 7) / 8;
    ValueId f = layers_.flatten(name + ".flatten", layers_.unary(Op::kGlobalAveragePool, name + ".pool", h));
    f = layers_.relu(name + ".relu", layers_.fully_connected(name + ".fc1", f, reduced));
    f = layers_.unary(Op::kSigmoid, name + ".sigmoid", layers_.fully_connected(name + ".fc2", f, k_));
    f = layers_.add(Op::kReshape, name + ".reshape", {f}, ReshapeAttrs{{0, k_, 1, 1}});
    return layers_.add(Op::kMul, name + ".mul", {h, f});
  }

  ValueId transition(const std::string& name, ValueId x, int64_t* groups) {
    const int64_t in = layers_.channels(x);
    const int64_t narrow = (in - 2 * k_) / k_;  // counted this way even if the 2k-wide group was dropped
    const bool compress = arch_.layer == Architecture::Layer::kBottleneck;
    const int64_t kept = compress ? (narrow + 1) / 2 : narrow;
    *groups = kept + 1;
    x = layers_.relu(name + ".1", layers_.batch_norm(name + ".0", x, arch_.bn_epsilon));
    x = layers_.conv(name + ".2", x, {2 * k_ + kept * k_});
    return layers_.pool(Op::kAveragePool, name + ".3", x, 2, 2, 0);
  }

  ValueId head(ValueId x) {
    x = layers_.relu("relu", layers_.batch_norm("bn", x, arch_.bn_epsilon));
    x = layers_.flatten("flatten", layers_.unary(Op::kGlobalAveragePool, "pool", x));
    return layers_.fully_connected("fc", x, arch_.classes, "logits");
  }

  const Architecture& arch_;
  const int64_t k_;
  const bool dense_;
  LayerBuilder layers_;
};

}  // namespace

Result<Graph> build_sparsenet(const Architecture& arch, uint64_t seed) {
  return Builder(arch, seed).build();
}

}  // namespace sparsenet
