#include "step/step_checks.h"

#include "step/linked_activation.h"
#include "step/view_check.h"
#include "step/window_check.h"

namespace sparsenet::rt {

const char kNotLinked[] = "an activation that is not linked";

namespace {

bool same_pixels(const View& a, const View& b) {
  return a.n == b.n && a.h == b.h && a.w == b.w;
}

bool in_arena(int64_t element, int64_t floats, const PlanRoom& room) {
  const auto all = static_cast<int64_t>(room.arena_bytes / sizeof(float));
  return element >= 0 && element <= all && floats <= all - element;
}

// Whether, along one dimension, every window covers a part of the input. (Slices have negative padding.)
bool windows_fit(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t before, int32_t after) {
  return kernel >= 1 && kernel <= kMaxWindow && stride >= 1 && before < kernel && before > -in && after >= 0 &&
         after < kernel && int64_t{out - 1} * stride - before < in;
}

// Whether the walk over an operand stays within it, and is not longer than that with `elements` of it. With strides and
// starts that are not negative, the last element is the farthest. (Without a sign, negative numbers are large ones.)
bool walk_fits(const Strided& s, const int64_t* strides, int64_t start, const View& operand, int32_t elements) {
  const int64_t floats = extent(operand);
  if (elements > floats || static_cast<uint64_t>(start) >= static_cast<uint64_t>(floats)) return false;
  int64_t last = start;
  for (int32_t d = 0; d < s.rank; ++d) {
    if (static_cast<uint64_t>(strides[d]) > INT32_MAX) return false;
    // Both are below 2^31, so there are at most 2^62 before the next line.
    last += static_cast<int64_t>(static_cast<int32_t>(s.dims[d]) - 1) * static_cast<int32_t>(strides[d]);
    if (last >= floats) return false;
  }
  return true;
}

// `two`: of two operands. `sums`: the dimensions from reduced_from on are summed, so the output has none of them.
const char* check_walk(const Step& s, bool two, bool sums) {
  if (!s.strided) return "expected an index space";
  const Strided& walk = *s.strided;
  if (static_cast<uint32_t>(walk.rank) > kMaxDims) return "index space: expected at most 8 dimensions";
  if (static_cast<uint32_t>(walk.reduced_from) > static_cast<uint32_t>(walk.rank)) {
    return "index space: no such dimension to reduce from";
  }
  int32_t elements = 1, written = 1;
  for (int32_t d = 0; d < walk.rank; ++d) {
    if (static_cast<uint64_t>(walk.dims[d]) - 1 >= static_cast<uint64_t>(kMostElements / elements)) {
      return "index space: expected 1 to 1073741824 elements";
    }
    elements *= static_cast<int32_t>(walk.dims[d]);
    if (!sums || d < walk.reduced_from) written = elements;
  }
  if (s.in.segment_count != 1 || (two && s.in2.segment_count != 1)) {
    return "index space: expected operands in one piece";
  }
  // Every output is written once, and a sum reads every number once: so a small plan cannot ask for work without end.
  if (!walk_fits(walk, walk.out_strides, walk.out_start, s.out, written) ||
      !walk_fits(walk, walk.in_strides[0], walk.in_start[0], s.in, elements / written) ||
      (two && !walk_fits(walk, walk.in_strides[1], walk.in_start[1], s.in2, 1))) {
    return "index space: it exceeds an operand";
  }
  if (walk.fill_first && static_cast<uint64_t>(walk.out_elements) > static_cast<uint64_t>(extent(s.out))) {
    return "index space: more is filled than the output holds";
  }
  return nullptr;
}

}  // namespace

bool is_linked(const Act& act) {
  return act.kind <= Act::kTanh || linked_activation(act.kind);
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
  if (!is_linked(s.attention.act) || !is_linked(s.attention.gate)) return kNotLinked;
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

const char* check_strided(const Step& s, const StepLinks&, const PlanRoom&) {
  return check_walk(s, false, false);
}

const char* check_reduced(const Step& s, const StepLinks&, const PlanRoom&) {
  return check_walk(s, false, true);
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
  if (s.strided) return check_walk(s, true, false);
  if (!same_pixels(s.in, s.out) || s.in.c != s.out.c || !same_pixels(s.in2, s.out) || s.in2.c != s.out.c) {
    return "expected operands of the output's size";
  }
  return nullptr;
}

// The last three dimensions are the rows and columns of the product, and the sum.
const char* check_mat_mul(const Step& s, const StepLinks&, const PlanRoom&) {
  if (s.strided && (s.strided->rank < 3 || s.strided->reduced_from != s.strided->rank - 1)) {
    return "matrix product: expected rows, columns and a sum";
  }
  if (const char* message = check_walk(s, true, true)) return message;
  const Strided& walk = *s.strided;
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

const char* check_between_types(const Step& s, const StepLinks& links, const PlanRoom& room) {
  return s.quant ? check_same_size(s, links, room) : "expected how to compute with integers";
}

const char* check_nothing(const Step&, const StepLinks&, const PlanRoom&) {
  return "a kind of step that plans cannot hold";
}

}  // namespace sparsenet::rt
