// Matrix products, and normalisation of pixels over their channels.
#include <utility>

#include "backends/gpu/index_space.h"
#include "backends/gpu/kernels/products_params.h"

namespace sparsenet::gpu {
namespace {

// Sizes of tiles, as results of a thread; a group has 16 x 16 threads.
struct Tile {
  int rows, columns;
};
constexpr Tile kTiles[] = {{4, 4}, {2, 2}, {1, 4}};
constexpr int kTileCount = sizeof kTiles / sizeof kTiles[0];

uint64_t tiles(const MatMulParams& p, const Tile& tile, uint64_t batch) {
  return batch * divide_up(static_cast<uint64_t>(p.rows), static_cast<uint64_t>(16 * tile.rows)) *
         divide_up(static_cast<uint64_t>(p.columns), static_cast<uint64_t>(16 * tile.columns));
}

// The product of the transposed operands, whose result is the transposed one.
void transpose(MatMulParams* p) {
  std::swap(p->a, p->b);
  std::swap(p->rows, p->columns);
  std::swap(p->a_row, p->b_column);
  std::swap(p->a_term, p->b_term);
  std::swap(p->out_row, p->out_column);
  for (int d = 0; d < p->batch.rank; ++d) std::swap(p->batch.in[d], p->batch.in2[d]);
}

}  // namespace

const char* lower_mat_mul(const snp_step& step, Builder& builder) {
  if (!step.in2) return "it has no second operand";
  if (const char* reason = check_strided(step)) return reason;
  const snp_strided& s = *step.strided;
  const int row = s.rank - 3, column = s.rank - 2, term = s.rank - 1;
  if (s.rank < 3 || s.reduced_from != term || s.in_strides[column] != 0 || s.in2_strides[row] != 0)
    return "expected a product of rows and columns";
  MatMulParams p{};
  p.a = in_of(step, builder);
  p.b = in2_of(step, builder);
  p.out = out_of(step);
  const IndexSpace batch(step, 0, row);
  p.batch = batch.arg();
  p.rows = static_cast<int>(s.dims[row]);
  p.columns = static_cast<int>(s.dims[column]);
  p.terms = static_cast<int>(s.dims[term]);
  p.a_row = static_cast<unsigned>(s.in_strides[row]);
  p.a_term = static_cast<unsigned>(s.in_strides[term]);
  p.b_term = static_cast<unsigned>(s.in2_strides[term]);
  p.b_column = static_cast<unsigned>(s.in2_strides[column]);
  p.out_row = static_cast<unsigned>(s.out_strides[row]);
  p.out_column = static_cast<unsigned>(s.out_strides[column]);
  p.act = Builder::activation(step.act);
  // Neighbouring threads write a row.
  if (p.columns == 1 || (p.rows > 1 && p.out_row < p.out_column)) transpose(&p);

  const uint64_t products = batch.elements();
  const int fixed = p.rows <= 16 ? 2 : tiles(p, kTiles[0], products) >= builder.device().units ? 0 : 1;
  const std::string key = "mat_mul " + std::to_string(products) + "x" + std::to_string(p.rows) + "x" +
                          std::to_string(p.columns) + "x" + std::to_string(p.terms);
  const Tile tile = kTiles[builder.choose(key, kTileCount, fixed)];
  p.tiles_down = (p.rows - 1) / (16 * tile.rows) + 1;
  p.tiles_across = (p.columns - 1) / (16 * tile.columns) + 1;
  const uint64_t groups = tiles(p, tile, products);
  if (groups > 0x7fffffff) return "its product has more tiles than a launch has groups";
  const std::string defines = "-DROWS=" + std::to_string(tile.rows) + " -DCOLUMNS=" + std::to_string(tile.columns);
  Launch& launch =
      builder.launch("products", "mat_mul", defines, {static_cast<uint32_t>(groups), 1, 1}, {16, 16, 1}, p);
  const auto rows = static_cast<uint64_t>(p.rows), columns = static_cast<uint64_t>(p.columns);
  const uint64_t terms = static_cast<uint64_t>(p.terms), size = builder.element_bytes();
  launch.bytes_read = products * (rows + columns) * terms * size;
  launch.bytes_written = products * rows * columns * size;
  return nullptr;
}

const char* lower_layer_norm(const snp_step& step, Builder& builder) {
  if (!same_size(*step.in, *step.out)) return "expected an output of the input's size";
  LayerNormParams p{};
  p.in = builder.view(*step.in);
  p.out = builder.view(*step.out);
  p.pixels = static_cast<uint32_t>(pixels_of(*step.in));
  p.channels = step.in->c;
  p.width = in_fours(*step.in) && in_fours(*step.out) ? 4 : 1;
  p.lanes = lanes_for(p.pixels, static_cast<uint64_t>(p.channels / p.width), builder.device());
  p.epsilon = step.epsilon;
  p.affine = affine_of(step, builder);
  p.act = Builder::activation(step.act);
  const uint32_t pixels = 256u / static_cast<uint32_t>(p.lanes);
  Launch& launch = builder.launch("products", "layer_norm", "", {divide_up(p.pixels, pixels), 1, 1}, {256, 1, 1}, p);
  launch.bytes_read = bytes_of(*step.in, builder);
  launch.bytes_written = bytes_of(*step.out, builder);
  return nullptr;
}

}  // namespace sparsenet::gpu
