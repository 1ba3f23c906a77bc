// Convolutions that are no products of large matrices: depthwise ones, groups of few channels, and few pixels.
#include <algorithm>

#include "backends/gpu/conv_shape.h"

namespace sparsenet::gpu {
namespace {

constexpr int kThreads = 128, kStrip = 4;
constexpr int kFewThreads = 256, kRowsOfGroup = 4, kFewColumns = 32;  // conv_few.cl

ConvDirect params_of(const ConvSizes& c, int row_floats, Builder& builder) {
  ConvDirect p{};
  p.start = conv_start(c, builder);
  p.end = conv_end(c, builder);
  p.shape = conv_shape(*c.step);
  p.images = c.step->out->n;
  p.channels = c.step->out->c;
  p.group_in = c.group_in;
  p.group_out = c.group_out;
  p.row_floats = row_floats;
  p.weights = pack_conv_columns(c, row_floats, builder);
  return p;
}

}  // namespace

void lower_conv_direct(const ConvSizes& c, Builder& builder) {
  const snp_view& out = *c.step->out;
  const ConvDirect p = params_of(c, out.c, builder);
  const int width = c.vectors_in ? 4 : 1;
  const int64_t strips = int64_t{out.n} * out.h * divided_up(out.w, kStrip);
  const int64_t threads = strips * (c.depthwise ? out.c / width : out.c);
  const std::string defines = "-DWIDTH=" + std::to_string(width) + " -DSTRIP=" + std::to_string(kStrip);
  const char* name = c.depthwise ? "conv_direct" : "conv_grouped";
  Launch& launch = builder.launch(name, name, defines, {static_cast<uint32_t>(divided_up(threads, kThreads)), 1, 1},
                                  {kThreads, 1, 1}, p);
  const uint64_t products = c.out_elements * static_cast<uint64_t>(c.depth);
  launch.bytes_read = (products + products / kStrip) * builder.element_bytes() + c.end_bytes_read;
  launch.bytes_written = c.out_elements * builder.element_bytes();
}

void lower_conv_few(const ConvSizes& c, Builder& builder) {
  const int column_groups = divided_up(c.step->out->c, kFewColumns);
  ConvDirect p = params_of(c, column_groups * kFewColumns, builder);
  p.images = c.rows;
  const int rows = std::min(c.rows, kRowsOfGroup) == 1 ? 1 : kRowsOfGroup;
  const int row_groups = divided_up(c.rows, rows);
  Launch& launch = builder.launch("conv_few", "conv_few", "-DROWS=" + std::to_string(rows),
                                  {static_cast<uint32_t>(column_groups), static_cast<uint32_t>(row_groups), 1},
                                  {kFewThreads, 1, 1}, p);
  const uint64_t weights = static_cast<uint64_t>(c.depth) * static_cast<uint64_t>(p.row_floats);
  launch.bytes_read =
      (weights * static_cast<uint64_t>(row_groups) + c.in_elements * static_cast<uint64_t>(column_groups)) *
          builder.element_bytes() +
      c.end_bytes_read;
  launch.bytes_written = c.out_elements * builder.element_bytes();
}

}  // namespace sparsenet::gpu
