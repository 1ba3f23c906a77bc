// Plan: a graph lowered to steps over one arena. Made once, then only read; a session binds it to kernels.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/status.h>

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "step/step.h"
#include "step/training_layout.h"

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
  Quantization quantization;  // of integers
  // Of a stored plan's float32 input that a Quantize takes: what the integers stand for that files may hold in place of
  // a test vector's numbers.
  Quantization of_vectors = {};
};

// Values that stay in memory from run to run: each lies in a region of the arena.
struct Persistence {
  struct Placement {
    ValueId value;
    int region;
    size_t offset;  // bytes from the region's start; row-major in the value's own shape
  };
  std::vector<size_t> region_bytes;
  std::vector<Placement> placements;
};

// A step's pointer to a parameter in the arena, which is set once the arena's address is known.
struct PlanLink {
  size_t step;
  rt::ParamSlot slot;
  size_t offset;  // bytes
};

// A trained parameter: its values before the first training step, and where they go.
struct PlanParameter {
  std::string name;
  rt::Parameter values;
  size_t elements;
  size_t offset;  // bytes from the start of the arena, where they are float32
};

// What a stored plan that trains has besides its steps.
struct TrainingSection {
  rt::TrainingLayout layout{};
  std::vector<PlanParameter> parameters;
};

struct Plan {
  std::vector<rt::Step> steps;
  std::vector<int64_t> step_macs;  // one per step
  std::vector<PlanBuffer> buffers;
  std::vector<PlanPort> inputs, outputs;
  size_t arena_bytes = 0, lower_bound_bytes = 0;
  std::vector<PlanLink> links;
  std::vector<size_t> region_offsets;  // by region: bytes from the start of the arena
  std::vector<size_t> node_steps;      // by node: the number of steps before its own
  std::optional<TrainingSection> training;

  // Storage for what the steps point to.
  std::deque<std::vector<rt::Segment>> segments;
  std::deque<std::vector<rt::View>> operands;
  std::deque<rt::Strided> strided;
  std::deque<rt::QuantParams> quant;
  std::deque<std::vector<rt::Multiplier>> multipliers;
  std::deque<std::vector<rt::ChannelScale>> channel_scales;
  std::deque<std::array<int8_t, 256>> tables;
  std::deque<std::vector<float>> constants;
  std::deque<std::vector<int8_t>> byte_constants;
  std::deque<std::string> names;
  std::vector<std::shared_ptr<const void>>
      view_owners;  // keep constants alive that steps read in every run: constant channels, affines in front
  // Keep parameters alive that kernels read in prepare, and the reference kernels also in run.
  struct ParameterOwner {
    const void* data;
    std::shared_ptr<const void> owner;
  };
  std::vector<ParameterOwner> parameter_owners;
};

rt::DataType rt_type(DataType type);

// Of all elements of an input or output.
inline size_t bytes_of(const PlanPort& port) {
  return static_cast<size_t>(element_count(port.shape)) * rt::size_of(port.view.type);
}

// Lowers a graph whose shapes are inferred. Errors name the node.
Result<Plan> make_plan(const Graph& graph, const Persistence& persistence = {});

}  // namespace sparsenet
