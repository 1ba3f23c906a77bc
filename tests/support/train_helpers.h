// Shared by the suites about the Trainer.
#pragma once

#include <doctest/doctest.h>
#include <sparsenet/architecture.h>
#include <sparsenet/trainer.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "support/train_data.h"

namespace sparsenet::test {

// A network of the family with the parameters of tests/goldens/train.
inline Graph train_network(const std::string& text) {
  const auto arch = parse_architecture(text);
  REQUIRE_MESSAGE(arch.ok(), arch.status().message());
  auto graph = build_graph(*arch, 1);
  REQUIRE_MESSAGE(graph.ok(), graph.status().message());
  set_train_parameters(*graph);
  return std::move(*graph);
}

inline Trainer make_trainer(const Graph& graph, const TrainOptions& options) {
  auto trainer = Trainer::create(graph, options);
  REQUIRE_MESSAGE(trainer.ok(), trainer.status().message());
  return std::move(*trainer);
}

// Runs `count` steps on the batches from `first` on; returns the losses.
inline std::vector<double> train_steps(Trainer& trainer, const TrainData& data, int64_t batch, int64_t first,
                                       int64_t count, float learning_rate) {
  std::vector<double> losses;
  for (int64_t i = first; i < first + count; ++i) {
    const auto step = trainer.step(data.batch_images(i, batch), data.batch_labels(i, batch), learning_rate);
    REQUIRE_MESSAGE(step.ok(), step.status().message());
    losses.push_back(step->loss);
  }
  return losses;
}

using Parameters = std::vector<std::vector<float>>;

inline Parameters parameters_of(const Trainer& trainer) {
  Parameters all;
  for (size_t i = 0; i < trainer.parameters().size(); ++i) {
    all.emplace_back(static_cast<size_t>(element_count(trainer.parameters()[i].shape)), std::nanf(""));
    const Status got = trainer.get_parameter(i, all.back().data(), all.back().size());
    REQUIRE_MESSAGE(got.ok(), got.message());
  }
  return all;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline bool same_bits(const Parameters& a, const Parameters& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same_bits(a[i], b[i])) return false;
  }
  return true;
}

// All float32 constants, including running statistics, in the graph's order.
inline Parameters constants_of(const Graph& graph) {
  Parameters all;
  for (const Value& value : graph.values) {
    if (!value.is_constant || value.type != DataType::kFloat32) continue;
    all.emplace_back(value.constant.f32(), value.constant.f32() + value.constant.elements());
  }
  return all;
}

inline const Value* find_value(const Graph& graph, const std::string& name) {
  for (const Value& value : graph.values) {
    if (value.name == name) return &value;
  }
  return nullptr;
}

}  // namespace sparsenet::test
