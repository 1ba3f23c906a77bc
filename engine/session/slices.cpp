#include "session/slices.h"

#include <algorithm>

#include "kernels/isa.h"
#include "runtime/caches.h"

namespace sparsenet {
namespace {

bool has_images(const rt::View& view, int64_t images) {
  if (view.segment_count == 0) return true;
  bool constant = true;
  for (int32_t i = 0; i < view.segment_count; ++i) constant = constant && view.segments[i].constant != nullptr;
  return view.n == images || constant;
}

// The first dimension is the batch: each operand's images are equally far apart, or all the same (a stride of 0).
bool cuts_images(const rt::Strided& s, const rt::Step& step, int64_t images) {
  if (s.rank < 1 || s.dims[0] != images) return false;
  if (s.reduced_from < 1 &&
      (step.op == rt::StepOp::kSoftmax || step.op == rt::StepOp::kReduceMean || step.op == rt::StepOp::kMatMul)) {
    return false;
  }
  const auto per_image = [images](const rt::View& v) { return int64_t{v.n} * v.h * v.w * v.c / images; };
  const auto within = [images](int64_t stride, int64_t start, int64_t image) {
    return (stride == image || images == 1) && start < image;
  };
  const bool in = within(s.in_strides[0][0], s.in_start[0], per_image(step.in)) && has_images(step.in, images);
  const bool constant2 = step.in2.segment_count == 1 && step.in2.segments[0].constant != nullptr;
  const bool in2 = step.in2.segment_count == 0 || (constant2 && s.in_strides[1][0] == 0) ||
                   (within(s.in_strides[1][0], s.in_start[1], per_image(step.in2)) && has_images(step.in2, images));
  return in && in2 && within(s.out_strides[0], s.out_start, per_image(step.out));
}

bool one_by_one(const rt::Step& step, int64_t images) {
  switch (step.op) {
    case rt::StepOp::kConv:
    case rt::StepOp::kPool:
    case rt::StepOp::kGlobalPool:
    case rt::StepOp::kAffine:
    case rt::StepOp::kUnary:
    case rt::StepOp::kBinary:
    case rt::StepOp::kAttention:
    case rt::StepOp::kLayerNorm:
    case rt::StepOp::kSoftmax:
    case rt::StepOp::kReduceMean:
    case rt::StepOp::kStridedCopy:
    case rt::StepOp::kMatMul:
    case rt::StepOp::kQuantize:
    case rt::StepOp::kDequantize:
      break;
    default:
      return false;
  }
  if (step.strided) return step.out.n == images && cuts_images(*step.strided, step, images);
  return step.in.n == images && step.out.n == images && has_images(step.in2, images);
}

}  // namespace

int64_t best_slice(const Graph& graph, const Plan& whole, int64_t batch) {
  if (batch < 2) return batch;
  (void)active_isa();                                    // finds the sizes of the caches
  const int64_t in_cache = 4 * rt::caches.second_level;  // measured: beyond, batches of 32-pixel networks get slower
  const auto arena = static_cast<int64_t>(whole.arena_bytes);
  if (arena <= in_cache) return batch;
  int64_t weights = 0, activations = 0;
  for (const Value& value : graph.values) {
    if (value.is_constant) weights += static_cast<int64_t>(value.constant.bytes());
  }
  for (const PlanBuffer& buffer : whole.buffers) activations += static_cast<int64_t>(buffer.bytes);
  // Reading the weights once more per slice is to cost little beside writing and reading the activations.
  const int64_t per_image = std::max<int64_t>(2 * activations / batch, 1);
  const int64_t least = std::max(in_cache * batch / arena, 4 * weights / per_image);
  for (int64_t images = std::max<int64_t>(least, 1); images < batch; ++images) {
    if (batch % images == 0) return images;
  }
  return batch;
}

const char* mixes_images(const Plan& whole, int64_t batch, const Plan& part, int64_t images) {
  for (size_t i = 0; i < whole.steps.size(); ++i) {
    const bool same = i < part.steps.size() && whole.steps[i].op == part.steps[i].op;
    if (!same || !one_by_one(whole.steps[i], batch) || !one_by_one(part.steps[i], images)) return whole.steps[i].name;
  }
  if (part.steps.size() != whole.steps.size()) return part.steps[whole.steps.size()].name;
  const auto misfit = [&](const std::vector<PlanPort>& all, const std::vector<PlanPort>& some) -> const char* {
    for (size_t i = 0; i < all.size(); ++i) {
      const bool fits = !all[i].shape.empty() && all[i].shape[0] == batch && some[i].shape[0] == images &&
                        all[i].view.n == batch && some[i].view.n == images;
      if (!fits) return all[i].name.c_str();
    }
    return nullptr;
  };
  const char* name = misfit(whole.inputs, part.inputs);
  return name ? name : misfit(whole.outputs, part.outputs);
}

}  // namespace sparsenet
