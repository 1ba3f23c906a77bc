// Builds test graphs of int8 nodes with random scales, zero points and weights.
#pragma once

#include <sparsenet/graph.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/random.h"

namespace sparsenet::test {

// A constant of the integers, of type int8 or int32.
template <class T>
Tensor integer_constant(Shape shape, std::vector<T> values) {
  const auto kept = std::make_shared<std::vector<T>>(std::move(values));
  return {sizeof(T) == 1 ? DataType::kInt8 : DataType::kInt32, std::move(shape), kept, kept->data()};
}

class IntegerMaker {
 public:
  explicit IntegerMaker(Random& r) : random(r), rounding(r.chance(0.5) ? Rounding::kSingle : Rounding::kDouble) {}

  Random& random;
  Graph graph;
  Rounding rounding;

  int32_t zero_point() {
    static const std::vector<int32_t> kEnds{-128, 127, 0, -1};
    return random.chance(0.5) ? random.pick(kEnds) : random.integer(-128, 127);
  }
  Quantization quantization(double scale) { return {{static_cast<float>(scale)}, {zero_point()}, 0}; }
  Quantization quantization() { return quantization(random.real(0.01, 0.1)); }
  // That of a result of `sums` of about this size with this scale, so that all bytes occur.
  Quantization for_sums(double scale, double size) {
    return quantization(scale * size / 100 * std::exp(random.real(-1.5, 1)));
  }
  double scale(ValueId id) const { return static_cast<double>(graph.value(id).quantization.scales[0]); }

  ValueId input(Shape shape, Quantization q, DataType type = DataType::kInt8) {
    const ValueId id = graph.add_input(fresh("in"), std::move(shape), type);
    graph.value(id).quantization = std::move(q);
    return id;
  }
  ValueId input(Shape shape) { return input(std::move(shape), quantization()); }

  ValueId node(Op op, std::vector<ValueId> inputs, Attrs attrs, Quantization q) {
    return multi(op, std::move(inputs), std::move(attrs), q, 1)[0];
  }
  // An op that moves or compares numbers.
  ValueId move(Op op, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{}) {
    Quantization q = graph.value(inputs[0]).quantization;
    return node(op, std::move(inputs), std::move(attrs), std::move(q));
  }
  std::vector<ValueId> multi(Op op, std::vector<ValueId> inputs, Attrs attrs, const Quantization& q, size_t outputs) {
    std::vector<std::string> names;
    for (size_t i = 0; i < outputs; ++i) names.push_back(fresh("v"));
    const std::vector<ValueId> ids =
        graph.add_node_multi(op, fresh(name(op)), std::move(inputs), std::move(attrs), names);
    for (const ValueId id : ids) {
      graph.value(id).type = DataType::kInt8;
      graph.value(id).quantization = q;
    }
    graph.nodes.back().rounding = rounding;
    return ids;
  }

  Activation bounds();  // none, Relu or Clip
  // Convolution or fully connected layer, according to the weight's rank, with weights and biases of many kinds.
  ValueId layer(ValueId x, const Shape& weight, ConvAttrs attrs = {});

  Graph finish(std::vector<ValueId> outputs) {
    graph.outputs = std::move(outputs);
    return std::move(graph);
  }

 private:
  std::string fresh(const std::string& stem) { return stem + std::to_string(serial_++); }
  int serial_ = 0;
};

}  // namespace sparsenet::test
