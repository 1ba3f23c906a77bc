#include "train/state.h"

#include <sparsenet/half.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/bytes.h"

namespace sparsenet {
namespace {

constexpr int kSavedRegions[] = {kParameterRegion, kMoment1Region, kMoment2Region, kRunningRegion, kAccumulatedRegion};
// The regions that a step changes before it is known to succeed.
constexpr int kMovedRegions[] = {kRunningRegion, kAccumulatedRegion};

bool of_source(const Persistence::Placement& p, const Graph& source) {
  if (p.region != kParameterRegion && p.region != kRunningRegion) return false;
  return static_cast<size_t>(p.value) < source.values.size();  // the other placements are whole regions
}

}  // namespace

void TrainingState::init(Persistence regions, std::vector<size_t> region_offsets, uint8_t* arena, size_t arena_bytes) {
  regions_ = std::move(regions);
  offsets_ = std::move(region_offsets);
  arena_ = arena;
  arena_bytes_ = arena_bytes;
  size_t moved = 0;
  for (const int id : kMovedRegions) moved += region_bytes(id) / sizeof(float);
  kept_.assign(moved, 0.f);
}

size_t TrainingState::all_bytes() const {
  size_t bytes = 0;
  for (const size_t of_region : regions_.region_bytes) bytes += of_region;
  return bytes;
}

int64_t TrainingState::offset_in(int region_id, ValueId value) const {
  for (const Persistence::Placement& p : regions_.placements) {
    if (p.value == value && p.region == region_id) return static_cast<int64_t>(p.offset / sizeof(float));
  }
  return -1;
}

void TrainingState::load_parameters(const Graph& source) {
  for (const Persistence::Placement& p : regions_.placements) {
    if (!of_source(p, source)) continue;
    const Tensor& t = source.value(p.value).constant;
    if (t.type == DataType::kFloat16) {
      half_to_float(static_cast<const uint16_t*>(t.data), static_cast<size_t>(t.elements()),
                    reinterpret_cast<float*>(place(p)));
    } else {
      std::memcpy(place(p), t.data, t.bytes());
    }
  }
}

Graph TrainingState::view(const Graph& source) const {
  Graph graph = source;
  for (const Persistence::Placement& p : regions_.placements) {
    if (!of_source(p, source)) continue;
    Value& value = graph.value(p.value);
    value.type = DataType::kFloat32;
    value.constant = {DataType::kFloat32, value.shape, nullptr, place(p)};
  }
  return graph;
}

void TrainingState::keep() {
  kept_counters_ = counters;
  float* to = kept_.data();
  for (const int id : kMovedRegions) {
    if (region_bytes(id) == 0) continue;
    std::memcpy(to, region(id), region_bytes(id));
    to += region_bytes(id) / sizeof(float);
  }
}

void TrainingState::restore() {
  counters = kept_counters_;
  const float* from = kept_.data();
  for (const int id : kMovedRegions) {
    if (region_bytes(id) == 0) continue;
    std::memcpy(region(id), from, region_bytes(id));
    from += region_bytes(id) / sizeof(float);
  }
}

size_t TrainingState::saved_bytes() const {
  size_t bytes = sizeof(Counters);
  for (const int id : kSavedRegions) bytes += region_bytes(id);
  return bytes;
}

Status TrainingState::save(void* data, size_t size) const {
  if (!data || size != saved_bytes()) {
    return invalid_argument("training state: expected room for " + std::to_string(saved_bytes()) + " bytes, found " +
                            std::to_string(size));
  }
  auto* to = static_cast<uint8_t*>(data);
  std::memcpy(to, &counters, sizeof counters);
  to += sizeof counters;
  for (const int id : kSavedRegions) {
    std::memcpy(to, region(id), region_bytes(id));
    to += region_bytes(id);
  }
  return {};
}

Status TrainingState::load(const void* data, size_t size) {
  if (!data || size != saved_bytes()) {
    return invalid_argument("training state: expected " + std::to_string(saved_bytes()) + " bytes, found " +
                            std::to_string(size));
  }
  const auto* from = static_cast<const uint8_t*>(data);
  std::memcpy(&counters, from, sizeof counters);
  from += sizeof counters;
  for (const int id : kSavedRegions) {
    std::memcpy(region(id), from, region_bytes(id));
    from += region_bytes(id);
  }
  return {};
}

// Regions do not overlap; the largest gap in front of one or behind them all is idle. There are so few of them that
// they need not be sorted to find the next one.
IdleMemory TrainingState::idle_memory() const {
  const size_t count = offsets_.size();
  IdleMemory idle;
  for (size_t behind = 0; behind <= count; ++behind) {
    if (behind < count && region_bytes(static_cast<int>(behind)) == 0) continue;
    size_t begin = 0, end = arena_bytes_;
    if (behind < count) {
      begin = static_cast<size_t>(rt::aligned_bytes(offsets_[behind] + region_bytes(static_cast<int>(behind))));
    }
    for (size_t id = 0; id < count; ++id) {
      if (region_bytes(static_cast<int>(id)) > 0 && offsets_[id] >= begin) end = std::min(end, offsets_[id]);
    }
    if (end > begin && end - begin > idle.bytes) idle = {arena_ + begin, end - begin};
  }
  return idle;
}

}  // namespace sparsenet
