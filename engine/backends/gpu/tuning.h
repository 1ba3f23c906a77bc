// Sizes and variants of kernels that are chosen by timing, and the file that keeps them.
#pragma once

#include <string>

#include "backends/gpu/builder.h"
#include "backends/gpu/device.h"
#include "backends/gpu/host.h"

namespace sparsenet::gpu {

// One file in a folder holds the choices of all plans that were tuned with one device, driver, plugin and set of
// options; `requirements` names these. A program depends on the plan and its choices alone, so results have the same
// bits as long as the file is the same.
struct TuningFile {
  std::string folder;  // empty: nowhere
  std::string requirements;
};

// What the file holds; nothing if it is missing, incomplete or someone else's.
Tuning read_tuning(const TuningFile& file);
// Replaces the file as a whole.
Outcome write_tuning(const TuningFile& file, const Tuning& tuning);

// What is timed: a plan on a device.
struct TuningTarget {
  const snp_plan& plan;
  BuildOptions options;
  Device& device;
  const Host& host;
  std::string cache_folder;
};

// Reads the file, times the plan's choices that it lacks, and adds them to it. Fails only where the plan itself cannot
// be built; candidates that do not compile or for which there is no memory are passed over.
Outcome tune(const TuningTarget& target, const TuningFile& file, Tuning* tuning);

}  // namespace sparsenet::gpu
