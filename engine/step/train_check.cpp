#include "step/step_checks.h"
#include "step/view_check.h"
#include "step/window_check.h"

namespace sparsenet::rt {
namespace {

// Whether a view is one piece of float32 without gaps that the step may write to.
bool is_flat(const View& v) {
  return v.type == DataType::kFloat32 && v.segment_count == 1 && !v.segments[0].constant &&
         (pixels(v) == 1 || v.segments[0].pixel_stride == v.c);
}

int64_t floats_of(const View& v) {
  return pixels(v) * v.c;
}

// Checks that each operand is one contiguous run of floats of the expected length; 0 stands for that of the first
// operand.
const char* check_flat_operands(const Step& s, const int64_t* lengths, int32_t count) {
  if (s.train.operand_count != count) return "another number of operands";
  for (int32_t i = 0; i < count; ++i) {
    const int64_t expected = lengths[i] == 0 ? floats_of(s.train.operands[0]) : lengths[i];
    if (!is_flat(s.train.operands[i]) || floats_of(s.train.operands[i]) != expected)
      return "an operand of another size or type";
  }
  return nullptr;
}

}  // namespace

const char* check_conv_grad_weight(const Step& s, const StepLinks&, const PlanRoom&) {
  int64_t weights = 0;
  if (!is_flat(s.in2)) return "expected a gradient in the arena, in one piece without gaps";
  if (const char* message = check_window(s, s.in, s.in2, &weights)) return message;
  if (!is_flat(s.out) || floats_of(s.out) != weights || pixels(s.out) != 1) {
    return "expected room for a gradient of each weight";
  }
  if (s.train.operand_count == 0) return nullptr;
  const View& db = s.train.operands[0];
  const bool fits = s.train.operand_count == 1 && is_flat(db) && pixels(db) == 1 && db.c == s.in2.c;
  return fits ? nullptr : "expected room for a gradient of each bias, and no other operand";
}

const char* check_cross_entropy(const Step& s, const StepLinks&, const PlanRoom&) {
  const bool in_range = s.train.alpha >= 0.f && s.train.alpha < 1.f && s.train.beta >= 0.f && s.train.beta <= 1.f;
  if (!in_range) return "loss: expected a smoothing of 0 to below 1 and a factor of 0 to 1";
  const int64_t lengths[] = {0, s.train.operand_count > 0 ? int64_t{s.train.operands[0].n} : 0, 2, 0};
  if (const char* message = check_flat_operands(s, lengths, 4)) return message;
  const View &logits = s.train.operands[0], &labels = s.train.operands[1], &loss = s.train.operands[2],
             &dlogits = s.train.operands[3];
  const bool fits = logits.h == 1 && logits.w == 1 && pixels(labels) == logits.n && pixels(loss) == 1 &&
                    pixels(dlogits) == logits.n && dlogits.c == logits.c;
  return fits ? nullptr : "loss: expected logits, labels, a loss and gradients of the same images";
}

const char* check_accumulate(const Step& s, const StepLinks&, const PlanRoom&) {
  const int64_t lengths[] = {0, 0};
  if (const char* message = check_flat_operands(s, lengths, 2)) return message;
  return pixels(s.train.operands[0]) == 1 && pixels(s.train.operands[1]) == 1 ? nullptr
                                                                              : "expected operands of one pixel";
}

const char* check_square_sum(const Step& s, const StepLinks&, const PlanRoom&) {
  const int64_t lengths[] = {0, kControlFloats};
  return check_flat_operands(s, lengths, 2);
}

const char* check_update_sgd(const Step& s, const StepLinks&, const PlanRoom&) {
  const int64_t lengths[] = {0, 0, 0, kControlFloats};
  if (const char* message = check_flat_operands(s, lengths, 4)) return message;
  // Kernels apply weight decay to whole vectors of parameters.
  const bool decay_fits = s.train.alpha >= 0.f && s.train.alpha <= static_cast<float>(floats_of(s.train.operands[0]));
  return decay_fits ? nullptr : "update: expected at most as many decayed parameters as there are";
}

}  // namespace sparsenet::rt
