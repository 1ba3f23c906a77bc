// Plan: a graph lowered to steps over one arena. Made once, then only read; a session binds it to kernels.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "runtime/step.h"

namespace sparsenet {

struct PlanBuffer {
  std::string name;  // of the value it was made for
  size_t bytes = 0, offset = 0;
  int first = 0, last = 0;
};

// A graph input or output: its shape in the graph and where it lies in the arena.
struct PlanPort {
  std::string name;
  Shape shape;
  rt::View view;  // rank 4: the image tensor; other ranks: [N, C] or one pixel with all elements as channels
};

struct Plan {
  std::vector<rt::Step> steps;
  std::vector<int64_t> step_macs;  // one a step
  std::vector<PlanBuffer> buffers;
  std::vector<PlanPort> inputs, outputs;
  size_t arena_bytes = 0, lower_bound_bytes = 0;

  // What the steps point to.
  std::deque<std::vector<rt::Segment>> segments;
  std::deque<rt::Strided> strided;
  std::deque<std::vector<float>> constants;
  std::deque<std::string> names;
  std::vector<std::shared_ptr<const void>>
      view_owners;  // of constants that steps read in every run: constant channels, affines in front
  std::vector<std::shared_ptr<const void>>
      parameter_owners;  // of parameters that kernels read in prepare, the reference ones also in run
};

// Lowers a graph whose shapes are inferred. Errors name the node.
Result<Plan> make_plan(const Graph& graph);

}  // namespace sparsenet
