// Sums of residuals behind convolutions, for every pair of operands: fast kernels compute them by other numbers than
// those that define them (kernels/integer/residual.h), which may only be taken where all results are the same.
#include <doctest/doctest.h>
#include <sparsenet/session.h>

#include <algorithm>

#include "support/integer_maker.h"
#include "support/skip.h"

using namespace sparsenet;
using namespace sparsenet::test;

namespace {

constexpr int64_t kSide = 256;

// A convolution that leaves its input as it is, and a sum with another input.
Graph sum_of_inputs(uint64_t seed, double least, double most) {
  Random random(seed);
  IntegerMaker g(random);
  const Quantization q = g.quantization(), other = g.quantization();
  const ValueId x = g.input({1, 1, kSide, kSide}, q), residual = g.input({1, 1, kSide, kSide}, other);
  const ValueId weight = g.graph.add_constant("weight", integer_constant<int8_t>({1, 1, 1, 1}, {127}));
  g.graph.value(weight).quantization = {{1.f / 127}, {0}, 0};
  ConvAttrs attrs;
  const ValueId same = g.node(Op::kConv, {x, weight}, attrs, q);
  const double scale = std::max(g.scale(x), g.scale(residual));
  return g.finish({g.node(Op::kAdd, {same, residual}, NoAttrs{}, g.quantization(scale * random.real(least, most)))});
}

std::vector<int8_t> run(const Graph& graph, Backend backend) {
  SessionOptions options;
  options.backend = backend;
  auto session = Session::create(graph, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  REQUIRE(session->steps().size() == 1);  // the sum is part of the convolution
  std::vector<int8_t> x, residual;
  for (int a = -128; a < 128; ++a) {
    for (int b = -128; b < 128; ++b) {
      x.push_back(static_cast<int8_t>(a));
      residual.push_back(static_cast<int8_t>(b));
    }
  }
  std::vector<int8_t> out(x.size());
  REQUIRE(session->set_input(0, x.data(), x.size()).ok());
  REQUIRE(session->set_input(1, residual.data(), residual.size()).ok());
  REQUIRE(session->run().ok());
  REQUIRE(session->get_output(0, out.data(), out.size()).ok());
  return out;
}

// Returns how many sums have results all over the range.
int compare_sums(int count, double least, double most) {
  int spread = 0;
  for (int seed = 0; seed < count; ++seed) {
    const Graph graph = sum_of_inputs(static_cast<uint64_t>(seed), least, most);
    const std::vector<int8_t> expected = run(graph, Backend::kReference), found = run(graph, Backend::kPortable);
    const auto at = std::mismatch(expected.begin(), expected.end(), found.begin()).first - expected.begin();
    CAPTURE(seed);
    CHECK_MESSAGE(expected == found, "operands ", at / 256 - 128, " and ", at % 256 - 128);
    spread += *std::max_element(found.begin(), found.end()) - *std::min_element(found.begin(), found.end()) > 100;
  }
  return spread;
}

}  // namespace

TEST_CASE("integers: sums of residuals are as defined for all pairs of operands") {
  const int count = scaled_by_effort(100);
  CHECK(compare_sums(count, 0.3, 2.5) > count / 2);  // not all results are at the ends
}

// What cancels is then much larger than a result.
TEST_CASE("integers: sums of residuals are as defined in scales that are much smaller than the operands'") {
  const int count = scaled_by_effort(50);
  CHECK(compare_sums(count, 0.02, 0.3) > count / 2);
}
