// Convolutions as products of matrices: conv_tiled.cl and conv_mma.cl.
#include <algorithm>

#include "backends/gpu/conv_shape.h"

namespace sparsenet::gpu {
namespace {

struct Tile {
  int rows, columns;
  int thread_rows;  // of conv_tiled.cl; 0: a tile of conv_mma.cl
  int threads;
  int depth;          // TILE_K
  double efficiency;  // multiply-adds against those of the best tile of conv_tiled.cl in the same time
  bool on_tensor_cores() const { return thread_rows == 0; }
};
constexpr Tile kTiles[] = {{128, 64, 8, 256, 16, 1.0}, {64, 64, 4, 256, 16, 0.8}, {128, 32, 4, 256, 16, 0.75},
                           {32, 64, 4, 128, 16, 0.75}, {32, 32, 4, 64, 16, 0.65}, {128, 16, 4, 128, 16, 0.6},
                           {128, 64, 0, 256, 32, 6.0}, {64, 64, 0, 128, 32, 5.0}, {128, 32, 0, 128, 32, 5.0},
                           {32, 64, 0, 64, 32, 4.0},   {32, 32, 0, 32, 32, 3.0}};
constexpr int kTileCount = sizeof kTiles / sizeof kTiles[0], kSmallestTile = 4;
constexpr int kMostSplits = 32;

// What a compute unit is taken for: enough threads to hide its latencies, multiply-adds per byte of device memory that
// it has the bandwidth of, and multiply-adds in the time that groups take to wait for each other's sums.
constexpr double kFullThreads = 512, kProductsPerByte = 8, kProductsPerMeeting = 2e5;
constexpr double kSlabsPerGroup = 4;  // the time to start and to end, in slabs

double units_of(const Builder& builder) {
  return std::max(1u, builder.device().units);
}

double cost_of(const Builder& builder, const Tile& tile, double rows, double depth, double columns, double matrices,
               int splits) {
  const double units = units_of(builder);
  const double tiles = divided_up(static_cast<int64_t>(rows), tile.rows) *
                       static_cast<double>(divided_up(static_cast<int64_t>(columns), tile.columns));
  const double per_unit =
      static_cast<double>(divided_up(static_cast<int64_t>(tiles * matrices) * splits, static_cast<int64_t>(units)));
  const double slabs = divided_up(divided_up(static_cast<int64_t>(depth), tile.depth), splits) + kSlabsPerGroup;
  // A device whose threads run in loops on a core has no latencies to hide.
  const double filled = builder.device().is_cpu ? 1.0 : std::min(1.0, per_unit * tile.threads / kFullThreads);
  double cost = per_unit * slabs * tile.depth * tile.rows * tile.columns / (tile.efficiency * filled);
  if (splits > 1)
    cost += kProductsPerMeeting + rows * columns * matrices * (2 * splits + 1) * 4 * kProductsPerByte / units;
  return cost;
}

std::string defines_of(const Tile& tile, int source) {
  const std::string size = "-DTILE_M=" + std::to_string(tile.rows) + " -DTILE_N=" + std::to_string(tile.columns);
  if (tile.on_tensor_cores()) return size + " -DPOINTWISE=" + (source == 0 ? "1" : "0");
  return size + " -DTHREAD_M=" + std::to_string(tile.thread_rows) + " -DSOURCE=" + std::to_string(source);
}

uint32_t places_of_depth(const ConvSizes& c, int padded_depth, Builder& builder) {
  const snp_window& w = *c.step->window;
  std::vector<int32_t> places(static_cast<size_t>(padded_depth) * 4);
  for (int k = 0; k < padded_depth; ++k) {
    int32_t* place = places.data() + static_cast<size_t>(k) * 4;
    const int tap = k / c.group_in;
    place[0] = k < c.depth ? tap / w.kernel_w * w.dilation_h : -0x40000000;
    place[1] = tap % w.kernel_w * w.dilation_w;
    place[2] = k % c.group_in;
  }
  return builder.weight_bytes(places.data(), places.size() * 4);
}

}  // namespace

int tile_columns(int tile) {
  return kTiles[tile].columns;
}

bool suits_tensor_cores(const ConvSizes& c, const Builder& builder) {
  return builder.half() && builder.tensor_cores() && builder.device().tensor_cores &&
         builder.device().compute_capability >= 80 && c.vectors_in && c.depth >= 16;
}

std::vector<TileChoice> rank_tiles(const Builder& builder, int rows, int depth, int columns, int matrices, TileUse use,
                                   size_t most) {
  std::vector<TileChoice> choices;
  const bool may_split = use != TileUse::kBatched && builder.device().device_fence;
  for (int i = 0; i < kTileCount; ++i) {
    const Tile& tile = kTiles[i];
    if (tile.on_tensor_cores() != (use == TileUse::kTensorCores)) continue;
    if (static_cast<uint32_t>(tile.threads) > builder.device().max_group) continue;
    TileChoice best;  // of this tile
    for (int splits = 1; splits <= kMostSplits; splits *= 2) {
      if (splits > 1 && (!may_split || depth < 4 * splits * tile.depth)) break;
      const double cost = cost_of(builder, tile, rows, depth, columns, matrices, splits);
      if (splits == 1 || cost < best.cost) best = {i, splits, cost};
    }
    choices.push_back(best);
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const TileChoice& a, const TileChoice& b) { return a.cost < b.cost; });
  if (choices.empty()) choices.push_back({kSmallestTile, 1, 0});  // Builder::launch() refuses it
  if (choices.size() > most) choices.resize(most);
  return choices;
}

void lower_conv_tiled(const ConvSizes& c, const TileChoice& choice, Builder& builder) {
  const Tile& tile = kTiles[choice.tile];
  ConvTiled p{};
  p.start = conv_start(c, builder);
  p.end = conv_end(c, builder);
  p.shape = conv_shape(*c.step);
  p.rows = c.rows;
  p.depth = c.depth;
  p.columns = c.group_out;
  p.group_in = c.group_in;
  p.padded_depth = divided_up(c.depth, tile.depth) * tile.depth;
  p.row_floats = divided_up(c.group_out, tile.columns) * tile.columns;
  p.split_depth = divided_up(p.padded_depth / tile.depth, choice.splits) * tile.depth;
  p.splits = divided_up(p.padded_depth, p.split_depth);
  p.weights = pack_conv_weights(c, p.padded_depth, 1, p.row_floats, builder);
  const int source = !c.vectors_in ? 2 : c.pointwise ? 0 : 1;
  if (source == 2) p.places = places_of_depth(c, p.padded_depth, builder);

  const uint64_t parts = static_cast<uint64_t>(c.groups) * static_cast<uint64_t>(p.splits);
  const uint64_t part_floats = static_cast<uint64_t>(p.rows) * static_cast<uint64_t>(p.row_floats);
  if (p.splits > 1) p.partial = builder.scratch(parts * part_floats * 4);
  const uint64_t row_tiles = static_cast<uint64_t>(divided_up(p.rows, tile.rows));
  const uint64_t column_tiles = static_cast<uint64_t>(p.row_floats / tile.columns);
  if (p.splits > 1) p.counters = builder.counters(row_tiles * column_tiles * static_cast<uint64_t>(c.groups));
  const char* name = tile.on_tensor_cores() ? "conv_mma" : "conv_tiled";
  Launch& launch = builder.launch(name, name, defines_of(tile, source),
                                  {static_cast<uint32_t>(row_tiles * column_tiles), static_cast<uint32_t>(parts), 1},
                                  {static_cast<uint32_t>(tile.threads), 1, 1}, p);
  const uint64_t gathered = static_cast<uint64_t>(p.rows) * static_cast<uint64_t>(p.depth) * column_tiles;
  const uint64_t weights = static_cast<uint64_t>(p.padded_depth) * static_cast<uint64_t>(p.row_floats) * row_tiles;
  launch.bytes_read = (gathered + weights) * static_cast<uint64_t>(c.groups) * builder.element_bytes();
  launch.bytes_read += c.end_bytes_read;
  launch.bytes_written = c.out_elements * builder.element_bytes();
  if (p.splits > 1) {
    launch.bytes_read += c.out_elements * 4 * static_cast<uint64_t>(p.splits);
    launch.bytes_written += parts * part_floats * 4;
  }
}

void lower_batched_product(const BatchedProduct& product, Builder& builder) {
  const Tile& tile = kTiles[product.tile];
  ConvTiled p{};
  p.rows = product.rows;
  p.depth = product.depth;
  p.columns = product.columns;
  p.padded_depth = product.padded_depth;
  p.row_floats = product.row_floats;
  p.splits = 1;
  p.split_depth = product.padded_depth;
  p.weights = product.weights;
  p.source = product.source;
  p.partial = product.result;
  const uint64_t row_tiles = static_cast<uint64_t>(divided_up(p.rows, tile.rows));
  const uint64_t column_tiles = static_cast<uint64_t>(p.row_floats / tile.columns);
  Launch& launch = builder.launch("conv_tiled", "conv_tiled", defines_of(tile, 3),
                                  {static_cast<uint32_t>(row_tiles * column_tiles), 36, 1},
                                  {static_cast<uint32_t>(tile.threads), 1, 1}, p);
  const uint64_t rows = static_cast<uint64_t>(p.rows), row_floats = static_cast<uint64_t>(p.row_floats);
  launch.bytes_read = 36 * 4 *
                      (rows * static_cast<uint64_t>(p.depth) * column_tiles +
                       static_cast<uint64_t>(p.padded_depth) * row_floats * row_tiles);
  launch.bytes_written = 36 * 4 * rows * row_floats;
}

}  // namespace sparsenet::gpu
