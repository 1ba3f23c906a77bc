// What is asked of an imported network before a file of it is written.
#pragma once

#include <sparsenet/model.h>
#include <sparsenet/status.h>

#include <string>
#include <vector>

#include "converter/report.h"

namespace sparsenet::converter {

// Whether the engine can run the network, in the batch size that its inputs have: plans it, chooses a kernel for every
// step and, where that takes at most kMostBytesToBind, prepares a session of it. Larger ones are measured alone, for a
// conversion takes little more memory than twice the file. With `here` the conversion will run the network itself (for
// test vectors, a plan or --check), and what that takes must be left of its budget. The error names the node.
constexpr size_t kMostBytesToBind = size_t{32} << 20;
Status check_runs(const Model& model, bool here);

// Compares the network's outputs with those that the user's own framework gave (`--check`), and makes these the model's
// test vectors, in place of its own.
//
// Each entry of `lists` names .npy files, separated by commas: one for every input of the graph, then one for every
// output. Their first dimension counts the images; the rest has the graph's shape or, with `channels_last`, that of
// [N, H, W, C]. Inputs are what the network itself reads: normalised, where it expects that. The network runs on the
// portable kernels, an image at a time. Every output of every image must differ by at most `tolerance` times its
// largest expected value. The first kMostStored images are stored.
constexpr size_t kMostStored = 16;
struct CheckOptions {
  std::vector<std::string> lists;
  float tolerance = 1e-4f;
  bool channels_last = false;
};
Status check_outputs(const CheckOptions& options, Model* model, Report* report);

}  // namespace sparsenet::converter
