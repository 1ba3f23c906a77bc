#include "session/parameter_memory.h"

#include "base/files.h"

namespace sparsenet {
namespace {

uint64_t weight_elements(const rt::Step& step) {
  const int32_t groups = step.conv.groups > 0 ? step.conv.groups : 1;
  const rt::Window& w = step.window;
  return static_cast<uint64_t>(step.out.c) * static_cast<uint64_t>(step.in.c / groups) *
         static_cast<uint64_t>(w.kernel_h) * static_cast<uint64_t>(w.kernel_w);
}

}  // namespace

ParameterMemory::ParameterMemory(const Plan& plan, Plan* own) : own_(own) {
  const auto add_mapping = [this](const std::shared_ptr<const void>& owner) {
    const MappedRange range = mapped_range(owner);
    if (!range.data || (!mappings_.empty() && mappings_.back().begin == range.data)) return;
    mappings_.push_back({range.data, range.bytes});
  };
  for (size_t i = 0; i < plan.parameter_owners.size(); ++i) {
    originals_[plan.parameter_owners[i].data].owners.push_back(i);
    add_mapping(plan.parameter_owners[i].owner);
  }
  for (const auto& owner : plan.view_owners) add_mapping(owner);
  for (const rt::Step& step : plan.steps) {
    ++originals_[step.conv.weight.data].readers;
    ++originals_[step.conv.bias.data].readers;
    for (const rt::Parameter& p : step.attention.params) ++originals_[p.data].readers;
  }
  // What checks of the file and passes have read.
  for (const Mapping& mapping : mappings_) give_back_pages(mapping.begin, mapping.bytes);
}

void ParameterMemory::bound(const rt::Step& step, bool copied) {
  if (!copied) return;
  if (step.conv.weight) give_back(step.conv.weight, weight_elements(step));
  if (step.conv.bias) give_back(step.conv.bias, static_cast<uint64_t>(step.out.c));
  for (const rt::Parameter& p : step.attention.params) {
    if (p) give_back(p, 0);
  }
}

void ParameterMemory::give_back(const rt::Parameter& parameter, uint64_t elements) {
  Original& original = originals_[parameter.data];
  if (--original.readers > 0) return;
  const auto* data = static_cast<const uint8_t*>(parameter.data);
  for (const Mapping& mapping : mappings_) {
    if (data < mapping.begin || data >= mapping.begin + mapping.bytes) continue;
    give_back_pages(data, static_cast<size_t>(elements) * rt::size_of(parameter.type));
  }
  if (!own_) return;
  for (size_t i : original.owners) own_->parameter_owners[i].owner.reset();
}

}  // namespace sparsenet
