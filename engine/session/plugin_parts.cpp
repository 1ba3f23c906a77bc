#include "session/plugin_parts.h"

#include <algorithm>

namespace sparsenet {
namespace {

// Steps without multiply-adds count a little, so that plans of them alone go to the device too.
int64_t weight_of(const Plan& plan, size_t step) {
  return plan.step_macs[step] + 1;
}

bool is_real(const Plan& plan) {
  const auto real = [](const rt::View& v) { return v.segment_count == 0 || v.type == rt::DataType::kFloat32; };
  return std::all_of(plan.steps.begin(), plan.steps.end(),
                     [&](const rt::Step& s) { return real(s.in) && real(s.in2) && real(s.out); });
}

}  // namespace

Placement place_steps(const Plan& plan, const std::vector<uint8_t>& supported, const std::vector<const char*>& reasons,
                      const std::string& backend) {
  const size_t count = plan.steps.size();
  Placement best;
  int64_t all = 0, most = 0, here = 0;
  size_t begin = 0, missing = 0, first_missing = count;
  for (size_t i = 0; i <= count; ++i) {
    if (i < count) all += weight_of(plan, i);
    if (i < count && supported[i]) {
      here += weight_of(plan, i);
      continue;
    }
    if (here > most) {
      most = here;
      best.begin = begin;
      best.end = i;
    }
    here = 0;
    begin = i + 1;
    if (i == count) break;
    ++missing;
    first_missing = std::min(first_missing, i);
  }
  best.on_device = most * 2 >= all;  // also of a plan without steps, whose outputs are inputs or constants
  if (missing == 0) return best;
  if (!best.on_device) best.begin = best.end = 0;
  const char* reason = reasons[first_missing] ? reasons[first_missing] : "not supported";
  best.missing = std::to_string(missing) + " of " + std::to_string(count) + " steps cannot run on backend '" + backend +
                 "', the first of them node '" + plan.steps[first_missing].name + "' (" + reason + ")";
  const size_t on_device = best.end - best.begin;
  best.consequence = !best.on_device ? "the CPU runs the whole network"
                                     : "the CPU runs " + std::to_string(count - on_device) + " steps, " +
                                           std::to_string(best.begin) + " of them before those on the device";
  return best;
}

uint64_t least_bytes(const rt::Step& step, bool half) {
  const uint64_t number = half ? 2 : sizeof(float);
  uint64_t bytes = 0;
  for (const rt::View* v : {&step.in, &step.in2, &step.out}) {
    if (v->segment_count == 0) continue;
    const uint64_t size = v->type == rt::DataType::kFloat32 ? number : rt::size_of(v->type);
    bytes += static_cast<uint64_t>(int64_t{v->n} * v->h * v->w * v->c) * size;
  }
  const auto c = static_cast<uint64_t>(step.in.c);
  const uint64_t weight = step.quant ? 1 : number;
  if (step.affine.scale) bytes += 2 * c * number;
  if (step.op == rt::StepOp::kConv) {
    const auto taps = static_cast<uint64_t>(step.window.kernel_h) * static_cast<uint64_t>(step.window.kernel_w);
    const auto out = static_cast<uint64_t>(step.out.c);
    bytes += out * (c / static_cast<uint64_t>(step.conv.groups)) * taps * weight;
    if (step.conv.bias) bytes += out * number;
  }
  if (step.op == rt::StepOp::kAttention) {
    const auto hidden = static_cast<uint64_t>(step.attention.hidden);
    bytes += (hidden == 0 ? 3 * c * c + 8 * c : 2 * hidden * c + hidden + c) * number;
  }
  return bytes;
}

Result<BufferPorts> buffers_alive(const Plan& plan, size_t first, size_t last) {
  const bool real = is_real(plan);
  const rt::DataType type = real ? rt::DataType::kFloat32 : rt::DataType::kUInt8;
  BufferPorts alive;
  for (const PlanBuffer& buffer : plan.buffers) {
    if (buffer.first > static_cast<int>(first) || buffer.last < static_cast<int>(last) || buffer.bytes == 0) continue;
    const size_t count = buffer.bytes / rt::size_of(type);
    if (count > static_cast<size_t>(rt::kMostElements)) {
      return unsupported("'" + buffer.name + "', which goes from the CPU to a device or back: expected at most " +
                         std::to_string(rt::kMostElements) + " elements, found " + std::to_string(count) +
                         "; use a smaller batch");
    }
    const auto elements = static_cast<int32_t>(count);
    alive.segments.push_back({buffer.offset, nullptr, elements, elements});
    alive.ports.push_back({buffer.name, {elements}, {1, 1, 1, elements, &alive.segments.back(), 1, type}, {}});
  }
  return alive;
}

Status PluginParts::cut(const Plan& plan, size_t begin, size_t end) {
  const auto at = [](size_t i) { return static_cast<std::ptrdiff_t>(i); };
  behind_ = plan.steps.size() - end;
  device_.begin = begin;
  device_.end = end;
  // What was made before a cut and is read behind it: by steps, or by the caller.
  if (begin > 0) {
    SPARSENET_ASSIGN_OR_RETURN(before_device_, buffers_alive(plan, begin - 1, begin));
  }
  if (behind_ > 0) {
    SPARSENET_ASSIGN_OR_RETURN(behind_device_, buffers_alive(plan, end - 1, end));
  }
  device_.inputs = begin == 0 ? plan.inputs : before_device_.ports;
  device_.outputs = behind_ == 0 ? plan.outputs : behind_device_.ports;
  host_.steps = plan.steps;
  host_.steps.erase(host_.steps.begin() + at(begin), host_.steps.begin() + at(end));
  host_.step_macs = plan.step_macs;
  host_.step_macs.erase(host_.step_macs.begin() + at(begin), host_.step_macs.begin() + at(end));
  host_.inputs = plan.inputs;
  host_.outputs = plan.outputs;
  host_.arena_bytes = host_.steps.empty() ? 0 : plan.arena_bytes;
  host_.lower_bound_bytes = plan.lower_bound_bytes;
  return {};
}

}  // namespace sparsenet
