// The graph passes by name, and the check that one of them keeps what a graph computes.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "passes/passes.h"
#include "support/check_session.h"
#include "support/describe.h"

namespace sparsenet::test {

using PassFunction = Status (*)(Graph*);
struct NamedPass {
  std::string name;
  PassFunction run;
};

// In the order of passes/pipeline.cpp.
inline const NamedPass kPasses[] = {
    {"remove_identity", remove_identity},
    {"convert_reduce_mean", convert_reduce_mean},
    {"recognize_attention", recognize_attention},
    {"merge_pad", merge_pad},
    {"move_activations", move_activations},
    {"convert_pixel_fc", convert_pixel_fc},
    {"convert_batch_norm", convert_batch_norm},
    {"convert_channel_constants", convert_channel_constants},
    {"fold_affine_backward", fold_affine_backward},
    {"pool_before_conv", pool_before_conv},
    {"fuse_residual", fuse_residual},
    {"fuse_activation", fuse_activation},
    {"fold_affine_forward", fold_affine_forward},
    {"convert_flattened_fc", convert_flattened_fc},
    {"carry_channel_shuffles", carry_channel_shuffles},
    {"merge_reshapes", merge_reshapes},
    {"remove_dead_nodes", remove_dead_nodes},
};

// New constants are float32, so a rewrite may round each weight once.
constexpr double kPassRounding = 2e-6;

inline int count(const Graph& graph, Op op) {
  int n = 0;
  for (const Node& node : graph.nodes) n += node.op == op;
  return n;
}

// What a pass must not touch: inputs, and the outputs' names and shapes.
inline std::string interface_of(const Graph& graph) {
  std::string text;
  for (const auto* list : {&graph.inputs, &graph.outputs}) {
    for (ValueId id : *list) text += graph.value(id).name + to_string(graph.shape(id)) + " ";
    text += "-> ";
  }
  return text;
}

// Empty if `pass` keeps what `graph` computes; sets *changed if it rewrote something.
inline std::string check_pass(Graph* graph, PassFunction pass, const std::vector<Array>& inputs,
                              const std::vector<Array>& expected, bool* changed) {
  const std::string before = describe_graph(*graph), interface = interface_of(*graph);
  const Status ran = pass(graph);
  if (!ran.ok()) return "failed: " + ran.message() + "\n" + before;
  const Status sound = graph->infer_shapes();
  if (!sound.ok()) return "broke the graph: " + sound.message() + "\n" + before + "became\n" + describe_graph(*graph);
  const std::string after = describe_graph(*graph);
  *changed = after != before;
  if (interface_of(*graph) != interface)
    return "changed the interface: " + interface + "became " + interface_of(*graph);
  const auto result = evaluate(*graph, inputs);
  if (!result.ok()) return "reference: " + result.status().message();
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = relative_error(expected[i].data, (*result)[i].data);
    if (!(error <= kPassRounding)) {
      return "output " + std::to_string(i) + " error " + std::to_string(error) + "\n" + before + "became\n" + after;
    }
  }
  return "";
}

// Runs some passes over a hand-made graph, checking each, and returns the result.
inline Graph after(Graph graph, const std::vector<PassFunction>& passes) {
  REQUIRE(graph.infer_shapes().ok());
  const std::vector<Array> inputs = random_inputs(graph, 11);
  const auto expected = evaluate(graph, inputs);
  REQUIRE_MESSAGE(expected.ok(), expected.status().message());
  for (PassFunction pass : passes) {
    bool changed = false;
    const std::string problem = check_pass(&graph, pass, inputs, *expected, &changed);
    CHECK_MESSAGE(problem.empty(), problem);
    if (!problem.empty()) break;
  }
  return graph;
}

// The whole pipeline, checked against the reference.
inline Graph after_all(Graph graph) {
  std::vector<PassFunction> all;
  for (const NamedPass& pass : kPasses) all.push_back(pass.run);
  return after(std::move(graph), all);
}

}  // namespace sparsenet::test
