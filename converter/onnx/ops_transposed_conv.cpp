// ONNX ConvTranspose, as a convolution: with a stride s, each of the s x s positions of an output pixel in its block
// has a kernel of its own, made of every s-th tap. These are channels of one convolution, which are then moved to
// blocks of pixels; at the end the padding is cut off.
#include <algorithm>

#include "converter/onnx/compose.h"
#include "converter/onnx/window.h"

namespace sparsenet::converter {
namespace {

// One dimension of the operator.
struct SpreadAxis {
  int64_t in, kernel, stride, dilation, before, after, extra;  // extra: output_padding
  int64_t span, taps, blocks, out;                             // span: taps with the gaps between them

  void resolve() {
    span = (kernel - 1) * dilation + 1;
    taps = (span + stride - 1) / stride;
    out = stride * (in - 1) + extra + span - before - after;
    blocks = std::max(in + taps - 1, (before + out + stride - 1) / stride);
  }
};

Status read_axis(NodeContext& c, size_t d, size_t rank, const Shape& image, const Window& window, SpreadAxis* axis) {
  const std::vector<int64_t> extra = c.ints_attribute("output_padding"), sizes = c.ints_attribute("output_shape");
  *axis = {image[d + 2],
           window.kernel[d],
           window.stride[d],
           window.dilation[d],
           window.pads[d],
           window.pads[d + 2],
           0,
           0,
           0,
           0,
           0};
  const bool inside = d >= 2 - rank;
  const size_t at = inside ? d - (2 - rank) : 0;
  if (inside && extra.size() == rank) axis->extra = extra[at];
  if (axis->extra < 0 || axis->extra > 4096) return invalid_model("output_padding: expected 0 to 4096");
  axis->resolve();
  const std::string pad = c.string_attribute("auto_pad", "NOTSET");
  const bool same = pad == "SAME_UPPER" || pad == "SAME_LOWER";
  int64_t wanted = 0;
  if (inside && sizes.size() >= rank) wanted = sizes[sizes.size() - rank + at];
  if (same && wanted == 0) wanted = axis->in * axis->stride;
  if (wanted != 0) {  // what the kernel does not reach is as output_padding
    if (wanted < 1 || wanted > INT32_MAX)
      return invalid_model("output_shape: expected 1 or more, found " + std::to_string(wanted));
    const int64_t total = axis->stride * (axis->in - 1) + axis->extra + axis->span - wanted;
    if (-total > 4096) return unsupported("output_shape: expected what the kernel reaches, about");
    axis->extra += std::max<int64_t>(0, -total);
    axis->before = pad == "SAME_UPPER" ? std::max<int64_t>(0, total) / 2 : (std::max<int64_t>(0, total) + 1) / 2;
    axis->after = std::max<int64_t>(0, total) - axis->before;
    axis->resolve();
  }
  if (axis->out < 1 || axis->before < 0 || axis->after < 0) return invalid_model("pads: nothing of the output is left");
  return {};
}

// The weights [O s s, I / groups, taps, taps] of the convolution, from [I, O / groups, kernel, kernel].
Elements<float> block_weights(const HostTensor& weight, int64_t groups, const SpreadAxis& y, const SpreadAxis& x) {
  const Shape& w = weight.shape;
  const int64_t in = w[0] / groups, out = w[1];
  Elements<float> result;
  result.resize(static_cast<size_t>(groups * out * y.stride * x.stride * in * y.taps * x.taps), 0.f);
  float* to = result.data();
  const float* from = weight.floats.data();
  for (int64_t o = 0; o < groups * out; ++o) {
    for (int64_t ry = 0; ry < y.stride; ++ry) {
      for (int64_t rx = 0; rx < x.stride; ++rx) {
        for (int64_t i = 0; i < in; ++i) {
          for (int64_t ty = 0; ty < y.taps; ++ty) {
            for (int64_t tx = 0; tx < x.taps; ++tx, ++to) {
              const int64_t qy = ry + y.stride * (y.taps - 1 - ty), qx = rx + x.stride * (x.taps - 1 - tx);
              if (qy >= y.span || qx >= x.span || qy % y.dilation != 0 || qx % x.dilation != 0) continue;
              const int64_t row = (o / out * in + i) * out + o % out;
              *to = from[(row * y.kernel + qy / y.dilation) * x.kernel + qx / x.dilation];
            }
          }
        }
      }
    }
  }
  return result;
}

Status import_conv_transpose(NodeContext& c) {
  SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, c.constant(1, "weight"));
  HostTensor weight = *tensor;
  if (weight.shape.size() != 3 && weight.shape.size() != 4) {
    return unsupported("expected one or two dimensions (weight of rank 3 or 4), found weight " +
                       to_string(weight.shape));
  }
  Window window;
  SPARSENET_RETURN_IF_ERROR(window.read(c, Shape(weight.shape.begin() + 2, weight.shape.end())));
  const size_t rank = window.line ? 1 : 2;
  if (window.line) weight.shape.insert(weight.shape.begin() + 2, 1);
  const int64_t groups = c.int_attribute("group", 1);
  SPARSENET_ASSIGN_OR_RETURN(ValueId input, c.value(0));
  const Shape shape = c.writer().shape(input), image = window.image_shape(shape);
  if (image.size() != 4 || groups < 1 || weight.shape[0] != image[1] || image[1] % groups != 0) {
    return invalid_model("input: expected [N, " + std::to_string(weight.shape[0]) + ", ...] of " +
                         std::to_string(groups) + " groups, found " + to_string(shape));
  }
  SpreadAxis y{}, x{};
  SPARSENET_RETURN_IF_ERROR(read_axis(c, 0, rank, image, window, &y));
  SPARSENET_RETURN_IF_ERROR(read_axis(c, 1, rank, image, window, &x));
  const int64_t outputs = weight.shape[1] * groups, block = y.stride * x.stride;
  constexpr int64_t kMost = 4096;
  if (y.taps > kMost || x.taps > kMost || y.blocks - y.in > kMost || x.blocks - x.in > kMost || block > kMost) {
    return unsupported("expected kernel, stride and padding of at most 4096");
  }
  const Shape filter{outputs * block, weight.shape[0] / groups, y.taps, x.taps};
  if (element_count(filter) < 0) return unsupported("weight: expected fewer elements than " + to_string(filter));
  Compose g(c);
  ConvAttrs conv;
  conv.kernel = {static_cast<int32_t>(y.taps), static_cast<int32_t>(x.taps)};
  conv.pads = {static_cast<int32_t>(y.taps - 1), static_cast<int32_t>(x.taps - 1),
               static_cast<int32_t>(y.blocks - y.in), static_cast<int32_t>(x.blocks - x.in)};
  conv.groups = static_cast<int32_t>(groups);
  std::vector<ValueId> inputs{g.reshape(input, image)};
  inputs.push_back(c.add_constant(*tensor, filter, block_weights(weight, groups, y, x), "rearranged"));
  if (c.has_input(2)) {
    SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr bias, c.constant(2, "bias"));
    if (bias->size() != static_cast<size_t>(outputs)) {
      return invalid_model("bias: expected " + std::to_string(outputs) + " numbers, found " + to_string(bias->shape));
    }
    Elements<float> values;
    values.resize(static_cast<size_t>(outputs * block));
    float* to = values.data();
    for (int64_t i = 0; i < outputs * block; ++i) to[i] = bias->floats[static_cast<size_t>(i / block)];
    inputs.push_back(c.add_constant(*bias, {outputs * block}, values, "repeated"));
  }
  ValueId out = g.node(Op::kConv, inputs, conv);
  if (block > 1) {
    out = g.reshape(out, {image[0], outputs, y.stride, x.stride, y.blocks, x.blocks});
    out =
        g.reshape(g.transpose(out, {0, 1, 4, 2, 5, 3}), {image[0], outputs, y.blocks * y.stride, x.blocks * x.stride});
  }
  const SpreadAxis* const axes[] = {&y, &x};
  SliceAttrs cut;
  for (int32_t d = 0; d < 2; ++d) {
    const SpreadAxis& a = *axes[d];
    if (a.before == 0 && a.out == a.blocks * a.stride) continue;
    cut.axes.push_back(d + 2);
    cut.starts.push_back(a.before);
    cut.ends.push_back(a.before + a.out);
    cut.steps.push_back(1);
  }
  if (!cut.axes.empty()) out = g.node(Op::kSlice, {out}, std::move(cut));
  return g.finish(window.line ? g.reshape(out, {image[0], outputs, x.out}) : out);
}

}  // namespace

NodeImporter find_transposed_conv_op(const std::string& op) {
  return op == "ConvTranspose" ? import_conv_transpose : nullptr;
}

}  // namespace sparsenet::converter
