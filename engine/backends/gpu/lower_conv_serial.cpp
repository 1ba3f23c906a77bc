// Convolutions as products of matrices on CPUs: conv_serial.cl.
#include <algorithm>

#include "backends/gpu/conv_shape.h"

namespace sparsenet::gpu {
namespace {

constexpr int kRows = 8, kPanel = 16, kMostPanels = 4;  // of conv_serial.cl
constexpr int64_t kThreadsPerUnit = 4;                  // that keep all cores at work until the end

}  // namespace

void lower_conv_serial(const ConvSizes& c, Builder& builder) {
  ConvSerial p{};
  p.start = conv_start(c, builder);
  p.end = conv_end(c, builder);
  p.shape = conv_shape(*c.step);
  p.rows = c.rows;
  p.depth = c.depth;
  p.columns = c.group_out;
  p.group_in = c.group_in;
  p.panels = divided_up(c.group_out, kPanel);
  p.weights = pack_conv_weights(c, c.depth, p.panels, kPanel, builder);

  // A thread uses the windows that it gathers for all of its panels: it has several, if there are threads enough.
  const int tiles = divided_up(c.rows, kRows);
  const int64_t wanted = kThreadsPerUnit * std::max(1u, builder.device().units);
  p.thread_panels = std::min(kMostPanels, p.panels);
  while (p.thread_panels > 1 && int64_t{tiles} * c.groups * divided_up(p.panels, p.thread_panels) < wanted)
    --p.thread_panels;
  const int blocks = divided_up(p.panels, p.thread_panels);
  Launch& launch = builder.launch(
      "conv_serial", "conv_serial", "",
      {static_cast<uint32_t>(tiles) * static_cast<uint32_t>(c.groups), static_cast<uint32_t>(blocks), 1}, {1, 1, 1}, p);
  const uint64_t gathered = static_cast<uint64_t>(c.rows) * static_cast<uint64_t>(blocks);
  const uint64_t weights = static_cast<uint64_t>(tiles) * static_cast<uint64_t>(p.panels * kPanel);
  launch.bytes_read = (gathered + weights) * static_cast<uint64_t>(c.depth) * static_cast<uint64_t>(c.groups) *
                          builder.element_bytes() +
                      c.end_bytes_read;
  launch.bytes_written = c.out_elements * builder.element_bytes();
}

}  // namespace sparsenet::gpu
