// Models with a plan made ahead of time.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/deploy.h>

#include <string>
#include <utility>

namespace sparsenet::test {

inline constexpr const char* kTarget = "portable-f32";

inline Graph architecture(const std::string& text) {
  const auto arch = parse_architecture(text);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, 5);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  return std::move(*graph);
}

inline void add_plan(Model* model, int64_t batch = 1) {
  auto stored = make_stored_plan(model->graph, kTarget, batch);
  REQUIRE_MESSAGE(stored.ok(), stored.status().message());
  model->plans.push_back(std::move(*stored));
}

inline Model with_plan(Graph graph, int64_t batch = 1) {
  Model model;
  model.graph = std::move(graph);
  add_plan(&model, batch);
  return model;
}

}  // namespace sparsenet::test
