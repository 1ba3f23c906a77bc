// What training simulates of a network that computes with integers, in double precision. Rounding has no slope, so the
// gradient that passes straight through it is defined by another network: one that adds to every value what rounding
// has changed it by, for the same images and weights. It computes the same, and its slopes are those of the definition.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <set>
#include <string>
#include <vector>

#include "support/reference.h"

namespace sparsenet::test {

struct SmoothNetwork {
  Graph graph;
  std::set<std::string> norms;  // its BatchNorms, all of which use their running statistics
  Array outputs;
  // The least distance of any number to where it would be rounded to another integer, in steps. If that is less than
  // float32 tells, a step in float32 may round it the other way.
  double tie_distance = 0;
};

// `simulated`: what simulate_integers() makes of a graph in which nothing stays integers, with its batch set. `images`
// fill its input.
Result<SmoothNetwork> smooth_network(const Graph& simulated, const std::vector<float>& images);

}  // namespace sparsenet::test
