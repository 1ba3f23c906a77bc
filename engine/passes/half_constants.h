// Lets passes, which know only float32, work on graphs with float16 constants: the constants are widened before the
// passes run and narrowed again afterwards.
#pragma once

#include <sparsenet/graph.h>

#include <unordered_map>
#include <unordered_set>

namespace sparsenet {

class HalfConstants {
 public:
  // Widens the graph's float16 constants.
  explicit HalfConstants(Graph* graph);

  // Constants that the passes left alone become what they were; constants that the passes made become float16 if their
  // values fit. Does nothing if the graph had no float16 constants.
  void restore(Graph* graph) const;

 private:
  std::unordered_map<const void*, Tensor> halves_;  // the originals, by the data of the widened tensor
  std::unordered_set<const void*> floats_;          // data of the constants that were float32
};

}  // namespace sparsenet
