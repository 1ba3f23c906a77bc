// ParameterMemory: keeps parameters from taking memory twice. Kernels that pack their parameters need the originals no
// more, so these go one after the other while a plan is bound: those that passes made are freed, and the pages of those
// in a mapped file are given back to the system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "plan/plan.h"

namespace sparsenet {

class ParameterMemory {
 public:
  // `own`: the plan itself if nobody else shares it, so that it may lose parameters; else null.
  ParameterMemory(const Plan& plan, Plan* own);

  // To be called for every step that is bound, as it is in the plan. `copied`: its kernel has copied its parameters.
  void bound(const rt::Step& step, bool copied);

 private:
  struct Original {
    int readers = 0;             // steps that are still to be bound, or that read it in every run
    std::vector<size_t> owners;  // indices into Plan::parameter_owners
  };
  void give_back(const rt::Parameter& parameter, uint64_t elements);

  Plan* own_;
  std::unordered_map<const void*, Original> originals_;
  struct Mapping {
    const uint8_t* begin;
    size_t bytes;
  };
  std::vector<Mapping> mappings_;
};

}  // namespace sparsenet
