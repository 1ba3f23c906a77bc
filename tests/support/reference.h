// Evaluates a graph in double precision with plain loops over NCHW, directly from the definitions in graph.h, without
// using any of the engine's own execution: the standard by which sessions and passes are judged.
//
// Constants are widened from float32. Slow (no blocking, one thread), suitable for test networks.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <vector>

namespace sparsenet::test {

struct Array {
  Shape shape;
  std::vector<double> data;

  Array() = default;
  explicit Array(Shape s, double fill = 0)
      : shape(std::move(s)), data(static_cast<size_t>(element_count(shape)), fill) {}
  size_t size() const { return data.size(); }
  size_t dim(size_t axis) const { return static_cast<size_t>(shape[axis]); }
};

// Images [N, H, W, C] as an input [N, C, H, W] reads them; any other array as it is.
inline Array as_input(const Array& array, const Shape& input) {
  const Shape& from = array.shape;
  const bool images = from.size() == 4 && input.size() == 4 && from[1] == input[2] && from[2] == input[3] &&
                      from[3] == input[1] &&
                      Shape(from.begin() + 1, from.end()) != Shape(input.begin() + 1, input.end());
  if (!images) return array;
  Array out({from[0], from[3], from[1], from[2]});
  const size_t channels = array.dim(3), area = array.dim(1) * array.dim(2);
  for (size_t i = 0; i < array.size(); ++i) {
    out.data[(i / channels / area * channels + i % channels) * area + i / channels % area] = array.data[i];
  }
  return out;
}

// `inputs` are in the order of graph.inputs. Runs infer_shapes on a copy first. The result has one array per graph
// output.
Result<std::vector<Array>> evaluate(const Graph& graph, const std::vector<Array>& inputs);

double activate(const Activation& activation, double x);

// One function per family of ops; operands are in the order of graph.h, with a null pointer for an absent one. Shapes
// are those that infer_shapes() found, so nothing is checked again here.
using Operands = std::vector<const Array*>;
using Arrays = std::vector<Array>;

// Evaluates one node on operands of inferred shapes; `out` has an array of the right shape for each output.
Status evaluate_node(const Node& node, const Operands& in, Arrays& out);

namespace reference {

// Layers with weights and pools (reference_layers.cpp).
void conv(const ConvAttrs& attrs, const Operands& in, Array& out);
void fully_connected(const FullyConnectedAttrs& attrs, const Operands& in, Array& out);
void batch_norm(const BatchNormAttrs& attrs, const Operands& in, Array& out);
void affine(const AffineAttrs& attrs, const Operands& in, Array& out);
void attention(const AttentionAttrs& attrs, const Operands& in, Array& out);
void pool(bool maximum, const PoolAttrs& attrs, const Operands& in, Array& out);
void softmax(const AxisAttrs& attrs, const Operands& in, Array& out);
void mat_mul(const Operands& in, Array& out);
void layer_norm(const BatchNormAttrs& attrs, const Operands& in, Array& out);

// Ops that move or combine data element by element (reference_data.cpp).
void unary(const Node& node, const Operands& in, Array& out);
void function(const Node& node, const Operands& in, Array& out);  // Exp, Log, Pow
void binary(Op op, const Operands& in, Array& out);
void concat(const AxisAttrs& attrs, const Operands& in, Array& out);
void split(const SplitAttrs& attrs, const Operands& in, Arrays& out);
void slice(const SliceAttrs& attrs, const Operands& in, Array& out);
void pad(const PadAttrs& attrs, const Operands& in, Array& out);
void transpose(const TransposeAttrs& attrs, const Operands& in, Array& out);
void reduce_mean(const std::vector<int32_t>& axes, const Operands& in, Array& out);

}  // namespace reference
}  // namespace sparsenet::test
