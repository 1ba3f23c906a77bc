// Each pass on graphs that are made for it, where it must fire, and on graphs that look similar but where firing would
// be wrong. Random graphs are in passes_test.cpp.
#include <doctest/doctest.h>

#include "passes/pipeline.h"
#include "support/check_pass.h"
#include "support/graph_maker.h"

using namespace sparsenet;
using namespace sparsenet::test;

TEST_CASE("batch norms fold into the convolution in front, but only where nobody sees the value between") {
  Random random(1);
  GraphMaker g(random);
  const ValueId x = g.input({2, 3, 5, 5});
  const std::vector<PassFunction> fold{convert_batch_norm, fold_affine_backward, remove_dead_nodes};
  SUBCASE("plain, without and with a bias") {
    const Graph graph = after(g.finish({g.batch_norm(g.conv(g.batch_norm(g.conv(x, 4, 3, 1, 1, false)), 4, 3))}), fold);
    CHECK(count(graph, Op::kAffine) == 0);
    CHECK(count(graph, Op::kConv) == 2);
  }
  SUBCASE("grouped and depthwise") {
    ValueId y = g.batch_norm(g.conv(x, 6, 3, 1, 3));
    y = g.batch_norm(g.conv(y, 6, 3, 1, 6, false));
    CHECK(count(after(g.finish({y}), fold), Op::kAffine) == 0);
  }
  SUBCASE("fully connected") {
    const ValueId y = g.batch_norm(g.fully_connected(g.flatten(x), 6));
    CHECK(count(after(g.finish({y}), fold), Op::kAffine) == 0);
  }
  SUBCASE("the value between is an output") {
    const ValueId c = g.conv(x, 4, 3);
    after(g.finish({g.batch_norm(c), c}), fold);
  }
  SUBCASE("the value between is read twice") {
    const ValueId c = g.conv(x, 4, 3);
    after(g.finish({g.batch_norm(c), g.relu(c)}), fold);
  }
  SUBCASE("two norms of one value") {
    const ValueId c = g.conv(x, 4, 3);
    after(g.finish({g.batch_norm(c), g.batch_norm(c)}), fold);
  }
  SUBCASE("an activation between, fused by an importer") {
    ConvAttrs attrs;
    attrs.activation = {Activation::Kind::kRelu, 0, 0};
    after(g.finish({g.batch_norm(g.conv(x, 4, attrs))}), fold);
  }
  SUBCASE("a residual between") {
    after(g.finish({g.batch_norm(g.conv(x, 3, ConvAttrs{}, true, x))}), fold);
  }
  SUBCASE("weights that two convolutions share") {
    const ValueId w = g.constant({3, 3, 1, 1}, 0, 0.5);
    const ValueId a = g.batch_norm(g.node(Op::kConv, {x, w}, ConvAttrs{}));
    const ValueId b = g.node(Op::kConv, {a, w}, ConvAttrs{});
    after(g.finish({g.batch_norm(b), g.node(Op::kConv, {x, w}, ConvAttrs{})}), fold);
  }
}

TEST_CASE("an affine in front of a convolution folds only where there is no padding") {
  Random random(2);
  GraphMaker g(random);
  const ValueId x = g.input({1, 4, 6, 6});
  const std::vector<PassFunction> fold{convert_batch_norm, fold_affine_forward, remove_dead_nodes};
  SUBCASE("1x1") {
    CHECK(count(after(g.finish({g.conv(g.batch_norm(x), 5, 1)}), fold), Op::kAffine) == 0);
  }
  SUBCASE("1x1 with stride, grouped") {
    CHECK(count(after(g.finish({g.conv(g.batch_norm(x), 6, 1, 2, 2, false)}), fold), Op::kAffine) == 0);
  }
  SUBCASE("padded: the padding is zero after the affine") {
    after(g.finish({g.conv(g.batch_norm(x), 5, 3)}), fold);
  }
  SUBCASE("read by two") {
    const ValueId a = g.batch_norm(x);
    after(g.finish({g.conv(a, 5, 1), g.conv(a, 3, 1)}), fold);
  }
  SUBCASE("itself an output") {
    const ValueId a = g.batch_norm(x);
    after(g.finish({g.conv(a, 5, 1), a}), fold);
  }
  SUBCASE("fully connected") {
    const ValueId v = g.flatten(g.global_pool(x));
    CHECK(count(after(g.finish({g.fully_connected(g.batch_norm(v), 5)}), fold), Op::kAffine) == 0);
  }
}

TEST_CASE("padding moves into a convolution only if it is zero and spatial") {
  Random random(3);
  GraphMaker g(random);
  const ValueId x = g.input({1, 4, 6, 6});
  ConvAttrs attrs;
  attrs.kernel = {3, 3};
  attrs.pads = {0, 1, 0, 0};
  const auto padded = [&](PadAttrs pad) { return g.node(Op::kPad, {x}, pad); };
  const std::vector<PassFunction> merge{merge_pad, remove_dead_nodes};
  SUBCASE("zero") {
    const Graph graph = after(g.finish({g.conv(padded({{0, 0, 1, 2}, {0, 0, 0, 3}, 0}), 5, attrs)}), merge);
    CHECK(count(graph, Op::kPad) == 0);
  }
  SUBCASE("another value") {
    after(g.finish({g.conv(padded({{0, 0, 1, 2}, {0, 0, 0, 3}, 0.5f}), 5, attrs)}), merge);
  }
  SUBCASE("channels") {
    after(g.finish({g.conv(padded({{0, 1, 1, 2}, {0, 0, 0, 3}, 0}), 5, attrs)}), merge);
  }
  SUBCASE("read by others") {
    const ValueId p = padded({{0, 0, 1, 1}, {0, 0, 1, 1}, 0});
    after(g.finish({g.conv(p, 5, attrs), g.relu(p), g.pool(Op::kMaxPool, p, 2, 2)}), merge);
  }
  SUBCASE("in front of a pool") {
    after(g.finish({g.pool(Op::kMaxPool, padded({{0, 0, 1, 1}, {0, 0, 1, 1}, 0}), 2, 2)}), merge);
  }
}

TEST_CASE("residuals: the convolution that adds must come after the other operand") {
  Random random(4);
  GraphMaker g(random);
  const ValueId x = g.input({2, 4, 5, 5});
  const std::vector<PassFunction> fuse{fuse_residual, fuse_activation, remove_dead_nodes};
  const auto add = [&](ValueId a, ValueId b) { return g.node(Op::kAdd, {a, b}); };
  SUBCASE("either side") {
    const Graph graph = after(g.finish({g.relu(add(x, g.conv(x, 4, 3))), add(g.conv(x, 4, 3), x)}), fuse);
    CHECK(count(graph, Op::kAdd) == 0);
    CHECK(count(graph, Op::kRelu) == 0);
  }
  SUBCASE("two convolutions, in both orders") {
    const ValueId a = g.conv(x, 4, 3), b = g.conv(x, 4, 1);
    const ValueId c = g.conv(x, 4, 3), d = g.conv(x, 4, 1);
    CHECK(count(after(g.finish({add(a, b), add(d, c)}), fuse), Op::kAdd) == 0);
  }
  SUBCASE("the other operand is made later") {
    const ValueId a = g.conv(x, 4, 3);
    const ValueId later = g.node(Op::kTanh, {g.node(Op::kSigmoid, {x})});
    after(g.finish({add(a, later)}), fuse);
  }
  SUBCASE("the other operand depends on the convolution") {
    const ValueId a = g.conv(x, 4, 3);
    after(g.finish({add(a, g.node(Op::kSigmoid, {a}))}), fuse);
  }
  SUBCASE("one value twice") {
    const ValueId a = g.conv(x, 4, 3);
    after(g.finish({add(a, a)}), fuse);
  }
  SUBCASE("a broadcast is no residual") {
    const ValueId a = g.conv(x, 4, 3);
    after(g.finish({add(a, g.global_pool(x)), add(g.conv(g.global_pool(x), 4, 1), x)}), fuse);
  }
  SUBCASE("a constant of the output's shape") {
    after(g.finish({add(g.conv(x, 4, 3), g.constant({1, 4, 5, 5}, 0, 1))}), fuse);
  }
  SUBCASE("the sum of three") {
    after(g.finish({add(add(g.conv(x, 4, 3), g.conv(x, 4, 1)), g.conv(x, 4, 1))}), fuse);
  }
  SUBCASE("the convolution has its activation already") {
    ConvAttrs attrs;
    attrs.activation = {Activation::Kind::kRelu, 0, 0};
    after(g.finish({add(g.conv(x, 4, attrs), x)}), fuse);
  }
  SUBCASE("the convolution is read elsewhere") {
    const ValueId a = g.conv(x, 4, 3);
    after(g.finish({add(a, x), g.relu(a)}), fuse);
  }
}

TEST_CASE("activations fuse once, and not where the value before is seen") {
  Random random(5);
  GraphMaker g(random);
  const ValueId x = g.input({1, 4, 5, 5});
  const std::vector<PassFunction> fuse{convert_batch_norm, fuse_activation, remove_dead_nodes};
  SUBCASE("convolution, affine, fully connected") {
    const ValueId y = g.relu(g.conv(g.relu(g.batch_norm(x)), 5, 3));
    const ValueId z = g.node(Op::kTanh, {g.fully_connected(g.flatten(y), 4)});
    const Graph graph = after(g.finish({z}), fuse);
    CHECK(count(graph, Op::kRelu) + count(graph, Op::kTanh) == 0);
  }
  SUBCASE("two in a row") {
    after(g.finish({g.node(Op::kSigmoid, {g.node(Op::kLeakyRelu, {g.conv(x, 5, 3)}, AlphaBetaAttrs{0.1f, 0})})}), fuse);
  }
  SUBCASE("read twice") {
    const ValueId c = g.conv(x, 5, 3);
    after(g.finish({g.relu(c), g.node(Op::kTanh, {c})}), fuse);
  }
  SUBCASE("an output") {
    const ValueId c = g.conv(x, 5, 3);
    after(g.finish({g.relu(c), c}), fuse);
  }
}

TEST_CASE("pooling moves before a 1x1 convolution only where the two commute") {
  Random random(6);
  GraphMaker g(random);
  const ValueId x = g.input({1, 4, 7, 6});
  PoolAttrs half;
  half.kernel = half.stride = {2, 2};
  const auto pooled_after = [&](const ConvAttrs& conv, const PoolAttrs& pool, bool bias = true) {
    return g.finish({g.node(Op::kAveragePool, {g.conv(x, 8, conv, bias)}, pool)});
  };
  const auto pool_is_first = [](const Graph& graph) { return graph.nodes[0].op == Op::kAveragePool; };
  const std::vector<PassFunction> swap{pool_before_conv};
  SUBCASE("a transition") {
    CHECK(pool_is_first(after(pooled_after({}, half), swap)));
  }
  SUBCASE("with stride in the convolution") {
    ConvAttrs conv;
    conv.stride = {2, 1};
    after(pooled_after(conv, half), swap);
  }
  SUBCASE("padded convolution") {
    ConvAttrs conv;
    conv.pads = {1, 1, 0, 0};
    after(pooled_after(conv, half), swap);
  }
  SUBCASE("activation") {
    ConvAttrs conv;
    conv.activation = {Activation::Kind::kRelu, 0, 0};
    after(pooled_after(conv, half), swap);
  }
  SUBCASE("3x3") {
    ConvAttrs conv;
    conv.kernel = {3, 3};
    after(pooled_after(conv, half), swap);
  }
  SUBCASE("padded pools, counting and not") {
    PoolAttrs pool;
    pool.kernel = {3, 3};
    pool.stride = {2, 2};
    pool.pads = {1, 1, 1, 1};
    pool.count_include_pad = true;
    SUBCASE("counted, with a bias") {
      after(pooled_after({}, pool), swap);
    }
    SUBCASE("counted, without") {
      after(pooled_after({}, pool, false), swap);
    }
    pool.count_include_pad = false;
    SUBCASE("not counted") {
      after(pooled_after({}, pool), swap);
    }
    pool.ceil_mode = true;
    SUBCASE("ceil") {
      after(pooled_after({}, pool), swap);
    }
  }
  SUBCASE("grouped") {
    ConvAttrs conv;
    conv.groups = 2;
    after(pooled_after(conv, half), swap);
  }
  SUBCASE("max pool") {
    after(g.finish({g.node(Op::kMaxPool, {g.conv(x, 8, ConvAttrs{})}, half)}), swap);
  }
  SUBCASE("the convolution is read elsewhere") {
    const ValueId c = g.conv(x, 8, ConvAttrs{});
    after(g.finish({g.node(Op::kAveragePool, {c}, half), g.relu(c)}), swap);
  }
  SUBCASE("a residual in the convolution") {
    const ValueId c = g.conv(x, 4, ConvAttrs{}, true, x);
    after(g.finish({g.node(Op::kAveragePool, {c}, half)}), swap);
  }
}

TEST_CASE("attention and squeeze-excite are recognised in the forms that exporters write") {
  Random random(7);
  GraphMaker g(random);
  const ValueId x = g.input({2, 3, 5, 4});
  const ValueId h = g.conv(x, 6, 3);
  const std::vector<PassFunction> find{convert_reduce_mean, recognize_attention, remove_dead_nodes};
  const auto sigmoid = [&](ValueId v) { return g.node(Op::kSigmoid, {v}); };
  const auto mul = [&](ValueId a, ValueId b) { return g.node(Op::kMul, {a, b}); };
  const auto add = [&](ValueId a, ValueId b) { return g.node(Op::kAdd, {a, b}); };
  const auto mean = [&](ValueId v) { return g.node(Op::kReduceMean, {v}, ReduceAttrs{{2, 3}, true}); };
  // f of the paper; `e_first`: the correct order of the two halves.
  const auto paper_gate = [&](ValueId pooled, bool e_first) {
    const ValueId e = g.conv(g.relu(g.batch_norm(pooled)), 6, 1);
    const ValueId joined = e_first ? g.concat({e, pooled}) : g.concat({pooled, e});
    return sigmoid(g.conv(g.relu(g.batch_norm(joined)), 6, 1));
  };
  SUBCASE("the paper's, sums and products in either order") {
    const ValueId a = add(h, mul(h, paper_gate(g.global_pool(h), true)));
    const ValueId b = add(mul(paper_gate(mean(h), true), h), h);
    CHECK(count(after(g.finish({a, b}), find), Op::kAttention) == 2);
  }
  SUBCASE("the halves swapped: another network") {
    after(g.finish({add(h, mul(h, paper_gate(g.global_pool(h), false)))}), find);
  }
  SUBCASE("the gate of another tensor") {
    const ValueId other = g.conv(x, 6, 3);
    after(g.finish({add(h, mul(h, paper_gate(g.global_pool(other), true)))}), find);
  }
  SUBCASE("the gate is seen elsewhere") {
    const ValueId f = paper_gate(g.global_pool(h), true);
    after(g.finish({add(h, mul(h, f)), f}), find);
  }
  SUBCASE("without the sum") {
    after(g.finish({mul(h, paper_gate(g.global_pool(h), true))}), find);
  }
  SUBCASE("a sum with another value") {
    after(g.finish({add(x, g.conv(mul(h, paper_gate(g.global_pool(h), true)), 3, 1))}), find);
  }
  const auto se_gate = [&](ValueId pooled) { return g.conv(g.relu(g.conv(pooled, 2, 1)), 6, 1); };
  SUBCASE("squeeze-excite by convolutions") {
    const ValueId a = mul(h, sigmoid(se_gate(g.global_pool(h))));
    const ValueId b = mul(g.node(Op::kHardSigmoid, {se_gate(mean(h))}, AlphaBetaAttrs{1.f / 6, 0.5f}), h);
    CHECK(count(after(g.finish({a, b}), find), Op::kAttention) == 2);
  }
  SUBCASE("squeeze-excite by fully connected layers") {
    const ValueId v = g.flatten(g.global_pool(h));
    const ValueId f = sigmoid(g.fully_connected(g.relu(g.fully_connected(v, 2)), 6));
    const Graph graph = after(g.finish({mul(h, g.node(Op::kReshape, {f}, ReshapeAttrs{{0, 6, 1, 1}}))}), find);
    MESSAGE("fully connected squeeze-excite recognised: ", count(graph, Op::kAttention) == 1);
  }
  SUBCASE("squeeze-excite of a gate without bias, and with a 3-layer gate") {
    ValueId f = g.conv(g.relu(g.conv(g.global_pool(h), 2, 1, 1, 1, false)), 6, 1, 1, 1, false);
    const ValueId a = mul(h, sigmoid(f));
    f = g.conv(g.relu(g.conv(g.relu(g.conv(g.global_pool(h), 2, 1)), 2, 1)), 6, 1);
    after(g.finish({a, mul(h, sigmoid(f))}), find);
  }
  SUBCASE("a strided pool or a kernel in the gate is something else") {
    const ValueId f = g.conv(g.relu(g.conv(g.global_pool(h), 2, 3)), 6, 3);
    after(g.finish({mul(h, sigmoid(f))}), find);
  }
}

TEST_CASE("channel shuffles disappear where all that reads them can read another order") {
  Random random(12);
  GraphMaker g(random);
  const ValueId x = g.input({2, 12, 5, 4});
  const auto shuffle = [&](ValueId v, int64_t groups) {
    const ValueId split = g.node(Op::kReshape, {v}, ReshapeAttrs{{2, groups, 12 / groups, 5, 4}});
    const ValueId swapped = g.node(Op::kTranspose, {split}, TransposeAttrs{{0, 2, 1, 3, 4}});
    return g.node(Op::kReshape, {swapped}, ReshapeAttrs{{2, 12, 5, 4}});
  };
  const std::vector<PassFunction> carry{carry_channel_shuffles, remove_dead_nodes};
  SUBCASE("into a convolution, another one by way of depthwise and pooling, and both halves") {
    const ValueId s = shuffle(g.concat({g.relu(g.conv(x, 6, 1)), g.conv(x, 6, 3)}), 2);
    const ValueId depthwise = g.conv(g.pool(Op::kMaxPool, s, 2, 1), 12, 3, 1, 12);
    const auto halves = g.split(s, 1, {6, 6});
    const Graph graph = after(
        g.finish({g.conv(s, 5, 3), g.conv(g.relu(depthwise), 4, 1), g.conv(halves[0], 3, 1), g.conv(halves[1], 3, 1)}),
        carry);
    CHECK(count(graph, Op::kTranspose) == 0);
  }
  SUBCASE("not where the order is seen") {
    const ValueId a = shuffle(x, 3), b = shuffle(x, 2), c = shuffle(x, 4), d = shuffle(g.relu(x), 6);
    const Graph graph =
        after(g.finish({a, g.node(Op::kAdd, {g.conv(b, 12, 1), b}), g.conv(c, 12, 3, 1, 3), g.flatten(d)}), carry);
    CHECK(count(graph, Op::kTranspose) == 4);
  }
  SUBCASE("not where a half would consist of single channels") {
    const auto thirds = g.split(shuffle(shuffle(x, 4), 4), 1, {6, 6});
    const Graph graph = after(g.finish({g.conv(thirds[0], 5, 1), g.conv(thirds[1], 5, 1)}), carry);
    CHECK(count(graph, Op::kTranspose) == 2);
  }
}

TEST_CASE("constants with one value per channel become affine; others do not") {
  Random random(8);
  GraphMaker g(random);
  const ValueId x = g.input({2, 4, 4, 4});
  const std::vector<PassFunction> convert{convert_channel_constants};
  for (Op op : {Op::kAdd, Op::kSub, Op::kMul, Op::kDiv}) {
    for (const Shape& shape : {Shape{4, 1, 1}, Shape{1, 4, 1, 1}, Shape{1}, Shape{}, Shape{4}, Shape{4, 4},
                               Shape{4, 4, 4}, Shape{1, 1, 4, 1}, Shape{1, 1, 1, 4}}) {
      for (bool swapped : {false, true}) {
        GraphMaker one(random);
        const ValueId in = one.input({2, 4, 4, 4});
        const ValueId c = one.nonzero(shape, 0.5, 2, false);
        ValueId v = in;
        if (swapped && op == Op::kDiv) v = one.node(Op::kAdd, {one.node(Op::kMul, {in, in}), one.constant({1}, 1, 0)});
        after(one.finish({swapped ? one.node(op, {c, v}) : one.node(op, {v, c})}), convert);
      }
    }
  }
  const ValueId y = g.node(Op::kMul, {g.node(Op::kSub, {x, g.constant({4, 1, 1}, 0, 1)}), g.constant({4, 1, 1}, 0, 1)});
  CHECK(count(after(g.finish({y}), convert), Op::kAffine) == 2);

  GraphMaker vectors(random);
  const ValueId v = vectors.input({3, 4});
  const ValueId z = vectors.node(
      Op::kAdd, {vectors.node(Op::kMul, {v, vectors.constant({4}, 0, 1)}), vectors.constant({1, 4}, 0, 1)});
  after(vectors.finish({z}), convert);

  // A constant that widens the other operand is not an affine.
  GraphMaker wide(random);
  const ValueId narrow = wide.input({2, 1, 3, 3});
  after(wide.finish({wide.node(Op::kMul, {narrow, wide.constant({4, 1, 1}, 0, 1)}),
                     wide.node(Op::kAdd, {narrow, wide.constant({2, 1, 1, 1, 1}, 0, 1)})}),
        convert);
}

TEST_CASE("identities, dead nodes and flattened layers") {
  Random random(9);
  GraphMaker g(random);
  const ValueId x = g.input({2, 3, 4, 4});
  SUBCASE("identities, also as outputs and of inputs") {
    const ValueId a = g.node(Op::kIdentity, {x});
    const ValueId b = g.node(Op::kReshape, {g.relu(a)}, ReshapeAttrs{{0, 3, -1, 4}});
    const ValueId c = g.node(Op::kTranspose, {b}, TransposeAttrs{{0, 1, 2, 3}});
    const ValueId d = g.node(Op::kIdentity, {c});
    const Graph graph = after(g.finish({g.node(Op::kTanh, {d}), d, a}), {remove_identity, remove_dead_nodes});
    CHECK(count(graph, Op::kReshape) + count(graph, Op::kTranspose) == 0);
  }
  SUBCASE("dead nodes") {
    const std::vector<ValueId> parts = g.split(x, 1, {1, 2});
    g.conv(g.relu(x), 3, 3);
    const Graph graph = after(g.finish({g.relu(parts[1])}), {remove_dead_nodes});
    CHECK(count(graph, Op::kConv) == 0);
    CHECK(count(graph, Op::kRelu) == 1);
    CHECK(count(graph, Op::kSplit) == 1);
  }
  SUBCASE("flattened image") {
    const ValueId y = g.fully_connected(g.flatten(x), 7, true, {Activation::Kind::kRelu, 0, 0});
    const Graph graph = after(g.finish({g.fully_connected(y, 3)}), {convert_flattened_fc, remove_dead_nodes});
    CHECK(count(graph, Op::kConv) >= 1);
  }
  SUBCASE("flattened image of one channel, which is a fully connected layer's input as it is") {
    const ValueId f = g.flatten(g.conv(x, 1, 3));
    const Graph graph = after(g.finish({g.fully_connected(f, 7)}), {convert_flattened_fc, remove_dead_nodes});
    CHECK(count(graph, Op::kConv) == 1);
    CHECK(count(graph, Op::kFullyConnected) == 1);
  }
  SUBCASE("flattened image, read twice") {
    const ValueId f = g.flatten(x);
    after(g.finish({g.fully_connected(f, 7), g.fully_connected(f, 2), f}), {convert_flattened_fc, remove_dead_nodes});
  }
  SUBCASE("a reshape that is no flatten") {
    const ValueId v = g.node(Op::kReshape, {x}, ReshapeAttrs{{4, 24}});
    after(g.finish({g.fully_connected(v, 7)}), {convert_flattened_fc, remove_dead_nodes});
  }
}
