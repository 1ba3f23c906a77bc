// The compact kernels of int8 for elementwise steps whose operands are dense: gates, which multiply an image by one
// number for each channel, and functions by table.
#include "kernels/compact/integer.h"

namespace sparsenet::rt::compact {
namespace {

struct State {
  const uint8_t *in, *in2;
  uint8_t* out;
  const QuantParams* quant;
  int32_t elements;          // of a chunk
  int32_t pixels, channels;  // gates: of an image
};

// Whether the view is one run of elements.
bool is_run(const View& v) {
  return is_one_piece(v) && (v.segments[0].pixel_stride == v.c || int64_t{v.n} * v.h * v.w == 1);
}

int64_t elements_of_image(const View& v) {
  return int64_t{v.h} * v.w * v.c;
}

// A chunk is an image.
void query(const Step& s, KernelNeeds* needs) {
  *needs = {};
  needs->state_bytes = sizeof(State);
  needs->chunks = s.out.n;
}

uint8_t* place_of(const View& v, uint8_t* arena) {
  return v.segment_count > 0 ? arena + v.segments[0].offset : nullptr;
}

const char* prepare(const Step& s, const Place& place) {
  *static_cast<State*>(place.state) = {place_of(s.in, place.arena),
                                       place_of(s.in2, place.arena),
                                       place_of(s.out, place.arena),
                                       s.quant,
                                       static_cast<int32_t>(elements_of_image(s.out)),
                                       s.out.h * s.out.w,
                                       s.out.c};
  return nullptr;
}

// --- gates

// Whether a step multiplies [n, h, w, c] by [n, 1, 1, c], which lowering walks in this order.
bool gate_supports(const Step& s) {
  if (s.op != StepOp::kBinary || !s.quant || s.binary.op != BinaryOp::kMul || !s.strided) return false;
  const Strided& w = *s.strided;
  if (w.rank != 4 || !is_run(s.in) || !is_run(s.in2) || !is_run(s.out) || w.out_start != 0 || w.in_start[0] != 0 ||
      w.in_start[1] != 0) {
    return false;
  }
  const int64_t c = w.dims[3], row = w.dims[2] * c, image = w.dims[1] * row;
  const bool is_image = s.out.n == w.dims[0] && s.out.h == w.dims[1] && s.out.w == w.dims[2] && s.out.c == c;
  const auto walks = [&](const int64_t* strides, int64_t to_image, int64_t to_row, int64_t to_pixel) {
    return strides[3] == 1 && strides[2] == to_pixel && strides[1] == to_row &&
           (strides[0] == to_image || w.dims[0] == 1);
  };
  return is_image && walks(w.out_strides, image, row, c) && walks(w.in_strides[0], image, row, c) &&
         walks(w.in_strides[1], c, 0, 0);
}

template <Rounding kRounding>
void multiply_image(const State& s, int32_t image) {
  constexpr int32_t kMostSteps = 510;  // between an integer and a zero point
  const QuantParams& q = *s.quant;
  const Multiplier& m = q.multipliers[0];
  const Factor f = make_factor<kRounding>(m, kMostSteps * kMostSteps);
  const int32_t in_zero = q.in_zero, zero = q.out_zero, low = q.low, high = q.high, channels = s.channels;
  const auto* x = reinterpret_cast<const int8_t*>(s.in) + int64_t{image} * s.elements;
  const auto* gate = reinterpret_cast<const int8_t*>(s.in2) + int64_t{image} * channels;
  auto* y = reinterpret_cast<int8_t*>(s.out) + int64_t{image} * s.elements;
  for (int32_t c = 0; c < channels; ++c) {
    const int32_t factor = gate[c] - q.in2_zero;
    const int8_t* from = x + c;
    int8_t* to = y + c;
    for (int32_t p = s.pixels; p > 0; --p, from += channels, to += channels) {
      const int32_t v = product<kRounding>((*from - in_zero) * factor, f, m);
      *to = static_cast<int8_t>(bounded_byte(wrapped_sum(v, zero), low, high));
    }
  }
}

void gate_run(const void* state, int32_t image, void*) {
  const auto& s = *static_cast<const State*>(state);
  const bool twice = s.quant->rounding == Rounding::kDouble;
  (twice ? multiply_image<Rounding::kDouble> : multiply_image<Rounding::kSingle>)(s, image);
}

// --- functions

bool table_supports(const Step& s) {
  return s.op == StepOp::kUnary && s.quant && s.quant->table && is_run(s.in) && is_run(s.out);
}

void table_run(const void* state, int32_t image, void*) {
  const auto& s = *static_cast<const State*>(state);
  const int8_t* const table = s.quant->table + 128;
  const auto* x = reinterpret_cast<const int8_t*>(s.in) + int64_t{image} * s.elements;
  auto* y = reinterpret_cast<int8_t*>(s.out) + int64_t{image} * s.elements;
  for (int32_t i = 0; i < s.elements; ++i) y[i] = table[x[i]];
}

constexpr Kernel kernel(const char* name, bool (*supports)(const Step&), void (*run)(const void*, int32_t, void*)) {
  return {
      .name = name,
      .backend = "portable",
      .supports = supports,
      .query = query,
      .prepare = prepare,
      .run = run,
      .types = of_views(DataType::kInt8),
  };
}

}  // namespace

const Kernel kIntegerGate = kernel("gate_s8_compact", gate_supports, gate_run);
const Kernel kIntegerTable = kernel("table_s8_compact", table_supports, table_run);

}  // namespace sparsenet::rt::compact
