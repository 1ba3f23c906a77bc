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

// The product as it is computed: which operand has the rows, and which dimensions are rows and columns.
struct Layout {
  Strided s;  // the last three dimensions: rows, columns, sum; in_strides[0] are those of the operand with the rows
  bool swapped;
};

void swap_dims(Strided* s, int32_t a, int32_t b) {
  const auto swap = [](int64_t* x, int64_t* y) {
    const int64_t z = *x;
    *x = *y;
    *y = z;
  };
  swap(&s->dims[a], &s->dims[b]);
  swap(&s->out_strides[a], &s->out_strides[b]);
  swap(&s->in_strides[0][a], &s->in_strides[0][b]);
  swap(&s->in_strides[1][a], &s->in_strides[1][b]);
}

// The largest dimension along which `operand` and the result are contiguous and the other operand stays the same; -1 if
// there is none.
int32_t contiguous_columns(const Strided& s, int operand) {
  int32_t best = -1;
  for (int32_t d = 0; d + 1 < s.rank; ++d) {
    const bool fits = s.out_strides[d] == 1 && s.in_strides[operand][d] == 1 && s.in_strides[1 - operand][d] == 0;
    if (fits && s.dims[d] > 1 && (best < 0 || s.dims[d] > s.dims[best])) best = d;
  }
  return best;
}

// Chooses columns that are contiguous in one operand and in the result, if there are any: for images, whose channels
// lie side by side, these are not the columns of the matrices. All other dimensions are rows or are walked through.
Layout layout_of(const Strided& from) {
  Layout l{from, false};
  Strided& s = l.s;
  const int32_t row = s.rank - 3, column = s.rank - 2;
  int32_t best = contiguous_columns(s, 1);
  if (const int32_t other = contiguous_columns(s, 0); other >= 0 && (best < 0 || s.dims[other] > s.dims[best])) {
    l.swapped = true;
    for (int32_t d = 0; d < s.rank; ++d) {
      const int64_t stride = s.in_strides[0][d];
      s.in_strides[0][d] = s.in_strides[1][d];
      s.in_strides[1][d] = stride;
    }
    s.in_start[0] = from.in_start[1];
    s.in_start[1] = from.in_start[0];
    best = other;
  }
  if (best < 0) return l;
  if (best != column) swap_dims(&s, best, column);
  // Columns that go on in another dimension.
  for (int32_t d = 0; d < column; ++d) {
    const int64_t n = s.dims[column];
    if (s.in_strides[0][d] != 0 || s.in_strides[1][d] != n || s.out_strides[d] != n || s.dims[d] == 1) continue;
    s.dims[column] *= s.dims[d];
    s.dims[d] = 1;
    s.in_strides[0][d] = s.in_strides[1][d] = s.out_strides[d] = 0;
    d = -1;
  }
  // Rows: the largest dimension along which the operand with the columns stays the same.
  int32_t rows = -1;
  for (int32_t d = 0; d < column; ++d) {
    if (s.in_strides[1][d] == 0 && (rows < 0 || s.dims[d] > s.dims[rows])) rows = d;
  }
  if (rows >= 0 && rows != row) swap_dims(&s, rows, row);
  return l;
}

struct State {
  Strided s;
  const float *a, *b;
  float* y;
  int32_t blocks, block_rows;  // of each product
  int32_t products;            // of a chunk, if it has more than one
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

// Small products share a chunk.
int64_t products_of_chunk(const Matrices& m) {
  const int64_t work = m.rows * m.columns * m.terms;
  const int64_t wanted = m.products < 16 ? 1 : 65536 / (work < 65536 ? work : 65536), least = m.products / 4096 + 1;
  return wanted > least ? wanted : least;
}

bool supports(const Step& step) {
  if (step.op != StepOp::kMatMul) return false;
  const bool plain = step.act.kind == Act::kClamp && step.act.low == -INFINITY && step.act.high == INFINITY;
  return plain && step.strided->dims[step.strided->rank - 1] <= kMostTerms;
}

void query(const Step& step, KernelNeeds* needs) {
  const Matrices m = matrices_of(layout_of(*step.strided).s);
  const int64_t block = rows_of_block(m), share = products_of_chunk(m);
  needs->state_bytes = sizeof(State);
  needs->scratch_bytes = static_cast<uint64_t>(m.terms) * kColumns * sizeof(float);
  needs->chunks = static_cast<int32_t>((m.products + share - 1) / share * ((m.rows + block - 1) / block));
}

const char* prepare(const Step& step, const Place& place) {
  auto* s = static_cast<State*>(place.state);
  const Layout layout = layout_of(*step.strided);
  const View &rows = layout.swapped ? step.in2 : step.in, &columns = layout.swapped ? step.in : step.in2;
  s->s = layout.s;
  s->a = f32(rows.segments[0], place.arena) + layout.s.in_start[0];
  s->b = f32(columns.segments[0], place.arena) + layout.s.in_start[1];
  s->y = dense_pointer(step.out, place.arena) + step.strided->out_start;
  const Matrices m = matrices_of(layout.s);
  s->products = static_cast<int32_t>(products_of_chunk(m));
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

void run_product(const State& state, int64_t product, int32_t block, void* scratch) {
  const Strided& s = state.s;
  const int32_t row = s.rank - 3, column = s.rank - 2, term = s.rank - 1;
  const float *a = state.a, *b = state.b;
  float* y = state.y;
  for (int32_t d = row - 1; d >= 0; --d) {
    const int64_t i = product % s.dims[d];
    product /= s.dims[d];
    a += i * s.in_strides[0][d];
    b += i * s.in_strides[1][d];
    y += i * s.out_strides[d];
  }
  const int64_t first = int64_t{block} * state.block_rows;
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

void run(const void* memory, int32_t chunk, void* scratch) {
  const auto& state = *static_cast<const State*>(memory);
  const int64_t all = matrices_of(state.s).products, first = int64_t{chunk / state.blocks} * state.products;
  const int64_t last = first + state.products < all ? first + state.products : all;
  for (int64_t p = first; p < last; ++p) run_product(state, p, chunk % state.blocks, scratch);
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
