// Gradient rules: for each op what it contributes to the gradients of its inputs, as nodes of the same graph. To give
// an op a gradient: a function here and a row in kGradientRules (gradients.cpp).
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <map>
#include <string>
#include <vector>

#include "graph/training_ops.h"

namespace sparsenet {

// A range of channels of a value that is no view of others ("root").
struct RootRange {
  ValueId root;
  int64_t begin, end;
};

// Gradients under construction. A root has one gradient; concatenations, splits and slices of channels have views of
// their roots' gradients, so that nothing is ever copied together or apart.
class Gradients {
 public:
  Gradients(Graph* graph, std::vector<bool> active);

  Graph& graph() { return *graph_; }
  const Shape& shape(ValueId id) const { return graph_->shape(id); }
  // Whether the value depends on a trained parameter.
  bool active(ValueId id) const {
    return id != kNoValue && static_cast<size_t>(id) < active_.size() && active_[static_cast<size_t>(id)];
  }

  // The gradient of a value that no later contribution will change; kNoValue if nothing flowed into it.
  ValueId of(ValueId value);
  bool has(ValueId value) const;
  bool is_single_root(ValueId value) const;

  // Adds a contribution. `owned`: nobody else reads that value, so that later contributions may be added in place.
  void contribute(ValueId to, ValueId gradient, bool owned);
  // A view of the gradients of `value` that a node may add to in place; zeros where nothing flowed yet.
  ValueId accumulator(ValueId value);

  // A new node with one output, named after the value or node it belongs to.
  ValueId add(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs = {});
  ValueId add_view(Op op, const std::string& base, std::vector<ValueId> inputs, Attrs attrs);
  Node& add_node(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs, size_t outputs);
  // The same with values that exist: parameter_gradient()s, or temporary()s.
  void add_into(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs,
                std::vector<ValueId> outputs);
  ValueId temporary(const std::string& base, Shape shape);
  ValueId zeros(const std::string& base, Shape shape);
  // The channels of `ranges` as one value: `of_root` gives what stands for each root (statistics, gradients).
  template <class OfRoot>
  ValueId gather(const std::string& base, const std::vector<RootRange>& ranges, OfRoot of_root) {
    std::vector<ValueId> parts;
    for (const RootRange& r : ranges) {
      ValueId part = of_root(r.root);
      if (r.begin != 0 || r.end != shape(part)[1]) part = slice(base, part, r.begin, r.end);
      parts.push_back(part);
    }
    return parts.size() == 1 ? parts[0] : add_view(Op::kConcat, base, parts, AxisAttrs{1});
  }
  ValueId slice(const std::string& base, ValueId from, int64_t begin, int64_t end);

  const std::vector<RootRange>& ranges(ValueId value);
  void note_view(const Node& node);  // of a forward node: remembers what its outputs are views of
  bool is_view(const Node& node) const;

  // Trained parameters: where their gradients go. The first contribution fills the parameter's own gradient value, so
  // rules ask for it by name.
  void set_parameter_gradient(ValueId parameter, ValueId gradient) { parameter_gradients_[parameter] = gradient; }
  bool trained(ValueId parameter) const { return parameter_gradients_.count(parameter) > 0; }
  // The output value for a rule's parameter gradient: the parameter's own at first, then temporaries that
  // finish_parameters() adds to it.
  ValueId parameter_gradient(ValueId parameter);
  void finish_parameters();
  std::vector<ValueId> unused_parameters() const;

  // Batch statistics of roots and the gradients of these.
  std::map<ValueId, ValueId> stats, dstats;
  // By the scale and shift of a Normalize: the batch statistics and the parameters they were made of.
  struct Fold {
    ValueId stats, gamma, beta;
  };
  std::map<ValueId, Fold> folds;

 private:
  std::string unique(const std::string& base);

  Graph* graph_;
  std::vector<bool> active_;
  std::map<ValueId, std::vector<RootRange>> ranges_;
  struct Entry {
    ValueId value = kNoValue;
    bool owned = false;
  };
  std::map<ValueId, Entry> gradients_;
  std::map<ValueId, ValueId> parameter_gradients_;
  std::map<ValueId, bool> filled_;
  std::vector<std::pair<ValueId, ValueId>> to_add_;  // temporary, parameter's gradient
  void own(ValueId root);
};

using GradientRule = Status (*)(Gradients& g, const Node& node);

// Null: the op has no gradient.
GradientRule find_gradient_rule(Op op);

// By family.
Status conv_gradient(Gradients& g, const Node& node);
Status normalize_gradient(Gradients& g, const Node& node);
Status activation_gradient(Gradients& g, const Node& node);
Status softmax_gradient(Gradients& g, const Node& node);
Status binary_gradient(Gradients& g, const Node& node);
Status scale_pixels_gradient(Gradients& g, const Node& node);
Status max_pool_gradient(Gradients& g, const Node& node);
Status average_pool_gradient(Gradients& g, const Node& node);
Status global_pool_gradient(Gradients& g, const Node& node);
Status reduce_mean_gradient(Gradients& g, const Node& node);
Status reshape_gradient(Gradients& g, const Node& node);
Status transpose_gradient(Gradients& g, const Node& node);
Status pad_gradient(Gradients& g, const Node& node);
Status concat_gradient(Gradients& g, const Node& node);
Status split_gradient(Gradients& g, const Node& node);
Status slice_gradient(Gradients& g, const Node& node);

}  // namespace sparsenet
