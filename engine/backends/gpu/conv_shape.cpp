#include "backends/gpu/conv_shape.h"

#include <array>

namespace sparsenet::gpu {
namespace {

// Whether four channels from a multiple of four on are neighbours in memory, at a multiple of four elements.
bool has_vectors(const snp_view& view) {
  for (uint32_t i = 0; i < view.segment_count; ++i) {
    const snp_segment& segment = *SNP_AT(snp_segment, view.segments, i);
    // Constants are copied to a multiple of 16 bytes.
    const bool placed = segment.constant >= 0 || segment.offset % 16 == 0;
    if (!placed || segment.pixel_stride % 4 != 0 || segment.channels % 4 != 0) return false;
  }
  return true;
}

}  // namespace

ConvSizes conv_sizes(const snp_step& s, const Builder& builder) {
  const snp_window& w = *s.window;
  ConvSizes c{};
  c.step = &s;
  c.rows = s.out->n * s.out->h * s.out->w;
  c.groups = s.conv->groups;
  c.group_in = s.in->c / c.groups;
  c.group_out = s.out->c / c.groups;
  c.taps = w.kernel_h * w.kernel_w;
  c.depth = c.taps * c.group_in;
  c.pointwise = c.taps == 1 && w.stride_h == 1 && w.stride_w == 1 && w.pad_top == 0 && w.pad_left == 0 &&
                s.in->h == s.out->h && s.in->w == s.out->w;
  c.depthwise = c.groups > 1 && c.group_in == 1 && c.group_out == 1;
  c.vectors_in = has_vectors(*s.in) && (c.depthwise ? s.in->c : c.group_in) % 4 == 0;
  c.vectors_out = Builder::is_plain(*s.out) && has_vectors(*s.out) &&
                  (!s.in2 || (Builder::is_plain(*s.in2) && has_vectors(*s.in2))) &&
                  (c.depthwise ? s.out->c : c.group_out) % 4 == 0 && (!s.act || s.act->kind == SNP_CLAMP);
  c.in_elements = static_cast<uint64_t>(s.in->n) * static_cast<uint64_t>(s.in->h) * static_cast<uint64_t>(s.in->w) *
                  static_cast<uint64_t>(s.in->c);
  c.out_elements = static_cast<uint64_t>(c.rows) * static_cast<uint64_t>(s.out->c);
  c.end_bytes_read = (s.in2 ? c.out_elements * builder.element_bytes() : 0) + (s.conv->bias ? c.out_elements * 4 : 0);
  return c;
}

ConvShape conv_shape(const snp_step& s) {
  const snp_window& w = *s.window;
  return {s.in->h,    s.in->w,    s.out->h,     s.out->w,     w.kernel_h, w.kernel_w,
          w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, w.pad_top,  w.pad_left};
}

ConvStart conv_start(const ConvSizes& sizes, Builder& builder) {
  const snp_step& s = *sizes.step;
  ConvStart start{};
  start.in = builder.view(*s.in);
  start.vectors = sizes.vectors_in;
  if (s.affine) {
    const uint64_t channels = static_cast<uint64_t>(s.in->c);
    start.has_affine = 1;
    start.scale = builder.weight_floats(builder.floats_of(*s.affine->scale, channels));
    start.shift = builder.weight_floats(builder.floats_of(*s.affine->shift, channels));
    start.low = s.affine->low;
    start.high = s.affine->high;
  }
  return start;
}

ConvEnd conv_end(const ConvSizes& sizes, Builder& builder) {
  const snp_step& s = *sizes.step;
  ConvEnd end{};
  end.out = builder.view(*s.out);
  end.vectors = sizes.vectors_out;
  end.act = Builder::activation(s.act);
  if (s.in2) {
    end.has_in2 = 1;
    end.in2 = builder.view(*s.in2);
  }
  if (s.conv->bias) {
    end.has_bias = 1;
    end.bias = builder.weight_floats(builder.floats_of(*s.conv->bias, static_cast<uint64_t>(s.out->c)));
  }
  return end;
}

namespace {

// The weights as they are, or nothing if the builder only measures.
std::vector<float> weights_of(const ConvSizes& c, Builder& builder) {
  return builder.floats_of(*c.step->conv->weight,
                           static_cast<uint64_t>(c.step->out->c) * static_cast<uint64_t>(c.depth));
}

size_t product(int a, int b) {
  return static_cast<size_t>(a) * static_cast<size_t>(b);
}

}  // namespace

uint32_t pack_conv_weights(const ConvSizes& c, int padded_depth, int panels, int panel_floats, Builder& builder) {
  const size_t panel = product(padded_depth, panel_floats), matrix = panel * static_cast<size_t>(panels);
  const size_t count = matrix * static_cast<size_t>(c.groups);
  if (builder.measure_only()) return builder.weight_bytes(nullptr, count * builder.element_bytes());
  const std::vector<float> from = weights_of(c, builder);
  std::vector<float> to(count);
  for (int o = 0; o < c.step->out->c; ++o) {
    const int column = o % c.group_out;
    float* first = to.data() + matrix * static_cast<size_t>(o / c.group_out) +
                   panel * static_cast<size_t>(column / panel_floats) + static_cast<size_t>(column % panel_floats);
    const float* row = from.data() + product(o, c.depth);
    for (int i = 0; i < c.group_in; ++i) {
      for (int tap = 0; tap < c.taps; ++tap)
        first[product(tap * c.group_in + i, panel_floats)] = row[product(i, c.taps) + static_cast<size_t>(tap)];
    }
  }
  return builder.weight_elements(to);
}

uint32_t pack_conv_columns(const ConvSizes& c, int row_floats, Builder& builder) {
  const size_t count = product(c.depth, row_floats);
  if (builder.measure_only()) return builder.weight_bytes(nullptr, count * builder.element_bytes());
  const std::vector<float> from = weights_of(c, builder);
  std::vector<float> to(count);
  for (int o = 0; o < c.step->out->c; ++o) {
    for (int i = 0; i < c.group_in; ++i) {
      for (int tap = 0; tap < c.taps; ++tap)
        to[product(tap * c.group_in + i, row_floats) + static_cast<size_t>(o)] =
            from[product(o, c.depth) + product(i, c.taps) + static_cast<size_t>(tap)];
    }
  }
  return builder.weight_elements(to);
}

uint32_t pack_winograd_weights(const ConvSizes& c, int padded_depth, int row_floats, Builder& builder) {
  const size_t matrix = product(padded_depth, row_floats);
  if (builder.measure_only()) return builder.weight_bytes(nullptr, 36 * matrix * 4);
  static constexpr double kG[6][3] = {{1. / 4, 0, 0},
                                      {-1. / 6, -1. / 6, -1. / 6},
                                      {-1. / 6, 1. / 6, -1. / 6},
                                      {1. / 24, 1. / 12, 1. / 6},
                                      {1. / 24, -1. / 12, 1. / 6},
                                      {0, 0, 1}};
  const std::vector<float> from = weights_of(c, builder);
  std::vector<float> to(36 * matrix);
  for (int o = 0; o < c.group_out; ++o) {
    for (int i = 0; i < c.group_in; ++i) {
      const float* w = from.data() + (product(o, c.group_in) + static_cast<size_t>(i)) * 9;
      double half[6][3];  // G w
      for (int y = 0; y < 6; ++y) {
        for (int x = 0; x < 3; ++x)
          half[y][x] = kG[y][0] * double{w[x]} + kG[y][1] * double{w[3 + x]} + kG[y][2] * double{w[6 + x]};
      }
      for (int y = 0; y < 6; ++y) {
        for (int x = 0; x < 6; ++x)
          to[static_cast<size_t>(y * 6 + x) * matrix + product(i, row_floats) + static_cast<size_t>(o)] =
              static_cast<float>(half[y][0] * kG[x][0] + half[y][1] * kG[x][1] + half[y][2] * kG[x][2]);
      }
    }
  }
  return builder.weight_floats(to);
}

}  // namespace sparsenet::gpu
