// Inputs and outputs: see kernels/ports.cl.
#include "backends/gpu/index_space.h"
#include "backends/gpu/kernels/ports_params.h"

namespace sparsenet::gpu {
namespace {

constexpr int kPortTile = 32;
constexpr int kFewChannels = 8;  // whose tiles would be nearly empty

// The place of a range in elements, or in bytes of integers; that of a constant in the block of weights.
uint32_t place_of(const snp_view& view, const snp_segment& segment, bool bytes, Builder& builder) {
  const uint64_t size = bytes ? 1 : 4;
  if (segment.constant < 0) return static_cast<uint32_t>(segment.offset / size);
  const uint64_t count =
      (pixels_of(view) - 1) * static_cast<uint64_t>(segment.pixel_stride) + static_cast<uint64_t>(segment.channels);
  snp_parameter parameter{};
  parameter.struct_size = sizeof parameter;
  parameter.constant = segment.constant;
  parameter.offset = segment.offset;
  if (!bytes) return builder.weight_elements(parameter, count) / builder.element_bytes();
  return builder.weight_bytes(builder.data_of(parameter), count);
}

}  // namespace

const char* lower_port(const snp_port& port, bool input, Builder& builder) {
  const snp_view& view = *port.view;
  const bool bytes = view.type == SNP_INT8 || view.type == SNP_UINT8;
  if (!bytes && view.type != SNP_FLOAT32) return "its elements are neither float32 nor integers of 8 bits";
  if (port.bytes != elements_of(view) * (bytes ? 1 : 4)) return "its size outside is not that of its view";
  int first = 0;
  for (uint32_t i = 0; i < view.segment_count; ++i) {
    const snp_segment& segment = *SNP_AT(snp_segment, view.segments, i);
    if (segment.constant >= 0 && input) return "an input in a constant cannot be set";
    if (segment.channels < 1 || segment.channels > view.c - first || segment.pixel_stride < 0)
      return "its ranges of channels do not add up";
    PortParams p{};
    p.input = input ? 1 : 0;
    p.in_weights = segment.constant >= 0 ? 1 : 0;
    p.at = place_of(view, segment, bytes, builder);
    p.stride = static_cast<unsigned>(segment.pixel_stride);
    p.pixels = view.h * view.w;
    p.channels = segment.channels;
    p.first = first;
    p.all = view.c;
    const uint64_t items = pixels_of(view) * static_cast<uint64_t>(segment.channels);
    p.items = static_cast<uint32_t>(items);
    p.tiles_channels = (p.channels - 1) / kPortTile + 1;
    p.tiles_pixels = (p.pixels - 1) / kPortTile + 1;
    const std::string defines = bytes ? "-DBYTES" : "";
    const bool direct = p.pixels == 1 || p.channels <= kFewChannels;
    const auto tiles =
        static_cast<uint64_t>(p.tiles_channels) * static_cast<uint64_t>(p.tiles_pixels) * static_cast<uint64_t>(view.n);
    Launch& launch =
        direct ? builder.launch("ports", "port_direct", defines, {divide_up(items, 256), 1, 1}, {256, 1, 1}, p)
               : builder.launch("ports", "port_tiles", defines, {static_cast<uint32_t>(tiles), 1, 1}, {kPortTile, 8, 1},
                                p);
    const uint64_t outside = items * (bytes ? 1 : 4), inside = items * (bytes ? 1 : builder.element_bytes());
    launch.bytes_read = input ? outside : inside;
    launch.bytes_written = input ? inside : outside;
    first += segment.channels;
  }
  return first == view.c ? nullptr : "its ranges of channels do not add up";
}

}  // namespace sparsenet::gpu
