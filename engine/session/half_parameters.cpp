#include "session/half_parameters.h"

#include <sparsenet/half.h>

#include <cstring>

#include "runtime/bytes.h"

namespace sparsenet {
namespace {

// Calls visit(parameter, elements, read in run) for each parameter that a step of this kind takes, with its full size.
// (Kernels of other kinds are never chosen for float16 parameters.)
template <class AnyStep, class Visit>
void for_each_parameter(AnyStep& step, Visit visit) {
  const int64_t in = step.in.c, out = step.out.c;
  visit(step.affine.scale, in, true);
  visit(step.affine.shift, in, true);
  if (step.op == rt::StepOp::kConv) {
    visit(step.conv.weight, out * (in / step.conv.groups) * step.window.kernel_h * step.window.kernel_w, false);
    visit(step.conv.bias, out, false);
  }
  if (step.op != rt::StepOp::kAttention) return;
  const int64_t hidden = step.attention.hidden;
  const int64_t paper[] = {in, in, in * in, in, 2 * in, 2 * in, 2 * in * in, in};
  const int64_t squeeze[] = {hidden * in, hidden, in * hidden, in};
  for (size_t i = 0; i < (hidden == 0 ? 8u : 4u); ++i) {
    visit(step.attention.params[i], hidden == 0 ? paper[i] : squeeze[i], false);
  }
}

bool is_half(const rt::Parameter& parameter) {
  return parameter && parameter.type == rt::DataType::kFloat16;
}

bool has_half(const rt::Step& step) {
  bool found = false;
  for_each_parameter(step, [&](const rt::Parameter& p, int64_t, bool) { found = found || is_half(p); });
  return found;
}

uint64_t bytes_of(int64_t elements) {
  return rt::aligned_bytes(static_cast<uint64_t>(elements) * sizeof(float));
}

}  // namespace

bool needs_float32(const rt::Step& step, const rt::Kernel& kernel) {
  return (kernel.types & rt::of_parameters(rt::DataType::kFloat16)) == 0 && has_half(step);
}

rt::Step for_choice(const rt::Step& step, const rt::KernelLists& kernels) {
  if (!has_half(step)) return step;
  rt::Step wide = step;
  for_each_parameter(wide, [](rt::Parameter& p, int64_t, bool) { p.type = rt::DataType::kFloat32; });
  const rt::Kernel* direct = rt::choose(step, kernels);
  if (!direct) return wide;
  const bool plain = std::strcmp(direct->backend, "reference") == 0;
  return plain && rt::choose(wide, kernels) != direct ? wide : step;
}

uint64_t kept_copies_bytes(const rt::Step& step, const rt::Kernel& kernel) {
  uint64_t bytes = 0;
  for_each_parameter(step, [&](const rt::Parameter& p, int64_t elements, bool in_run) {
    if (is_half(p) && (in_run || !kernel.copies_parameters)) bytes = rt::add_bytes(bytes, bytes_of(elements));
  });
  return bytes;
}

void copy_parameters(const rt::Kernel& kernel, rt::Step* step, uint8_t** kept,
                     std::vector<std::vector<float>>* temporary) {
  for_each_parameter(*step, [&](rt::Parameter& p, int64_t elements, bool in_run) {
    if (!is_half(p)) return;
    float* to;
    if (in_run || !kernel.copies_parameters) {
      to = reinterpret_cast<float*>(*kept);
      *kept += static_cast<size_t>(bytes_of(elements));
    } else {
      temporary->emplace_back(static_cast<size_t>(elements));
      to = temporary->back().data();
    }
    half_to_float(static_cast<const uint16_t*>(p.data), static_cast<size_t>(elements), to);
    p = {to, rt::DataType::kFloat32};
  });
}

}  // namespace sparsenet
