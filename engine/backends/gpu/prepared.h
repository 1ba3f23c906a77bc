// A prepared plan as the host holds it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/gpu/executable.h"

namespace sparsenet::gpu {

struct PreparedPort {
  std::string name;
  uint64_t bytes;
};

}  // namespace sparsenet::gpu

// Outside of the namespace, where sparsenet/plugin.h declares it.
struct snp_prepared {
  std::vector<sparsenet::gpu::PreparedPort> inputs, outputs;
  uint32_t step_count = 0;
  bool running = false;                  // from run_async() to wait()
  sparsenet::gpu::Reservation launches;  // of host memory, for the lists that `executable` keeps
  std::unique_ptr<sparsenet::gpu::Executable> executable;
};
