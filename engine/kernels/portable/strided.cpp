// Steps over an index space with strides: arithmetic with broadcasting, transposes and other copies. Dimensions are put
// into the order of the output's memory, and neighbouring ones that every operand walks through without a gap become
// one; the innermost one is done a vector at a time where the strides allow it. Copies that read along another
// dimension than they write are done in square blocks of vectors, transposed in registers.
#include "kernels/portable/activation.h"
#include "kernels/portable/lanes.h"
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int64_t kChunkElements = 16384;

struct State {
  const float *a, *b;  // b: null for a copy
  float* y;
  Act act;
  BinaryOp op;
  bool plain;  // no activation
  int32_t rank;
  int64_t dims[kMaxDims], y_strides[kMaxDims], a_strides[kMaxDims], b_strides[kMaxDims];
  int64_t outer, chunk_rows;  // rows: all dimensions but the last
  // A dimension, cut into pieces of kLanes, of which a row does one along with the last dimension; -1: none.
  int32_t across;
  int64_t across_size, across_stride;  // its elements, and the output's stride of one
};

// The dimensions of more than one element, by the output's stride, the largest first.
int32_t sort_dims(const Strided& from, int32_t order[kMaxDims]) {
  int32_t count = 0;
  for (int32_t d = 0; d < from.rank; ++d) {
    if (from.dims[d] == 1) continue;
    int32_t at = count++;
    for (; at > 0 && from.out_strides[order[at - 1]] < from.out_strides[d]; --at) order[at] = order[at - 1];
    order[at] = d;
  }
  return count;
}

// Finds a dimension along which a copy reads neighbouring elements while it writes them along the last one.
void find_across(State* s) {
  const int32_t last = s->rank - 1;
  s->across = -1;
  if (s->a_strides[last] == 1 || s->y_strides[last] != 1 || s->dims[last] < 4) return;
  for (int32_t d = 0; d < last; ++d) {
    if (s->a_strides[d] != 1 || s->dims[d] < 4) continue;
    s->across = d;
    s->across_size = s->dims[d];
    s->across_stride = s->y_strides[d];
    s->dims[d] = (s->dims[d] + kLanes - 1) / kLanes;
    s->a_strides[d] *= kLanes;
    s->y_strides[d] *= kLanes;
    return;
  }
}

// Sorts the dimensions, and merges each with the one before it where all operands allow it.
void coalesce(const Strided& from, bool two, State* s) {
  int32_t order[kMaxDims];
  const int32_t count = sort_dims(from, order);
  s->rank = 0;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t d = order[i];
    const int64_t n = from.dims[d], y = from.out_strides[d], a = from.in_strides[0][d],
                  b = two ? from.in_strides[1][d] : 0;
    const int32_t last = s->rank - 1;
    if (last >= 0 && s->y_strides[last] == y * n && s->a_strides[last] == a * n && s->b_strides[last] == b * n) {
      s->dims[last] *= n;
      s->y_strides[last] = y;
      s->a_strides[last] = a;
      s->b_strides[last] = b;
      continue;
    }
    s->dims[s->rank] = n;
    s->y_strides[s->rank] = y;
    s->a_strides[s->rank] = a;
    s->b_strides[s->rank] = b;
    ++s->rank;
  }
  if (s->rank == 0) {
    s->dims[0] = 1;
    s->y_strides[0] = s->a_strides[0] = s->b_strides[0] = 1;
    s->rank = 1;
  }
  // One long run is cut, so that there are chunks for all threads.
  if (s->rank == 1 && s->dims[0] >= 2 * kChunkElements && s->dims[0] % 64 == 0) {
    const int64_t n = s->dims[0] / 64;
    int64_t* const strides[3] = {s->y_strides, s->a_strides, s->b_strides};
    for (int64_t* of : strides) {
      of[1] = of[0];
      of[0] *= n;
    }
    s->dims[0] = 64;
    s->dims[1] = n;
    s->rank = 2;
  }
  s->across = -1;
  if (!two) find_across(s);
  s->outer = 1;
  for (int32_t d = 0; d + 1 < s->rank; ++d) s->outer *= s->dims[d];
  const int64_t row = s->dims[s->rank - 1] * (s->across < 0 ? 1 : kLanes);
  const int64_t wanted = kChunkElements / row + 1, least = s->outer / 60000 + 1;
  s->chunk_rows = wanted > least ? wanted : least;
}

bool supports(const Step& s) {
  if (!s.strided || s.strided->fill_first) return false;
  return s.op == StepOp::kStridedCopy || s.op == StepOp::kBinary;
}

void query(const Step& step, KernelNeeds* needs) {
  State s;
  coalesce(*step.strided, step.op == StepOp::kBinary, &s);
  needs->state_bytes = sizeof(State);
  needs->chunks = static_cast<int32_t>((s.outer + s.chunk_rows - 1) / s.chunk_rows);
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const bool two = step.op == StepOp::kBinary;
  coalesce(*step.strided, two, s);
  s->a = f32(step.in.segments[0], place.arena) + step.strided->in_start[0];
  s->b = two ? f32(step.in2.segments[0], place.arena) + step.strided->in_start[1] : nullptr;
  s->y = dense_pointer(step.out, place.arena) + step.strided->out_start;
  s->act = step.act;
  s->plain = !two || (step.act.kind == Act::kClamp && step.act.low == -INFINITY && step.act.high == INFINITY);
  s->op = step.binary.op;
  return nullptr;
}

SPARSENET_INLINE V operand(const float* p, int64_t stride, int64_t i, int lanes) {
  if (stride == 1) return load_first(p + i, lanes);
  if (stride == 0) return splat(*p);
  V v{};
  for (int j = 0; j < lanes; ++j) v[j] = p[(i + j) * stride];
  return v;
}

void copy_row(const float* a, int64_t a_stride, float* y, int64_t y_stride, int64_t n) {
  if (a_stride == 1 && y_stride == 1) {
    if (n > 8 * kLanes) {
      memmove(y, a, static_cast<size_t>(n) * sizeof(float));
      return;
    }
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(y + i, load(a + i));
    if (i < n) store_first(y + i, load_first(a + i, static_cast<int>(n - i)), static_cast<int>(n - i));
    return;
  }
  for (int64_t i = 0; i < n; ++i) y[i * y_stride] = a[i * a_stride];
}

// `count` rows of n elements: those of a row are a_stride apart in `a`, where the rows are neighbours, and neighbours
// in y, where the rows are y_stride apart.
void transpose_rows(const float* a, int64_t a_stride, float* y, int64_t y_stride, int64_t n, int count) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    V block[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) block[j] = j < lanes ? load_first(a + (i + j) * a_stride, count) : V{};
    transpose(block);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) {
      if (j < count) store_first(y + j * y_stride + i, block[j], lanes);
    }
  }
}

template <BinaryOp kOp>
void binary_row(const State& s, const float* a, const float* b, float* y) {
  const int32_t last = s.rank - 1;
  const int64_t n = s.dims[last], ys = s.y_strides[last], as = s.a_strides[last], bs = s.b_strides[last];
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(n - i < kLanes ? n - i : kLanes);
    V v = combine(kOp, operand(a, as, i, lanes), operand(b, bs, i, lanes));
    if (!s.plain) v = activate(v, s.act);
    if (ys == 1) {
      store_first(y + i, v, lanes);
    } else {
      for (int j = 0; j < lanes; ++j) y[(i + j) * ys] = v[j];
    }
  }
}

using RowFunction = void (*)(const State&, const float*, const float*, float*);
constexpr RowFunction kRows[] = {
    binary_row<BinaryOp::kAdd>, binary_row<BinaryOp::kSub>, binary_row<BinaryOp::kMul>,   binary_row<BinaryOp::kDiv>,
    binary_row<BinaryOp::kMax>, binary_row<BinaryOp::kMin>, binary_row<BinaryOp::kPrelu>,
};

void run(const void* memory, int32_t chunk, void*) {
  const auto& s = *static_cast<const State*>(memory);
  const int32_t last = s.rank - 1;
  const int64_t begin = chunk * s.chunk_rows, end = begin + s.chunk_rows < s.outer ? begin + s.chunk_rows : s.outer;
  int64_t index[kMaxDims] = {}, a = 0, b = 0, y = 0, rest = begin;
  for (int32_t d = last - 1; d >= 0; --d) {
    index[d] = rest % s.dims[d];
    rest /= s.dims[d];
    a += index[d] * s.a_strides[d];
    b += index[d] * s.b_strides[d];
    y += index[d] * s.y_strides[d];
  }
  for (int64_t row = begin; row < end; ++row) {
    if (s.b) {
      kRows[static_cast<int>(s.op)](s, s.a + a, s.b + b, s.y + y);
    } else if (s.across >= 0) {
      const int64_t left = s.across_size - index[s.across] * kLanes;
      transpose_rows(s.a + a, s.a_strides[last], s.y + y, s.across_stride, s.dims[last],
                     static_cast<int>(left < kLanes ? left : kLanes));
    } else {
      copy_row(s.a + a, s.a_strides[last], s.y + y, s.y_strides[last], s.dims[last]);
    }
    for (int32_t d = last - 1; d >= 0; --d) {
      a += s.a_strides[d];
      b += s.b_strides[d];
      y += s.y_strides[d];
      if (++index[d] < s.dims[d]) break;
      a -= s.a_strides[d] * s.dims[d];
      b -= s.b_strides[d] * s.dims[d];
      y -= s.y_strides[d] * s.dims[d];
      index[d] = 0;
    }
  }
}

}  // namespace

const Kernel kStrided = {
    .name = "strided_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
