// Checks of an imported network that are made before its file is written.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <string>
#include <vector>

#include "converter/report.h"

namespace sparsenet::converter {

// Whether the engine can run the network, with the batch size of its inputs: plans it, chooses a kernel for every step
// and, if that takes at most kMostBytesToBind, prepares a session for it. Larger networks are only measured, so that a
// conversion needs little more memory than twice the file. If `here`, the conversion will run the network itself (for
// test vectors, a plan or --check), and the memory this takes must be left in its budget. The error names the node.
constexpr size_t kMostBytesToBind = size_t{32} << 20;
Status check_runs(const Model& model, bool here);

// For a network that cannot be imported or planned as a whole: adds a problem for every node with integers that cannot
// be planned by itself.
void list_refused_nodes(const Graph& graph, Report* report);

// Compares the network's outputs with those of the user's own framework (`--check`), and stores these arrays as the
// model's test vectors, replacing its own.
//
// Each entry of `lists` names .npy files, separated by commas: one for every input of the graph, then one for every
// output. Their first dimension counts the images; the other dimensions are the graph's or, with `channels_last`, in
// the order [N, H, W, C]; without it, images of inputs may be in either order. Inputs are what the network itself
// reads: normalised, if it expects that. The network runs on the portable kernels, one image at a time. Every output of
// every image may differ by at most `tolerance` times its largest expected value. The first kMostStored images are
// stored.
constexpr size_t kMostStored = 16;
struct CheckOptions {
  std::vector<std::string> lists;
  float tolerance = 1e-4f;
  bool channels_last = false;
};
Status check_outputs(const CheckOptions& options, Model* model, Report* report);

}  // namespace sparsenet::converter
