// A NaN that enters a network must be visible at its end: bounds and activations may not hide it.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/activations.h"
#include "support/reference.h"

namespace {

using namespace sparsenet;

// x -> Conv followed by the activation -> Affine + ReLU before a 1x1 Conv.
Graph network(int32_t kernel, int64_t channels, const ActivationRow& row) {
  Graph graph;
  const ValueId x = graph.add_input("x", {1, channels, 16, 16});
  const ValueId w = graph.add_constant("w", Tensor::filled({16, channels, kernel, kernel}, 0.01f));
  ConvAttrs attrs;
  attrs.kernel = {kernel, kernel};
  attrs.pads = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
  ValueId y = graph.add_node(Op::kConv, "conv", {x, w, kNoValue}, attrs, "conv_out");
  const Activation with{row.kind, row.parameters == ActivationParameters::kBounds ? 0.f : 0.2f, 0.5f};
  y = graph.add_node(row.op.op, "activation", {y}, attrs_of(row, with), "activated");
  std::vector<ValueId> bn{y};
  for (const char* name : {"scale", "shift", "mean", "variance"}) {
    bn.push_back(graph.add_constant(name, Tensor::filled({16}, 1.f)));
  }
  y = graph.add_node(Op::kBatchNorm, "bn", bn, BatchNormAttrs{}, "normalised");
  y = graph.add_node(Op::kRelu, "relu", {y}, NoAttrs{}, "rectified");
  const ValueId last = graph.add_constant("last", Tensor::filled({8, 16, 1, 1}, 0.1f));
  y = graph.add_node(Op::kConv, "conv1x1", {y, last, kNoValue}, ConvAttrs{}, "y");
  graph.outputs = {y};
  return graph;
}

}  // namespace

TEST_CASE("activations at the ends of float32 are what they tend to") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> ends{-kInfinity, -3e38f, -1e20f, -1e4f, -100.f, -50.f,
                                50.f,       100.f,  1e4f,   1e20f, 3e38f,  kInfinity};
  for (const ActivationRow& row : kActivationTable) {
    Graph graph;
    const Activation with{row.kind, row.parameters == ActivationParameters::kBounds ? -1.f : 0.5f, 1.f};
    const ValueId x = graph.add_input("x", {1, static_cast<int64_t>(ends.size())});
    graph.outputs = {graph.add_node(row.op.op, "activation", {x}, attrs_of(row, with))};
    for (const Backend backend : {Backend::kReference, Backend::kPortable}) {
      SessionOptions options;
      options.backend = backend;
      options.threads = 1;
      auto session = Session::create(graph, options);
      REQUIRE(session.ok());
      std::vector<float> found(ends.size());
      REQUIRE(session->set_input(0, ends.data(), ends.size()).ok());
      REQUIRE(session->run().ok());
      REQUIRE(session->get_output(0, found.data(), found.size()).ok());
      for (size_t i = 0; i < ends.size(); ++i) {
        if (row.op.op == Op::kHardSwish && i == 0) continue;  // -infinity times 0, as in PyTorch
        double expected = test::activate(with, static_cast<double>(ends[i]));
        if (std::isnan(expected)) expected = 0;  // -infinity times what tends to zero faster
        const double bound = 1e-5 * std::max(1.0, std::fabs(expected));
        const bool fits = std::isinf(expected) || std::fabs(expected) > 3.4e38
                              ? found[i] == static_cast<float>(expected)
                              : std::fabs(static_cast<double>(found[i]) - expected) <= bound;
        CHECK_MESSAGE(fits, std::string(row.op.name), " of ", ends[i], ": ", found[i], " in place of ", expected);
      }
    }
  }
}

TEST_CASE("NaN in the input is NaN in every output that depends on it") {
  for (Backend backend : {Backend::kReference, Backend::kPortable, Backend::kAuto}) {
    for (int32_t kernel : {1, 3, 5}) {
      for (int64_t channels : {3, 16}) {  // 3x3 with 16 channels uses Winograd
        for (const ActivationRow& activation : kActivationTable) {
          CAPTURE(name(backend));
          CAPTURE(kernel);
          CAPTURE(channels);
          CAPTURE(activation.op.name);
          SessionOptions options;
          options.backend = backend;
          options.threads = 1;
          auto session = Session::create(network(kernel, channels, activation), options);
          REQUIRE_MESSAGE(session.ok(), session.status().message());
          std::vector<float> in(static_cast<size_t>(channels) * 256, 0.5f), out(8 * 256);
          in[8 * 16 + 8] = std::numeric_limits<float>::quiet_NaN();  // channel 0, row 8, column 8
          REQUIRE(session->set_input(0, in.data(), in.size()).ok());
          REQUIRE(session->run().ok());
          REQUIRE(session->get_output(0, out.data(), out.size()).ok());
          for (size_t c = 0; c < 8; ++c) CHECK(std::isnan(out[c * 256 + 8 * 16 + 8]));
          CHECK(std::isfinite(out[0]));  // a corner that does not depend on it
        }
      }
    }
  }
}
