// Elementwise steps on int8, or between int8 and float32, whose operands are dense: sums, products, changes of scale
// and type. What an element becomes depends on that element alone, so all are walked as one run.
#include "kernels/integer/integer.h"
#include "kernels/portable/panel.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kChunk = 8192;  // elements

struct State {
  const uint8_t *in, *in2;
  uint8_t* out;
  int64_t elements;
  BinaryOp op;
  QuantParams quant;
  Multiplier multipliers[3];
};

// Whether the view is one run of elements.
bool is_dense(const View& v) {
  return v.segment_count == 1 && !v.segments[0].constant &&
         (v.segments[0].pixel_stride == v.c || int64_t{v.n} * v.h * v.w == 1);
}

int64_t elements_of(const View& v) {
  return int64_t{v.n} * v.h * v.w * v.c;
}

bool is_plain(const Step& s) {
  return s.quant && !s.strided && is_dense(s.in) && is_dense(s.out) && elements_of(s.out) < int64_t{kChunk} * 65000;
}

bool binary_supports(const Step& s) {
  return s.op == StepOp::kBinary && is_plain(s) && is_dense(s.in2) &&
         (s.binary.op == BinaryOp::kAdd || s.binary.op == BinaryOp::kMul);
}

bool quantize_supports(const Step& s) {
  return s.op == StepOp::kQuantize && is_plain(s) && s.in.type == DataType::kFloat32;
}

bool requantize_supports(const Step& s) {
  return s.op == StepOp::kQuantize && is_plain(s) && s.in.type != DataType::kFloat32;
}

bool dequantize_supports(const Step& s) {
  return s.op == StepOp::kDequantize && is_plain(s);
}

void query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(State);
  needs->chunks = static_cast<int32_t>((elements_of(s.out) + kChunk - 1) / kChunk);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->in = place.arena + step.in.segments[0].offset;
  s->in2 = step.in2.segment_count ? place.arena + step.in2.segments[0].offset : nullptr;
  s->out = place.arena + step.out.segments[0].offset;
  s->elements = elements_of(step.out);
  s->op = step.binary.op;
  s->quant = *step.quant;
  for (int32_t i = 0; i < imin(3, step.quant->multiplier_count); ++i) s->multipliers[i] = step.quant->multipliers[i];
  return nullptr;
}

// Numbers that are the same for all lanes are read before a loop, because bytes that it writes could be theirs for all
// that the compiler knows.
struct Bounds {
  VI zero, low, high;
};
SPARSENET_INLINE Bounds bounds_of(const QuantParams& q) {
  return {splat_vi(q.out_zero), splat_vi(q.low), splat_vi(q.high)};
}
SPARSENET_INLINE VI bounded_vi(VI v, const Bounds& b) {
  return min_vi(max_vi(v + b.zero, b.low), b.high);
}

// Stores make(i) requantised for the elements from each i on, in whole groups of vectors, for factors that are small
// (see Form). Returns where it stopped, which may be the beginning.
template <class F>
SPARSENET_INLINE int64_t requantize_groups(const Multiplier& m, const QuantParams& q, int64_t begin, int64_t end,
                                           int8_t* y, F make) {
#if defined(__AVX2__)
  const int left = q.rounding == Rounding::kSingle && m.shift >= -15 ? 8 : 0;
  const Multiplier smaller{m.value, m.shift - left};
  if (!is_high(smaller, q.rounding)) return begin;
  const Bits low = splat_16(q.low), high = splat_16(q.high);
  const auto all = [&](auto form) {
    constexpr Form kForm = decltype(form)::value;
    const RequantizeVector r = splat_requantize<kForm>(smaller, q.out_zero);
    for (; begin + 4 * kLanes <= end; begin += 4 * kLanes) {
      Bits words[2];
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const int64_t at = begin + 2 * i * kLanes;
        words[i] = bounded_16(
            words_of(unbounded<kForm>(make(at) << left, r), unbounded<kForm>(make(at + kLanes) << left, r)), low, high);
      }
      store_bits(y + begin, bytes_of(words[0], words[1]));
    }
  };
  q.rounding == Rounding::kDouble ? all(FormTag<Form::kHighDouble>{}) : all(FormTag<Form::kHighSingle>{});
#else
  (void)m, (void)q, (void)end, (void)y, (void)make;
#endif
  return begin;
}

// Calls f(first element, lanes) for every vector of a chunk.
template <class F>
SPARSENET_INLINE void for_each_vector_of(const State& s, int32_t chunk, F f) {
  const int64_t begin = int64_t{chunk} * kChunk, end = begin + kChunk < s.elements ? begin + kChunk : s.elements;
  for (int64_t i = begin; i < end; i += kLanes) f(i, static_cast<int>(end - i < kLanes ? end - i : kLanes));
}

template <Rounding kRounding>
void add(const State& s, int32_t chunk) {
  const QuantParams& q = s.quant;
  const auto *a = reinterpret_cast<const int8_t*>(s.in), *b = reinterpret_cast<const int8_t*>(s.in2);
  auto* y = reinterpret_cast<int8_t*>(s.out);
  const int32_t a_zero = q.in_zero, b_zero = q.in2_zero, left = q.left_shift;
  const Factor of_a = factor_of(s.multipliers[0]), of_b = factor_of(s.multipliers[1]),
               of_sum = factor_of(s.multipliers[2]);
  const Bounds bounds = bounds_of(q);
  for_each_vector_of(s, chunk, [&](int64_t i, int lanes) {
    const VI x1 = by((load_bytes(a + i, lanes) - a_zero) << left, of_a, kRounding);
    const VI x2 = by((load_bytes(b + i, lanes) - b_zero) << left, of_b, kRounding);
    store_bytes(y + i, bounded_vi(by(x1 + x2, of_sum, kRounding), bounds), lanes);
  });
}

template <Rounding kRounding>
void multiply_elements(const State& s, int32_t chunk) {
  const QuantParams& q = s.quant;
  const auto *a = reinterpret_cast<const int8_t*>(s.in), *b = reinterpret_cast<const int8_t*>(s.in2);
  auto* y = reinterpret_cast<int8_t*>(s.out);
  const int32_t a_zero = q.in_zero, b_zero = q.in2_zero;
  const Factor factor = factor_of(s.multipliers[0]);
  const Bounds bounds = bounds_of(q);
  for_each_vector_of(s, chunk, [&](int64_t i, int lanes) {
    const VI product = (load_bytes(a + i, lanes) - a_zero) * (load_bytes(b + i, lanes) - b_zero);
    store_bytes(y + i, bounded_vi(by(product, factor, kRounding), bounds), lanes);
  });
}

void binary_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const bool twice = s.quant.rounding == Rounding::kDouble;
  if (s.op == BinaryOp::kAdd) {
    twice ? add<Rounding::kDouble>(s, chunk) : add<Rounding::kSingle>(s, chunk);
  } else {
    twice ? multiply_elements<Rounding::kDouble>(s, chunk) : multiply_elements<Rounding::kSingle>(s, chunk);
  }
}

template <bool kUnsigned>
void requantize(const State& s, int32_t chunk) {
  const QuantParams& q = s.quant;
  const auto* x = reinterpret_cast<const int8_t*>(s.in);
  auto* y = reinterpret_cast<int8_t*>(s.out);
  const int32_t zero = q.in_zero;
  const Rounding rounding = q.rounding;
  const Factor factor = factor_of(s.multipliers[0]);
  const Bounds bounds = bounds_of(q);
  const auto at = [&](int64_t i, int lanes) {
    VI v = lanes == kLanes ? load_whole_bytes(x + i) : load_bytes(x + i, lanes);
    if (kUnsigned) v &= 255;
    return v - zero;
  };
  const int64_t first = int64_t{chunk} * kChunk, end = first + kChunk < s.elements ? first + kChunk : s.elements;
  int64_t i = requantize_groups(s.multipliers[0], q, first, end, y, [&](int64_t e) { return at(e, kLanes); });
  for (; i < end; i += kLanes) {
    const int lanes = static_cast<int>(end - i < kLanes ? end - i : kLanes);
    store_bytes(y + i, bounded_vi(by(at(i, lanes), factor, rounding), bounds), lanes);
  }
}

void signed_run(const void* memory, int32_t chunk, void*) {
  requantize<false>(*static_cast<const State*>(memory), chunk);
}
void unsigned_run(const void* memory, int32_t chunk, void*) {
  requantize<true>(*static_cast<const State*>(memory), chunk);
}

// To the nearest integer, ties to even or away from zero; NaN becomes 0. Beyond 1024 it does not matter where a number
// is.
SPARSENET_INLINE VI nearest(V x, bool ties_away) {
  x = x == x ? x : V{};
  x = x < -1024.f ? splat(-1024.f) : x > 1024.f ? splat(1024.f) : x;
#if defined(__AVX512F__)
  if (!ties_away) return nearest_even(x);
#endif
  const VI down = __builtin_convertvector(x, VI);
  const V rest = x - __builtin_convertvector(down, V), size = rest < 0.f ? -rest : rest;
  const VI odd = ties_away ? VI{} - 1 : -(down & 1);
  const VI away = (size > 0.5f) | ((size == 0.5f) & odd);
  return down + (x < 0.f ? away : -away);
}

void quantize_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const QuantParams& q = s.quant;
  const auto* x = reinterpret_cast<const float*>(s.in);
  auto* y = reinterpret_cast<int8_t*>(s.out);
  const float scale = q.scale;
  const bool ties_away = q.rounding == Rounding::kDouble;
  const Bounds bounds = bounds_of(q);
  for_each_vector_of(s, chunk, [&](int64_t i, int lanes) {
    const V v = load_first(x + i, lanes) / scale;
    store_bytes(y + i, bounded_vi(nearest(v, ties_away), bounds), lanes);
  });
}

void dequantize_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const QuantParams& q = s.quant;
  const auto* x = reinterpret_cast<const int8_t*>(s.in);
  auto* y = reinterpret_cast<float*>(s.out);
  const float scale = q.scale;
  const int32_t zero = q.in_zero;
  for_each_vector_of(s, chunk, [&](int64_t i, int lanes) {
    store_first(y + i, __builtin_convertvector(load_bytes(x + i, lanes) - zero, V) * scale, lanes);
  });
}

// --- tables

bool table_supports(const Step& s) {
  return s.op == StepOp::kUnary && is_plain(s) && s.quant->table;
}

void table_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int64_t begin = int64_t{chunk} * kChunk, end = begin + kChunk < s.elements ? begin + kChunk : s.elements;
  const int8_t* table = s.quant.table + 128;
  const auto* x = reinterpret_cast<const int8_t*>(s.in);
  auto* y = reinterpret_cast<int8_t*>(s.out);
  for (int64_t i = begin; i < end; ++i) y[i] = table[x[i]];
}

// --- products with one number per channel and image, as of gates

// Whether a step multiplies [n, h, w, c] by [n, 1, 1, c], which lowering walks in this order.
bool gate_supports(const Step& s) {
  if (s.op != StepOp::kBinary || !s.quant || s.binary.op != BinaryOp::kMul || !s.strided) return false;
  const Strided& w = *s.strided;
  if (w.rank != 4 || !is_dense(s.in) || !is_dense(s.in2) || !is_dense(s.out)) return false;
  const int64_t c = w.dims[3], row = w.dims[2] * c, image = w.dims[1] * row;
  const auto walks = [&](const int64_t* strides) {
    return strides[3] == 1 && strides[2] == c && strides[1] == row && (strides[0] == image || w.dims[0] == 1);
  };
  const int64_t* gate = w.in_strides[1];
  return walks(w.out_strides) && walks(w.in_strides[0]) && gate[3] == 1 && gate[2] == 0 && gate[1] == 0 &&
         (gate[0] == c || w.dims[0] == 1) && w.out_start == 0 && w.in_start[0] == 0 && w.in_start[1] == 0 &&
         w.dims[0] * w.dims[1] < 65000;
}

struct GateState {
  State plain;
  int64_t rows, pixels, channels;  // per image, per row, per pixel
};

void gate_query(const Step& s, KernelNeeds* needs) {
  needs->state_bytes = sizeof(GateState);
  needs->chunks = static_cast<int32_t>(s.strided->dims[0] * s.strided->dims[1]);
}

const char* gate_prepare(const Step& step, const Place& place) {
  auto* s = static_cast<GateState*>(place.state);
  Place plain = place;
  plain.state = &s->plain;
  (void)prepare(step, plain);
  s->rows = step.strided->dims[1];
  s->pixels = step.strided->dims[2];
  s->channels = step.strided->dims[3];
  return nullptr;
}

void gate_run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const GateState*>(memory);
  const QuantParams& q = s.plain.quant;
  const int32_t x_zero = q.in_zero, gate_zero = q.in2_zero;
  const Rounding rounding = q.rounding;
  const Factor scale = factor_of(s.plain.multipliers[0]);
  const Bounds bounds = bounds_of(q);
  const int64_t first = chunk * s.pixels * s.channels;
  const auto* gate = reinterpret_cast<const int8_t*>(s.plain.in2) + chunk / s.rows * s.channels;
  const auto times = [&](const int8_t* x, const VI& factor, int lanes, int8_t* y) {
    const VI product = (load_bytes(x, lanes) - x_zero) * factor;
    store_bytes(y, bounded_vi(by(product, scale, rounding), bounds), lanes);
  };
  if (s.channels <= kLanes && kLanes % s.channels == 0) {  // a whole vector of pixels at a time
    int8_t repeated[kLanes];
    for (int i = 0; i < kLanes; ++i) repeated[i] = gate[i % s.channels];
    const VI factor = load_bytes(repeated, kLanes) - gate_zero;
    const auto* x = reinterpret_cast<const int8_t*>(s.plain.in) + first;
    auto* y = reinterpret_cast<int8_t*>(s.plain.out) + first;
    const int64_t count = s.pixels * s.channels;
    int64_t i = requantize_groups(s.plain.multipliers[0], q, 0, count, y,
                                  [&](int64_t e) { return (load_whole_bytes(x + e) - x_zero) * factor; });
    for (; i < count; i += kLanes) {
      times(x + i, factor, static_cast<int>(count - i < kLanes ? count - i : kLanes), y + i);
    }
    return;
  }
  for (int64_t c = 0; c < s.channels; c += kLanes) {
    const int lanes = static_cast<int>(s.channels - c < kLanes ? s.channels - c : kLanes);
    const VI factor = load_bytes(gate + c, lanes) - gate_zero;
    const auto* x = reinterpret_cast<const int8_t*>(s.plain.in) + first + c;
    auto* y = reinterpret_cast<int8_t*>(s.plain.out) + first + c;
    for (int64_t p = 0; p < s.pixels; ++p, x += s.channels, y += s.channels) {
      times(x, factor, lanes, y);
    }
  }
}

constexpr uint32_t kInt8Views = of_views(DataType::kInt8), kFloatAndInt8 = kInt8Views | of_views(DataType::kFloat32);

constexpr Kernel kernel(const char* name, uint32_t types, bool (*supports)(const Step&),
                        void (*run)(const void*, int32_t, void*)) {
  return {
      .name = name,
      .backend = "portable",
      .supports = supports,
      .query = query,
      .prepare = prepare,
      .run = run,
      .types = types,
  };
}

}  // namespace

const Kernel kIntegerBinary = kernel("binary_s8_" SPARSENET_ISA_NAME, kInt8Views, binary_supports, binary_run);
const Kernel kIntegerTable = kernel("table_s8_" SPARSENET_ISA_NAME, kInt8Views, table_supports, table_run);
const Kernel kIntegerGate = {
    .name = "gate_s8_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = gate_supports,
    .query = gate_query,
    .prepare = gate_prepare,
    .run = gate_run,
    .types = kInt8Views,
};
const Kernel kIntegerQuantize =
    kernel("quantize_f32_s8_" SPARSENET_ISA_NAME, kFloatAndInt8, quantize_supports, quantize_run);
const Kernel kIntegerRequantize =
    kernel("requantize_s8_" SPARSENET_ISA_NAME, kInt8Views, requantize_supports, signed_run);
const Kernel kIntegerRequantizeUnsigned = kernel(
    "requantize_u8_s8_" SPARSENET_ISA_NAME, kInt8Views | of_views(DataType::kUInt8), requantize_supports, unsigned_run);
const Kernel kIntegerDequantize =
    kernel("dequantize_s8_f32_" SPARSENET_ISA_NAME, kFloatAndInt8, dequantize_supports, dequantize_run);

}  // namespace sparsenet::rt::SPARSENET_ISA
