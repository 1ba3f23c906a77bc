// TrainingState: what stays in the arena from one step of a training to the next.
#pragma once

#include <sparsenet/trainer.h>

#include <vector>

#include "train/training_graph.h"

namespace sparsenet {

class TrainingState {
 public:
  // `arena` holds the plan's regions, at these offsets.
  void init(Persistence regions, std::vector<size_t> region_offsets, uint8_t* arena, size_t arena_bytes);

  float* region(int id) const { return reinterpret_cast<float*>(arena_ + offsets_[static_cast<size_t>(id)]); }
  size_t region_bytes(int id) const { return regions_.region_bytes[static_cast<size_t>(id)]; }
  size_t all_bytes() const;  // of all regions

  // Where a value of the source graph begins in a region, in floats; -1: it is not there.
  int64_t offset_in(int region_id, ValueId value) const;

  // Sets parameters and running statistics to those of `source`.
  void load_parameters(const Graph& source);
  // `source` with the parameters and running statistics of this state, which stay where they are.
  Graph view(const Graph& source) const;

  // Keep, and restore, what a step changes before it is known to succeed.
  void keep();
  void restore();

  // Save and load everything that the next step depends on. kInvalidArgument if the size is not saved_bytes().
  size_t saved_bytes() const;
  Status save(void* data, size_t size) const;
  Status load(const void* data, size_t size);

  // The largest part of the arena that holds none of the state. Makes no heap call.
  IdleMemory idle_memory() const;

  struct Counters {
    uint64_t updates = 0, accumulated = 0;  // accumulated: batches since the last update
  };
  Counters counters;

 private:
  uint8_t* place(const Persistence::Placement& p) const {
    return arena_ + offsets_[static_cast<size_t>(p.region)] + p.offset;
  }

  Persistence regions_;
  std::vector<size_t> offsets_;
  uint8_t* arena_ = nullptr;
  size_t arena_bytes_ = 0;
  Counters kept_counters_;
  std::vector<float> kept_;
};

}  // namespace sparsenet
