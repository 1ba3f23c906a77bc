// Gradient rules: what each op contributes to the gradients of its inputs, as nodes of the same graph. To give an op a
// gradient, add a function here and a row to kGradientRules (gradients.cpp).
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <map>
#include <string>
#include <vector>

#include "graph/training_ops.h"

namespace sparsenet {

// A range of channels of a root, which is a value that is not a view of other values.
struct RootRange {
  ValueId root;
  int64_t begin, end;
};

// The gradients under construction. A root has one gradient; concatenations, splits and slices of channels have views
// of their roots' gradients, so that gradients are never copied to be joined or split.
class Gradients {
 public:
  Gradients(Graph* graph, std::vector<bool> active);

  Graph& graph() { return *graph_; }
  const Shape& shape(ValueId id) const { return graph_->shape(id); }
  // Whether the value depends on a trained parameter.
  bool active(ValueId id) const {
    return id != kNoValue && static_cast<size_t>(id) < active_.size() && active_[static_cast<size_t>(id)];
  }

  // The gradient of a value, to be asked for when no more contributions will follow; kNoValue if there were none.
  ValueId of(ValueId value);
  bool has(ValueId value) const;
  bool is_single_root(ValueId value) const;

  // Adds a contribution. `owned`: nothing else reads the value `gradient`, so that later contributions may be added to
  // it in place.
  void contribute(ValueId to, ValueId gradient, bool owned);
  // A view of the gradients of `value` that a node may add to in place; zeros where there was no contribution yet.
  ValueId accumulator(ValueId value);

  // A new node with one output, named after the value or node it belongs to.
  ValueId add(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs = {});
  ValueId add_view(Op op, const std::string& base, std::vector<ValueId> inputs, Attrs attrs);
  Node& add_node(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs, size_t outputs);
  // The same, but the outputs are existing values: those of parameter_gradient() or temporary().
  void add_into(Op op, const std::string& base, std::vector<ValueId> inputs, TrainAttrs attrs,
                std::vector<ValueId> outputs);
  ValueId temporary(const std::string& base, Shape shape);
  ValueId zeros(const std::string& base, Shape shape);
  // Joins what belongs to the channels of `ranges` into one value; `of_root` gives it for each root (statistics,
  // gradients).
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
  void note_view(const Node& node);  // for a forward node: remembers what its outputs are views of
  bool is_view(const Node& node) const;

  // Where the gradients of trained parameters go: `gradient` is the parameter's own gradient value, into which the
  // first contribution is written.
  void set_parameter_gradient(ValueId parameter, ValueId gradient) { parameter_gradients_[parameter] = gradient; }
  bool trained(ValueId parameter) const { return parameter_gradients_.count(parameter) > 0; }
  // The value into which a rule writes its contribution: first the parameter's own gradient value, then temporaries
  // that finish_parameters() adds to it.
  ValueId parameter_gradient(ValueId parameter);
  void finish_parameters();
  // What parameter_gradient() has given for this parameter first, with all contributions so far after
  // finish_parameters().
  ValueId written(ValueId parameter) const { return parameter_gradients_.at(parameter); }
  std::vector<ValueId> unused_parameters() const;

  // By root: its batch statistics and their gradients.
  std::map<ValueId, ValueId> stats, dstats;
  // By the value that holds a Normalize's scale and shift: the batch statistics and parameters that it was made of.
  struct Fold {
    ValueId stats, gamma, beta;
    bool fixed;  // the statistics are constants
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

// Null if the op has no gradient.
GradientRule find_gradient_rule(Op op);

// The rules, by family.
Status conv_gradient(Gradients& g, const Node& node);
Status normalize_gradient(Gradients& g, const Node& node);
Status activation_gradient(Gradients& g, const Node& node);
Status softmax_gradient(Gradients& g, const Node& node);
Status function_gradient(Gradients& g, const Node& node);  // Exp, Log, Pow
Status binary_gradient(Gradients& g, const Node& node);
Status choice_gradient(Gradients& g, const Node& node);  // Max, Min, Prelu
Status mat_mul_gradient(Gradients& g, const Node& node);
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
Status fake_quantize_gradient(Gradients& g, const Node& node);
Status round_weight_gradient(Gradients& g, const Node& node);

}  // namespace sparsenet
