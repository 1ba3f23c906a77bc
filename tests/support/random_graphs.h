// Streams of random small graphs, by name. A generator and a seed determine the graph (for one compiler, because the
// evaluation order of arguments is up to it), so failures are reported with these two and can be reproduced from them.
#pragma once

#include <sparsenet/graph.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graph/activations.h"
#include "support/graph_maker.h"
#include "support/reference.h"

namespace sparsenet::test {

struct Generator {
  std::string name;
  std::function<Graph(Random&)> make;
  // Beyond what the engine guarantees: Session::create may return kUnsupported, but the graph must not run wrongly.
  bool may_refuse = false;
};

const std::vector<Generator>& layer_generators();    // Conv, FullyConnected, BatchNorm, pools, activations, ...
const std::vector<Generator>& data_generators();     // Concat, Split, Slice, Pad, broadcasts, Reshape, Transpose, ...
const std::vector<Generator>& general_generators();  // matrix products, LayerNorm, Exp, Max, ...
const std::vector<Generator>& network_generators();  // DenseNet-, SparseNet-, ResNet-, MobileNet-like, random DAGs

// Few but wide graphs: for errors that show only beyond one cache block or one vector register tile. Slow in the
// reference.
const std::vector<Generator>& wide_generators();
const std::vector<Generator>& winograd_generators();  // larger: for devices, whose other layers seldom use it

Graph make_graph(const Generator& generator, uint64_t seed);

// Normally distributed inputs (exact float32 values) in the order of graph.inputs.
std::vector<Array> random_inputs(const Graph& graph, uint64_t seed);

// Shared by the generators: sizes chosen to break kernels (odd, prime, around the vector widths).
int64_t random_channels(Random& random);
int64_t random_batch(Random& random);
Shape random_image(Random& random, int64_t low = 1, int64_t high = 19);  // [N, C, H, W]
Activation random_activation(Random& random);                            // one of the table, or none
Attrs random_activation_attrs(Random& random, const ActivationRow& row);

// One generator per activation of the table, of the graphs that `make` makes.
std::vector<Generator> with_activations(std::vector<Generator> list,
                                        Graph (*make)(Random& random, const ActivationRow& row));

}  // namespace sparsenet::test
