// The passes that undo how exporters write layers over channels: [N, H, W, C] and [N, tokens, C]. Graphs where they
// must fire, and graphs that look similar but where firing would be wrong.
#include <doctest/doctest.h>

#include "passes/pipeline.h"
#include "support/check_pass.h"
#include "support/graph_maker.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

const Activation kSilu{Activation::Kind::kSilu, 1, 0};

ValueId transpose(GraphMaker& g, ValueId x, std::vector<int32_t> perm) {
  return g.node(Op::kTranspose, {x}, TransposeAttrs{std::move(perm)});
}
ValueId reshape(GraphMaker& g, ValueId x, std::vector<int64_t> dims) {
  return g.node(Op::kReshape, {x}, ReshapeAttrs{std::move(dims)});
}

}  // namespace

TEST_CASE("activations move in front of reshapes and transposes only to a layer that nobody else reads") {
  Random random(21);
  GraphMaker g(random);
  const ValueId x = g.input({2, 6, 3, 5});
  const std::vector<PassFunction> passes{move_activations, fuse_activation, remove_dead_nodes};
  SUBCASE("behind a reshape") {
    const ValueId y = reshape(g, g.conv(x, 4, 3), {0, 4, -1});
    const Graph graph = after(g.finish({g.node(Op::kGelu, {y})}), passes);
    CHECK(count(graph, Op::kGelu) == 0);
  }
  SUBCASE("behind a transpose") {
    const ValueId y = transpose(g, g.conv(x, 4, 3), {0, 2, 3, 1});
    const Graph graph = after(g.finish({g.relu(y), g.relu(x)}), passes);
    CHECK(count(graph, Op::kRelu) == 1);
  }
  SUBCASE("two in a row, also of reshapes") {
    const ValueId y = g.relu(reshape(g, reshape(g, g.conv(x, 4, 3), {0, 4, -1}), {0, -1}));
    const ValueId z = g.node(Op::kTanh, {g.relu(reshape(g, g.conv(x, 4, 3), {0, 4, -1}))});
    const Graph graph = after(g.finish({y, g.node(Op::kSigmoid, {z})}), passes);
    CHECK(count(graph, Op::kTanh) == 1);
    CHECK(count(graph, Op::kRelu) == 1);
  }
  SUBCASE("the reshaped value is read twice") {
    const ValueId y = reshape(g, g.conv(x, 4, 3), {0, 4, -1});
    const Graph graph = after(g.finish({g.relu(y), g.node(Op::kTanh, {y})}), passes);
    CHECK(count(graph, Op::kRelu) == 1);
  }
  SUBCASE("the layer is read twice, or an output") {
    const ValueId c = g.conv(x, 4, 3), d = g.conv(x, 5, 1);
    const Graph graph = after(
        g.finish({g.relu(reshape(g, c, {0, -1})), g.pool(Op::kMaxPool, c, 2, 1), g.relu(reshape(g, d, {0, -1})), d}),
        passes);
    CHECK(count(graph, Op::kRelu) == 2);
  }
  SUBCASE("the layer has an activation, or there is none") {
    ConvAttrs attrs;
    attrs.kernel = {1, 1};
    attrs.activation = kSilu;
    const ValueId c = g.conv(x, 4, attrs);
    const Graph graph = after(g.finish({g.relu(reshape(g, c, {0, -1})), g.relu(reshape(g, x, {0, -1}))}), passes);
    CHECK(count(graph, Op::kRelu) == 2);
  }
}

TEST_CASE("reshapes in a row become one, or none") {
  Random random(22);
  GraphMaker g(random);
  const ValueId x = g.input({2, 6, 3, 5});
  const std::vector<PassFunction> passes{merge_reshapes, remove_dead_nodes};
  SUBCASE("there and back") {
    const Graph graph = after(g.finish({g.relu(reshape(g, reshape(g, x, {-1, 15}), {2, 6, 3, 5}))}), passes);
    CHECK(count(graph, Op::kReshape) == 0);
  }
  SUBCASE("three in a row") {
    const ValueId y = reshape(g, reshape(g, reshape(g, x, {0, 6, 15}), {0, 0, 5, 3}), {-1, 3});
    const Graph graph = after(g.finish({g.relu(y)}), passes);
    CHECK(count(graph, Op::kReshape) == 1);
  }
  SUBCASE("a dimension that is copied from one that is inferred") {
    const ValueId y = reshape(g, reshape(g, x, {-1, 10}), {0, 2, 5});
    const Graph graph = after(g.finish({g.relu(y)}), passes);
    CHECK(count(graph, Op::kReshape) == 2);
  }
  SUBCASE("the one between is read, too, and the last one is an output") {
    const ValueId y = reshape(g, x, {0, -1});
    after(g.finish({g.relu(y), reshape(g, y, {2, 6, 3, 5})}), passes);
  }
}

TEST_CASE("layers over the channels of every pixel become 1x1 convolutions") {
  Random random(23);
  GraphMaker g(random);
  const ValueId x = g.input({2, 6, 3, 5});
  const std::vector<PassFunction> passes{convert_pixel_fc, remove_dead_nodes};
  const auto layer = [&](std::vector<int32_t> forth, std::vector<int32_t> back, std::vector<int64_t> image) {
    const ValueId rows = reshape(g, transpose(g, x, std::move(forth)), {-1, 6});
    const ValueId y = g.fully_connected(rows, 4, true, {Activation::Kind::kRelu, 0, 0});
    return transpose(g, reshape(g, y, std::move(image)), std::move(back));
  };
  SUBCASE("as exporters write it") {
    const Graph graph = after(g.finish({g.relu(layer({0, 2, 3, 1}, {0, 3, 1, 2}, {2, 3, 5, 4}))}), passes);
    CHECK(count(graph, Op::kConv) == 1);
    CHECK(count(graph, Op::kTranspose) + count(graph, Op::kReshape) + count(graph, Op::kFullyConnected) == 0);
  }
  SUBCASE("rows and columns exchanged on the way") {
    const Graph graph = after(g.finish({g.relu(layer({0, 3, 2, 1}, {0, 3, 1, 2}, {2, 3, 5, 4}))}), passes);
    CHECK(count(graph, Op::kConv) == 0);
  }
  SUBCASE("another image behind it") {
    const Graph graph = after(g.finish({g.relu(layer({0, 2, 3, 1}, {0, 3, 1, 2}, {2, 5, 3, 4}))}), passes);
    CHECK(count(graph, Op::kConv) == 0);
  }
  SUBCASE("not over the channels") {
    const ValueId rows = reshape(g, transpose(g, x, {0, 2, 3, 1}), {-1, 3});
    const ValueId y = reshape(g, g.fully_connected(rows, 2), {2, 3, 5, 4});
    const Graph graph = after(g.finish({g.relu(transpose(g, y, {0, 3, 1, 2}))}), passes);
    CHECK(count(graph, Op::kConv) == 0);
  }
  SUBCASE("what lies between is read, too") {
    const ValueId rows = reshape(g, transpose(g, x, {0, 2, 3, 1}), {-1, 6});
    const ValueId y = g.fully_connected(rows, 4);
    const ValueId z = transpose(g, reshape(g, y, {2, 3, 5, 4}), {0, 3, 1, 2});
    const Graph graph = after(g.finish({g.relu(z), g.relu(y)}), passes);
    CHECK(count(graph, Op::kConv) == 0);
  }
}
