// Which steps of a plan a plugin runs and which the CPU, and what goes from one to the other.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "plugin/plan_data.h"

namespace sparsenet {

// The steps [begin, end) are the device's; those before and behind are the CPU's.
struct Placement {
  size_t begin = 0, end = 0;
  bool on_device = false;   // false: the CPU runs everything
  std::string missing;      // what cannot run on the device, and why; empty: everything can
  std::string consequence;  // what the CPU does about it
};

// Takes the longest run, by multiply-adds, of steps that are supported; nothing if that is less than half of all.
// `reasons` has a text, or null, for every step that is not supported.
Placement place_steps(const Plan& plan, const std::vector<uint8_t>& supported, const std::vector<const char*>& reasons,
                      const std::string& backend);

// Buffers of the arena as inputs or outputs: all bytes of each, in one piece, as float32 if that is all that the plan
// has, else as uint8.
struct BufferPorts {
  std::vector<PlanPort> ports;
  std::deque<rt::Segment> segments;  // that the ports point to, also after a move
};
// The buffers that are in use at or before step `first` and at or behind step `last`. kUnsupported names one that has
// more elements than a view may have.
Result<BufferPorts> buffers_alive(const Plan& plan, size_t first, size_t last);

// What a step has to read and write at least: its inputs, parameters and outputs once. `half`: numbers have two bytes.
uint64_t least_bytes(const rt::Step& step, bool half);

// A plan in parts. Buffers that are alive where the plan is cut go from one arena to the other as a whole: both arenas
// have the same layout. Copies of ports and buffers are kept here; `plan` must outlive the object.
class PluginParts {
 public:
  PluginParts() = default;
  PluginParts(const PluginParts&) = delete;
  PluginParts& operator=(const PluginParts&) = delete;

  // Errors are those of buffers_alive().
  Status cut(const Plan& plan, size_t begin, size_t end);

  const PlanRange& device() const { return device_; }
  const Plan& host() const { return host_; }  // the steps before and behind the device's
  size_t host_steps_before() const { return device_.begin; }
  bool has_host_steps() const { return !host_.steps.empty(); }
  // Whether the device has the plan's own inputs, or outputs; otherwise its ports are whole buffers.
  bool begins_on_device() const { return device_.begin == 0; }
  bool ends_on_device() const { return behind_ == 0; }

 private:
  PlanRange device_;
  Plan host_;
  size_t behind_ = 0;
  BufferPorts before_device_, behind_device_;  // what crosses
};

}  // namespace sparsenet
