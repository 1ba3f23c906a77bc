// Winograd's convolution F(4x4, 3x3): a transform, 36 products and the transform back.
#include <algorithm>

#include "backends/gpu/conv_shape.h"

namespace sparsenet::gpu {
namespace {

constexpr int kTileOut = 4;         // output pixels of a tile, in each direction
constexpr int kLeastChannels = 32;  // below, the transforms take longer than what they save
constexpr int kMostColumns = 64;    // of a tile of the products

int tiles_h(const ConvSizes& c) {
  return divided_up(c.step->out->h, kTileOut);
}
int tiles_w(const ConvSizes& c) {
  return divided_up(c.step->out->w, kTileOut);
}
int tiles(const ConvSizes& c) {
  return c.step->out->n * tiles_h(c) * tiles_w(c);
}
// The depth of the products: vectors of four channels are loaded.
int depth_of(const ConvSizes& c) {
  return divided_up(c.group_in, 4) * 4;
}

// Whether scratch has room for what lies between the launches: transformed inputs and products are many times as large
// as the images. Activations and weights need the rest of the memory.
bool fits_scratch(const ConvSizes& c, const Traits& device) {
  const int columns = divided_up(c.group_out, kMostColumns) * kMostColumns;
  const uint64_t floats =
      36 * static_cast<uint64_t>(tiles(c)) * (static_cast<uint64_t>(depth_of(c)) + static_cast<uint64_t>(columns));
  uint64_t most = 0xffff0000u;  // bytes: Builder::scratch() has less than 4 GiB
  if (device.memory_bytes != 0) most = std::min(most, device.memory_bytes / 4);
  if (device.max_allocation_bytes != 0) most = std::min(most, device.max_allocation_bytes);
  return floats <= most / 4;
}

}  // namespace

bool suits_winograd(const ConvSizes& c, const Builder& builder) {
  const snp_window& w = *c.step->window;
  return w.kernel_h == 3 && w.kernel_w == 3 && w.stride_h == 1 && w.stride_w == 1 && w.dilation_h == 1 &&
         w.dilation_w == 1 && c.groups == 1 && c.group_in >= kLeastChannels && c.group_out >= kLeastChannels &&
         fits_scratch(c, builder.device());
}

double winograd_cost(const ConvSizes& c, const Builder& builder) {
  const TileChoice product = rank_tiles(builder, tiles(c), depth_of(c), c.group_out, 36, TileUse::kBatched, 1).front();
  // The transforms move this many bytes; see lower_conv_tiled.cpp for the numbers.
  const double bytes = tiles(c) * 36.0 * (2.0 * c.group_in + 2.0 * c.group_out) * 4;
  const double units = std::max(1u, builder.device().units);
  return product.cost + bytes * 8 / units + 2 * 4e5;
}

void lower_conv_winograd(const ConvSizes& c, Builder& builder) {
  const uint64_t element = builder.element_bytes();
  BatchedProduct product{};
  product.rows = tiles(c);
  product.depth = depth_of(c);
  product.columns = c.group_out;
  product.tile =
      rank_tiles(builder, product.rows, product.depth, product.columns, 36, TileUse::kBatched, 1).front().tile;
  product.padded_depth = divided_up(product.depth, kTileDepth) * kTileDepth;
  product.row_floats = divided_up(c.group_out, tile_columns(product.tile)) * tile_columns(product.tile);
  product.weights = pack_winograd_weights(c, product.padded_depth, product.row_floats, builder);
  const uint64_t rows = static_cast<uint64_t>(product.rows);
  const uint64_t source_bytes = 36 * 4 * rows * static_cast<uint64_t>(product.depth);
  const uint64_t result_bytes = 36 * 4 * rows * static_cast<uint64_t>(product.row_floats);
  product.source = builder.scratch(source_bytes);
  product.result = builder.scratch(result_bytes);

  ConvWinograd p{};
  p.shape = conv_shape(*c.step);
  p.images = c.step->out->n;
  p.tiles_h = tiles_h(c);
  p.tiles_w = tiles_w(c);

  p.start = conv_start(c, builder);
  p.channels = c.group_in;
  p.row_floats = product.depth;
  p.scratch = product.source;
  const auto groups = [](int64_t threads) { return static_cast<uint32_t>(divided_up(threads, 128)); };
  Launch& input = builder.launch("conv_winograd_input", "conv_winograd_input", "",
                                 {groups(int64_t{product.rows} * product.depth), 1, 1}, {128, 1, 1}, p);
  input.bytes_read = rows * 36 * static_cast<uint64_t>(c.group_in) * element;
  input.bytes_written = source_bytes;

  lower_batched_product(product, builder);

  p.start = ConvStart{};
  p.end = conv_end(c, builder);
  p.channels = c.group_out;
  p.row_floats = product.row_floats;
  p.scratch = product.result;
  Launch& output = builder.launch("conv_winograd_output", "conv_winograd_output", "",
                                  {groups(int64_t{product.rows} * c.group_out), 1, 1}, {128, 1, 1}, p);
  output.bytes_read = 36 * 4 * rows * static_cast<uint64_t>(c.group_out) + c.end_bytes_read;
  output.bytes_written = c.out_elements * element;
}

}  // namespace sparsenet::gpu
