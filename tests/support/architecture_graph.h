// The graph of an architecture, for tests that need no more than that.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/architecture.h>

#include <string>
#include <utility>

namespace sparsenet::test {

inline Graph graph_of(const std::string& architecture, uint64_t seed = 1) {
  const Result<Architecture> arch = parse_architecture(architecture);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  Result<Graph> graph = build_graph(*arch, seed);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(graph).value();
}

}  // namespace sparsenet::test
