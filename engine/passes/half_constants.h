// Graphs with float16 constants, for passes that know float32 alone.
#pragma once

#include <sparsenet/graph.h>

#include <unordered_map>
#include <unordered_set>

namespace sparsenet {

class HalfConstants {
 public:
  // Widens the graph's float16 constants.
  explicit HalfConstants(Graph* graph);

  // Constants that the passes left alone become what they were; those that they made become float16 where they fit. In
  // a graph without float16 constants, nothing.
  void restore(Graph* graph) const;

 private:
  std::unordered_map<const void*, Tensor> halves_;  // by the data of the widened tensor
  std::unordered_set<const void*> floats_;          // data of those that were float32
};

}  // namespace sparsenet
