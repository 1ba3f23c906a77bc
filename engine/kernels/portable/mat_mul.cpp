// Matrix products of two computed operands, one for each index of the dimensions in front. A chunk is a block of rows
// of one product. The columns are done a panel at a time: in place where a row of the right operand is contiguous, else
// from a copy in scratch.
#include "kernels/portable/portable.h"
#include "kernels/portable/source.h"

namespace sparsenet::rt::SPARSENET_ISA {
namespace {

constexpr int kRows = kAccumulators / 2;  // of a register tile
constexpr int kColumns = 2 * kLanes;
constexpr int64_t kMostTerms = 65536;  // bounds the panel in scratch

struct State {
  Strided s;
  const float *a, *b;
  float* y;
  int32_t blocks, block_rows;  // of each product
};

struct Matrices {
  int64_t products, rows, columns, terms;
};

Matrices matrices_of(const Strided& s) {
  Matrices m{1, s.dims[s.rank - 3], s.dims[s.rank - 2], s.dims[s.rank - 1]};
  for (int32_t d = 0; d + 3 < s.rank; ++d) m.products *= s.dims[d];
  return m;
}

// Enough chunks for several threads, but blocks of whole tiles, over which the copy of a panel pays.
int64_t rows_of_block(const Matrices& m) {
  const int64_t parts = m.products >= 16 ? 1 : (16 + m.products - 1) / m.products;
  const int64_t rows = (m.rows + parts - 1) / parts;
  return (rows + kRows - 1) / kRows * kRows;
}

bool supports(const Step& step) {
  if (step.op != StepOp::kMatMul) return false;
  const bool plain = step.act.kind == Act::kClamp && step.act.low == -INFINITY && step.act.high == INFINITY;
  const Matrices m = matrices_of(*step.strided);
  return plain && m.terms <= kMostTerms && m.products <= 2000;
}

void query(const Step& step, KernelNeeds* needs) {
  const Matrices m = matrices_of(*step.strided);
  const int64_t block = rows_of_block(m);
  needs->state_bytes = sizeof(State);
  needs->scratch_bytes = static_cast<uint64_t>(m.terms) * kColumns * sizeof(float);
  needs->chunks = static_cast<int32_t>(m.products * ((m.rows + block - 1) / block));
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  s->s = *step.strided;
  s->a = f32(step.in.segments[0], place.arena) + step.strided->in_start[0];
  s->b = f32(step.in2.segments[0], place.arena) + step.strided->in_start[1];
  s->y = dense_pointer(step.out, place.arena) + step.strided->out_start;
  const Matrices m = matrices_of(*step.strided);
  s->block_rows = static_cast<int32_t>(rows_of_block(m));
  s->blocks = static_cast<int32_t>((m.rows + s->block_rows - 1) / s->block_rows);
  return nullptr;
}

struct Tile {
  const float *a, *b;
  float* y;
  int64_t a_row, a_term, b_term, y_row, y_column, terms;
  int columns;
};

template <int kCount>
SPARSENET_INLINE void run_tile(const Tile& t) {
  V sum[kCount][2];
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) sum[r][0] = sum[r][1] = V{};
  const float *a = t.a, *b = t.b;
  for (int64_t k = 0; k < t.terms; ++k, a += t.a_term, b += t.b_term) {
    const V left = load(b), right = load(b + kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r) {
      const float x = a[r * t.a_row];
      sum[r][0] += left * x;
      sum[r][1] += right * x;
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) {
    float* y = t.y + r * t.y_row;
    if (t.y_column != 1) {
      for (int c = 0; c < t.columns; ++c) y[c * t.y_column] = sum[r][c / kLanes][c % kLanes];
      continue;
    }
    store_first(y, sum[r][0], imin(t.columns, kLanes));
    if (t.columns > kLanes) store_first(y + kLanes, sum[r][1], t.columns - kLanes);
  }
}

// The columns [first, first + count) of the right operand, side by side; zeros behind them.
void pack_panel(const float* b, int64_t column, int64_t term, int64_t terms, int count, float* out) {
  for (int64_t k = 0; k < terms; ++k, out += kColumns) {
    const float* row = b + k * term;
    for (int c = 0; c < count; ++c) out[c] = row[c * column];
    for (int c = count; c < kColumns; ++c) out[c] = 0.f;
  }
}

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& state = *static_cast<const State*>(memory);
  const Strided& s = state.s;
  const int32_t row = s.rank - 3, column = s.rank - 2, term = s.rank - 1;
  int64_t product = chunk / state.blocks;
  const float *a = state.a, *b = state.b;
  float* y = state.y;
  for (int32_t d = row - 1; d >= 0; --d) {
    const int64_t i = product % s.dims[d];
    product /= s.dims[d];
    a += i * s.in_strides[0][d];
    b += i * s.in_strides[1][d];
    y += i * s.out_strides[d];
  }
  const int64_t first = int64_t{chunk % state.blocks} * state.block_rows;
  const int64_t last = first + state.block_rows < s.dims[row] ? first + state.block_rows : s.dims[row];
  Tile t{};
  t.a_row = s.in_strides[0][row];
  t.a_term = s.in_strides[0][term];
  t.y_row = s.out_strides[row];
  t.y_column = s.out_strides[column];
  t.terms = s.dims[term];
  for (int64_t c = 0; c < s.dims[column]; c += kColumns) {
    t.columns = static_cast<int>(s.dims[column] - c < kColumns ? s.dims[column] - c : kColumns);
    const float* panel = b + c * s.in_strides[1][column];
    t.b_term = s.in_strides[1][term];
    if (s.in_strides[1][column] != 1 || t.columns < kColumns) {
      pack_panel(panel, s.in_strides[1][column], t.b_term, t.terms, t.columns, static_cast<float*>(scratch));
      panel = static_cast<const float*>(scratch);
      t.b_term = kColumns;
    }
    t.b = panel;
    int64_t r = first;
    for (; r < last; r += r + kRows <= last ? kRows : 1) {
      t.a = a + r * t.a_row;
      t.y = y + r * t.y_row + c * t.y_column;
      if (r + kRows <= last) {
        run_tile<kRows>(t);
      } else {
        run_tile<1>(t);
      }
    }
  }
}

}  // namespace

const Kernel kMatMul = {
    .name = "mat_mul_f32_" SPARSENET_ISA_NAME,
    .backend = "portable",
    .supports = supports,
    .query = query,
    .prepare = prepare,
    .run = run,
};

}  // namespace sparsenet::rt::SPARSENET_ISA
