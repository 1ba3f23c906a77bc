// Graphs of one convolution, for tables of shapes.
#pragma once

#include <sparsenet/graph.h>

#include "support/graph_maker.h"

namespace sparsenet::test {

struct ConvCase {
  Shape x;  // [N, C, H, W]
  int64_t outputs;
  int32_t window_h, window_w, stride, dilation, groups;
  bool residual;  // a second input of the output's shape, which is added
  Activation::Kind activation;
};

// Padded so that stride 1 keeps the size of images if the window's sides are odd.
inline Graph conv_graph(Random& random, const ConvCase& c) {
  ConvAttrs attrs;
  attrs.kernel = {c.window_h, c.window_w};
  attrs.stride = {c.stride, c.stride};
  attrs.dilation = {c.dilation, c.dilation};
  const int32_t pad_h = c.window_h / 2 * c.dilation, pad_w = c.window_w / 2 * c.dilation;
  attrs.pads = {pad_h, pad_w, pad_h, pad_w};
  attrs.groups = c.groups;
  attrs.activation.kind = c.activation;
  if (c.activation == Activation::Kind::kSilu) attrs.activation.a = 1.f;
  GraphMaker g(random);
  const ValueId x = g.input(c.x);
  if (!c.residual) return g.finish({g.conv(x, c.outputs, attrs, true)});
  GraphMaker probe(random);  // determines the output's shape
  const Shape out = probe.shape(probe.conv(probe.input(c.x), c.outputs, attrs, false));
  return g.finish({g.conv(x, c.outputs, attrs, true, g.input(out))});
}

}  // namespace sparsenet::test
