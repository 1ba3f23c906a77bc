// Layers with their freshly initialised parameters, for the architecture builders.
//
// Every layer's output value, and the stem of its parameters' names, is the layer's name: conv("trans0.2", ...) makes
// the constants trans0.2.weight and trans0.2.bias and the value trans0.2. The first failure is kept and returned
// by finish(); after it the functions return meaningless ids, so that callers need not check each layer.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsenet {

class LayerBuilder {
 public:
  explicit LayerBuilder(uint64_t seed) : seed_(seed) {}

  struct Conv {
    int64_t channels;
    int32_t kernel = 1;
    int32_t stride = 1;
    int32_t pad = 0;
    bool bias = true;
  };

  ValueId input(const std::string& name, Shape shape) { return graph_.add_input(name, std::move(shape)); }
  ValueId conv(const std::string& name, ValueId x, const Conv& c);
  ValueId batch_norm(const std::string& name, ValueId x, float epsilon);
  // [N, C] -> [N, outputs]; the output value may have a name of its own.
  ValueId fully_connected(const std::string& name, ValueId x, int64_t outputs, const std::string& output_name = "");
  ValueId unary(Op op, const std::string& name, ValueId x) { return add(op, name, {x}); }
  ValueId relu(const std::string& name, ValueId x) { return unary(Op::kRelu, name, x); }
  ValueId concat(const std::string& name, const std::vector<ValueId>& parts);  // of channels; a single part stays as is
  ValueId pool(Op op, const std::string& name, ValueId x, int32_t kernel, int32_t stride, int32_t pad);
  // [N, C, 1, 1] -> [N, C]
  ValueId flatten(const std::string& name, ValueId x) { return add(Op::kReshape, name, {x}, ReshapeAttrs{{0, -1}}); }
  ValueId add(Op op, const std::string& name, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{});
  std::vector<ValueId> split(const std::string& name, ValueId x, const std::vector<int64_t>& channels);

  int64_t channels(ValueId x) const { return dim(x, 1); }
  int64_t dim(ValueId x, size_t axis) const;

  Result<Graph> finish(ValueId output);

 private:
  ValueId parameter(const std::string& name, Shape shape, float value);
  ValueId weights(const std::string& name, Shape shape, int64_t fan);
  bool spend(const std::string& name, const Shape& shape);

  Graph graph_;
  uint64_t seed_;
  int64_t spent_ = 0;  // elements of all parameters so far
  Status status_;
};

}  // namespace sparsenet
