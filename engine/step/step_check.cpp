#include "step/step_check.h"

#include "step/linked_activation.h"
#include "step/quant_check.h"
#include "step/step_kinds.h"
#include "step/view_check.h"

namespace sparsenet::rt {

const float kUnplaced = 0;

namespace {

constexpr int32_t kMaxWindow = 1 << 12;  // the same limit as for graphs
constexpr char kNotLinked[] = "an activation that is not linked";
constexpr char kNotStored[] = "a kind of step that plans cannot hold";

bool same_pixels(const View& a, const View& b) {
  return a.n == b.n && a.h == b.h && a.w == b.w;
}

bool linked(const Act& act) {
  return act.kind <= Act::kTanh || linked_activation(act.kind);
}

const char* check_pre(const Step& s, const PlanRoom& room) {
  if (!s.affine.scale && !s.affine.shift) return nullptr;
  const bool taken = s.op == StepOp::kConv || s.op == StepOp::kPool || s.op == StepOp::kGlobalPool ||
                     s.op == StepOp::kAffine || s.op == StepOp::kLayerNorm || s.op == StepOp::kConvGradWeight;
  if (!taken) return "this kind of step takes no scale and shift";
  if (!readable(s.affine.scale, s.in.c, room) || !readable(s.affine.shift, s.in.c, room)) {
    return "scale and shift: expected both, with a value for each channel";
  }
  return nullptr;
}

// Checks the window from `in` to `out`. There is one weight for each output channel, input channel of its group and
// tap; *weights receives their number.
const char* check_window(const Step& s, const View& in, const View& out, int64_t* weights) {
  const int32_t window[] = {s.window.kernel_h, s.window.kernel_w,   s.window.stride_h,
                            s.window.stride_w, s.window.dilation_h, s.window.dilation_w};
  for (int32_t value : window) {
    if (value < 1 || value > kMaxWindow) return "convolution: expected kernel, stride and dilation of 1 to 4096";
  }
  const int32_t pads[] = {s.window.pad_top, s.window.pad_left, s.window.pad_bottom, s.window.pad_right};
  for (int32_t value : pads) {
    if (value < 0 || value > kMaxWindow) return "convolution: expected padding of 0 to 4096";
  }
  if (s.conv.groups < 1 || in.c % s.conv.groups != 0 || out.c % s.conv.groups != 0) {
    return "convolution: expected groups that divide the channels of input and output";
  }
  // Kernels copy rows of an image with their padding, and count their elements in 32 bits.
  int64_t padded = in.c;
  const int64_t sides[] = {int64_t{in.h} + s.window.pad_top + s.window.pad_bottom,
                           int64_t{in.w} + s.window.pad_left + s.window.pad_right};
  for (const int64_t side : sides) {
    padded = side > kMostElements ? side : padded * side;
    if (padded > kMostElements) return "convolution: expected an image of at most 1073741824 elements with its padding";
  }
  const int64_t rows =
      int64_t{in.h} + s.window.pad_top + s.window.pad_bottom - int64_t{s.window.kernel_h - 1} * s.window.dilation_h - 1;
  const int64_t columns =
      int64_t{in.w} + s.window.pad_left + s.window.pad_right - int64_t{s.window.kernel_w - 1} * s.window.dilation_w - 1;
  if (rows < 0 || columns < 0 || out.n != in.n || out.h != rows / s.window.stride_h + 1 ||
      out.w != columns / s.window.stride_w + 1) {
    return "convolution: the output's size does not follow from input and window";
  }
  const int32_t filter[] = {out.c, in.c / s.conv.groups, s.window.kernel_h, s.window.kernel_w};
  if (!countable(filter, 4)) return "convolution: too many weights";
  *weights = int64_t{out.c} * (in.c / s.conv.groups) * s.window.kernel_h * s.window.kernel_w;
  return nullptr;
}

bool in_arena(int64_t element, int64_t floats, const PlanRoom& room) {
  const auto all = static_cast<int64_t>(room.arena_bytes / sizeof(float));
  return element >= 0 && element <= all && floats <= all - element;
}

const char* check_conv(const Step& s, const StepLinks& links, const PlanRoom& room) {
  int64_t weights = 0;
  if (const char* message = check_window(s, s.in, s.out, &weights)) return message;
  if (s.conv.variable ? !in_arena(links.weight, weights, room)
                      : !s.quant && !readable(s.conv.weight, weights, room)) {  // see check_quant() for integers
    return "convolution: expected a weight for each output, input and tap";
  }
  const bool has_bias = s.conv.variable ? links.bias >= 0 : s.conv.bias && !s.quant;
  if (has_bias && !(s.conv.variable ? in_arena(links.bias, s.out.c, room) : readable(s.conv.bias, s.out.c, room))) {
    return "convolution: expected a bias for each output";
  }
  if (s.in2.segment_count == 0) return nullptr;
  if (s.in2.segment_count != 1 || s.in2.segments[0].constant || !same_pixels(s.in2, s.out) || s.in2.c != s.out.c) {
    return "convolution: expected a residual in the arena, in one piece, of the output's size";
  }
  return nullptr;
}

// Whether, along one dimension, every window covers a part of the input. (Slices have negative padding.)
bool windows_fit(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t before, int32_t after) {
  return kernel >= 1 && kernel <= kMaxWindow && stride >= 1 && before < kernel && before > -in && after >= 0 &&
         after < kernel && int64_t{out - 1} * stride - before < in;
}

const char* check_pool(const Step& s, const StepLinks&, const PlanRoom&) {
  if (s.out.n != s.in.n || s.out.c != s.in.c) return "pool: expected an output of the input's images and channels";
  if (!windows_fit(s.in.h, s.out.h, s.window.kernel_h, s.window.stride_h, s.window.pad_top, s.window.pad_bottom) ||
      !windows_fit(s.in.w, s.out.w, s.window.kernel_w, s.window.stride_w, s.window.pad_left, s.window.pad_right)) {
    return "pool: the output's size does not follow from input and window";
  }
  return nullptr;
}

const char* check_attention(const Step& s, const StepLinks&, const PlanRoom& room) {
  if (!same_pixels(s.in, s.out) || s.in.c != s.out.c) return "attention: expected an output of the input's size";
  if (s.in.segment_count != 1) return "attention: expected an input in one piece";
  if (s.attention.hidden < 0) return "attention: expected 0 or more hidden values";
  if (!linked(s.attention.act) || !linked(s.attention.gate)) return kNotLinked;
  const int64_t c = s.in.c, r = s.attention.hidden;
  const int32_t matrix[] = {2, s.in.c, s.attention.hidden > s.in.c ? s.attention.hidden : s.in.c};
  // Kernels keep sums of up to four parts of each image, for channels rounded up to whole vectors.
  if (!countable(matrix, 3) || s.in.c > INT32_MAX / 4 / s.in.n - 64) {
    return "attention: too many channels";
  }
  const int64_t paper[8] = {c, c, c * c, c, 2 * c, 2 * c, 2 * c * c, c};
  const int64_t squeeze[4] = {r * c, r, c * r, c};
  for (int i = 0; i < (r == 0 ? 8 : 4); ++i) {
    if (!readable(s.attention.params[i], r == 0 ? paper[i] : squeeze[i], room)) {
      return "attention: expected all parameters, each of its full size";
    }
  }
  return nullptr;
}

// Whether the walk over an operand stays within it. With strides and starts that are not negative, the last element is
// the farthest.
bool walk_fits(const Strided& s, const int64_t* strides, int64_t start, int64_t floats) {
  if (start < 0 || start > INT32_MAX) return false;
  int64_t last = start;
  for (int32_t d = 0; d < s.rank; ++d) {
    if (strides[d] < 0 || strides[d] > INT32_MAX) return false;
    last += (s.dims[d] - 1) * strides[d];  // at most 2^62 before the next line
    if (last >= floats) return false;
  }
  return last < floats;
}

const char* check_walk(const Step& s) {
  if (!s.strided) return "expected an index space";
  const Strided& walk = *s.strided;
  if (walk.rank < 0 || walk.rank > kMaxDims) return "index space: expected at most 8 dimensions";
  int32_t dims[kMaxDims];
  for (int32_t d = 0; d < walk.rank; ++d) dims[d] = walk.dims[d] > INT32_MAX ? 0 : static_cast<int32_t>(walk.dims[d]);
  if (!countable(dims, walk.rank)) return "index space: expected 1 to 1073741824 elements";
  if (walk.reduced_from < 0 || walk.reduced_from > walk.rank) return "index space: no such dimension to reduce from";
  const bool two = s.op == StepOp::kBinary || s.op == StepOp::kMatMul;
  if (s.in.segment_count != 1 || (two && s.in2.segment_count != 1)) {
    return "index space: expected operands in one piece";
  }
  if (!walk_fits(walk, walk.out_strides, walk.out_start, extent(s.out)) ||
      !walk_fits(walk, walk.in_strides[0], walk.in_start[0], extent(s.in)) ||
      (two && !walk_fits(walk, walk.in_strides[1], walk.in_start[1], extent(s.in2)))) {
    return "index space: it leaves an operand";
  }
  if (walk.fill_first && (walk.out_elements < 0 || walk.out_elements > extent(s.out))) {
    return "index space: more is filled than the output holds";
  }
  return nullptr;
}

const char* check_strided(const Step& s, const StepLinks&, const PlanRoom&) {
  return check_walk(s);
}

const char* check_global_pool(const Step& s, const StepLinks&, const PlanRoom&) {
  const bool fits = s.out.n == s.in.n && s.out.h == 1 && s.out.w == 1 && s.out.c == s.in.c;
  return fits ? nullptr : "global pool: expected an output of one pixel for each image";
}

const char* check_same_size(const Step& s, const StepLinks&, const PlanRoom&) {
  return same_pixels(s.in, s.out) && s.in.c == s.out.c ? nullptr : "expected an output of the input's size";
}

const char* check_binary(const Step& s, const StepLinks&, const PlanRoom&) {
  if (s.in2.segment_count == 0) return "expected a second operand";
  if (s.binary.op > kLastBinaryOp) return "unknown arithmetic";
  if (s.strided) return check_walk(s);
  if (!same_pixels(s.in, s.out) || s.in.c != s.out.c || !same_pixels(s.in2, s.out) || s.in2.c != s.out.c) {
    return "expected operands of the output's size";
  }
  return nullptr;
}

// The last three dimensions are the rows and columns of the product, and the sum.
const char* check_mat_mul(const Step& s, const StepLinks&, const PlanRoom&) {
  if (const char* message = check_walk(s)) return message;
  const Strided& walk = *s.strided;
  if (walk.rank < 3 || walk.reduced_from != walk.rank - 1) return "matrix product: expected rows, columns and a sum";
  const int32_t row = walk.rank - 3, column = walk.rank - 2, sum = walk.rank - 1;
  if (walk.in_strides[0][column] != 0 || walk.in_strides[1][row] != 0 || walk.out_strides[sum] != 0) {
    return "matrix product: expected a left operand of rows, a right one of columns and a product of both";
  }
  return nullptr;
}

const char* check_layer_norm(const Step& s, const StepLinks&, const PlanRoom&) {
  if (!same_pixels(s.in, s.out) || s.in.c != s.out.c) return "expected an output of the input's size";
  return s.in.segment_count == 1 ? nullptr : "layer norm: expected an input in one piece";
}

// --- training

// Whether a view is one piece without gaps that the step may write to.
bool is_flat(const View& v) {
  return v.segment_count == 1 && !v.segments[0].constant && (pixels(v) == 1 || v.segments[0].pixel_stride == v.c);
}

int64_t floats_of(const View& v) {
  return pixels(v) * v.c;
}

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

// Checks that each operand is one contiguous run of floats of the expected length; 0 stands for that of the first
// operand.
const char* check_flat_operands(const Step& s, const int64_t* lengths, int32_t count) {
  if (s.train.operand_count != count) return "another number of operands";
  for (int32_t i = 0; i < count; ++i) {
    const int64_t expected = lengths[i] == 0 ? floats_of(s.train.operands[0]) : lengths[i];
    if (!is_flat(s.train.operands[i]) || floats_of(s.train.operands[i]) != expected)
      return "an operand of another size";
  }
  return nullptr;
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

// Integers are for steps that say how they compute with them.
const char* check_real(const Step& step) {
  const bool real = step.in.type == DataType::kFloat32 && step.out.type == DataType::kFloat32 &&
                    (step.in2.segment_count == 0 || step.in2.type == DataType::kFloat32);
  return real ? nullptr : "expected float32, or how to compute with integers";
}

const char* check_between_types(const Step& s, const StepLinks& links, const PlanRoom& room) {
  return s.quant ? check_same_size(s, links, room) : "expected how to compute with integers";
}

const char* check_nothing(const Step&, const StepLinks&, const PlanRoom&) {
  return kNotStored;
}

struct StepKind {
  bool stored, trains;
  StepData data;
  const char* (*check)(const Step& step, const StepLinks& links, const PlanRoom& room);
};
#define SPARSENET_STEP_ROW(op, name, stored, trains, data, check) {stored, trains, StepData::data, check},
constexpr StepKind kSteps[] = {SPARSENET_DEVICE_STEP_KINDS(SPARSENET_STEP_ROW)};
static_assert(sizeof kSteps / sizeof kSteps[0] == kDeviceStepKinds);
#undef SPARSENET_STEP_ROW

const StepKind& kind_of(StepOp op) {
  return kSteps[static_cast<size_t>(op)];
}

}  // namespace

bool may_be_stored(StepOp op) {
  return kind_of(op).stored;
}

bool trains(StepOp op) {
  return kind_of(op).trains;
}

const char* check_step(const Step& step, const StepLinks& links, const PlanRoom& room) {
  if (!step.name) return "it has no name";
  if (static_cast<size_t>(step.op) >= kDeviceStepKinds) return kNotStored;
  const StepKind& kind = kind_of(step.op);
  if (!kind.stored || step.conv.transposed || step.train.accumulate) return kNotStored;
  if (step.conv.variable && step.op != StepOp::kConv) return "this kind of step has no parameters that change";
  for (int32_t i = 0; i < step.train.operand_count; ++i) {
    if (const char* message = check_view(step.train.operands[i], room, true)) return message;
  }
  if (!linked(step.act)) return kNotLinked;
  if (step.op != StepOp::kConv && (step.conv.weight || step.conv.bias)) return "this kind of step has no weights";
  for (int32_t i = 0; i < 8; ++i) {
    const bool taken = step.op == StepOp::kAttention && (step.attention.hidden == 0 || i < 4);
    if (step.attention.params[i] && !taken) return "parameters of attention that the step does not take";
  }
  if (kind.data == StepData::kOperands) {
    const bool operands_alone = step.in.segment_count == 0 && step.in2.segment_count == 0 &&
                                step.out.segment_count == 0 && !step.strided && !step.affine.scale &&
                                !step.affine.shift;
    return operands_alone ? kind.check(step, links, room) : "this kind of step has operands alone";
  }
  if (step.train.operand_count > 0 && kind.data != StepData::kBoth) return "this kind of step has no operands";
  if (const char* message = check_view(step.in, room, false)) return message;
  if (step.in2.segment_count != 0) {
    if (const char* message = check_view(step.in2, room, false)) return message;
  }
  if (const char* message = check_view(step.out, room, true)) return message;
  if (step.out.segment_count != 1) return "expected an output in one piece";
  if (const char* message = check_pre(step, room)) return message;
  if (const char* message = kind.check(step, links, room)) return message;
  return step.quant ? check_quant(step, room) : check_real(step);
}

}  // namespace sparsenet::rt
