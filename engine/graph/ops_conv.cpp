// Shape rules of the ops with weights: Conv, FullyConnected, BatchNorm, and Affine and Attention, which passes make.
#include "graph/ops.h"

namespace sparsenet {
namespace {

constexpr int32_t kMaxWindow = 1 << 12;  // anything larger is a sign of damage, not a network

Status check_window(const char* what, int32_t value, int32_t low) {
  if (value >= low && value <= kMaxWindow) return {};
  return ShapeContext::mismatch(what, std::to_string(low) + " to " + std::to_string(kMaxWindow), std::to_string(value));
}

Status check_rank(const ShapeContext& c, size_t i, const char* what, size_t rank) {
  if (c.input(i).size() == rank) return {};
  return ShapeContext::mismatch(what, "rank " + std::to_string(rank), to_string(c.input(i)));
}

Status check_vector(const ShapeContext& c, size_t i, const char* what, int64_t size) {
  if (c.input(i) == Shape{size}) return {};
  return ShapeContext::mismatch(what, to_string(Shape{size}), to_string(c.input(i)));
}

Status check_matrix(const ShapeContext& c, size_t i, const char* what, int64_t rows, int64_t columns) {
  if (c.input(i) == Shape{rows, columns}) return {};
  return ShapeContext::mismatch(what, to_string(Shape{rows, columns}), to_string(c.input(i)));
}

}  // namespace

Status infer_conv(ShapeContext& c) {
  const auto& a = std::get<ConvAttrs>(c.node.attrs);
  SPARSENET_RETURN_IF_ERROR(check_activation(a.activation));
  SPARSENET_RETURN_IF_ERROR(check_rank(c, 0, "input", 4));
  SPARSENET_RETURN_IF_ERROR(check_rank(c, 1, "weight", 4));
  const Shape& x = c.input(0);
  const Shape& w = c.input(1);
  for (size_t d = 0; d < 2; ++d) {
    SPARSENET_RETURN_IF_ERROR(check_window("kernel", a.kernel[d], 1));
    SPARSENET_RETURN_IF_ERROR(check_window("stride", a.stride[d], 1));
    SPARSENET_RETURN_IF_ERROR(check_window("dilation", a.dilation[d], 1));
    SPARSENET_RETURN_IF_ERROR(check_window("padding", a.pads[d], 0));
    SPARSENET_RETURN_IF_ERROR(check_window("padding", a.pads[d + 2], 0));
    if (w[d + 2] != a.kernel[d]) {
      return c.mismatch("weight", "kernel " + std::to_string(a.kernel[0]) + "x" + std::to_string(a.kernel[1]),
                        to_string(w));
    }
  }
  if (a.groups < 1 || x[1] % a.groups != 0 || w[0] % a.groups != 0) {
    return c.mismatch(
        "groups", "a divisor of " + std::to_string(x[1]) + " input and " + std::to_string(w[0]) + " output channels",
        std::to_string(a.groups));
  }
  if (w[1] != x[1] / a.groups) {
    return c.mismatch("weight", std::to_string(x[1] / a.groups) + " input channels per group", to_string(w));
  }
  if (c.has_input(2)) SPARSENET_RETURN_IF_ERROR(check_vector(c, 2, "bias", w[0]));
  Shape out{x[0], w[0], 0, 0};
  for (size_t d = 0; d < 2; ++d) {
    const int64_t padded = x[d + 2] + a.pads[d] + a.pads[d + 2];
    const int64_t window = int64_t{a.kernel[d] - 1} * a.dilation[d] + 1;
    if (padded < window) {
      return c.mismatch("input", "at least " + std::to_string(window) + " rows and columns with padding", to_string(x));
    }
    out[d + 2] = (padded - window) / a.stride[d] + 1;
  }
  if (c.has_input(3) && c.input(3) != out) return c.mismatch("residual", to_string(out), to_string(c.input(3)));
  c.outputs[0] = std::move(out);
  return {};
}

Status infer_fully_connected(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(check_activation(std::get<FullyConnectedAttrs>(c.node.attrs).activation));
  SPARSENET_RETURN_IF_ERROR(check_rank(c, 0, "input", 2));
  SPARSENET_RETURN_IF_ERROR(check_rank(c, 1, "weight", 2));
  const Shape& x = c.input(0);
  const Shape& w = c.input(1);
  if (w[1] != x[1]) return c.mismatch("weight", std::to_string(x[1]) + " columns", to_string(w));
  if (c.has_input(2)) SPARSENET_RETURN_IF_ERROR(check_vector(c, 2, "bias", w[0]));
  c.outputs[0] = {x[0], w[0]};
  return {};
}

Status infer_batch_norm(ShapeContext& c) {
  const Shape& x = c.input(0);
  if (x.size() < 2) return c.mismatch("input", "rank 2 or more", to_string(x));
  const float epsilon = std::get<BatchNormAttrs>(c.node.attrs).epsilon;
  if (!(epsilon >= 0.f && epsilon < 1e3f)) return c.mismatch("epsilon", "0 to 1000", std::to_string(epsilon));
  static const char* const kNames[] = {"", "scale", "shift", "mean", "variance"};
  for (size_t i = 1; i <= 4; ++i) SPARSENET_RETURN_IF_ERROR(check_vector(c, i, kNames[i], x[1]));
  c.outputs[0] = x;
  return {};
}

Status infer_affine(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(check_activation(std::get<AffineAttrs>(c.node.attrs).activation));
  return infer_scale(c);
}

Status infer_scale(ShapeContext& c) {
  const Shape& x = c.input(0);
  if (x.size() < 2) return c.mismatch("input", "rank 2 or more", to_string(x));
  SPARSENET_RETURN_IF_ERROR(check_vector(c, 1, "scale", x[1]));
  SPARSENET_RETURN_IF_ERROR(check_vector(c, 2, "shift", x[1]));
  c.outputs[0] = x;
  return {};
}

Status infer_attention(ShapeContext& c) {
  SPARSENET_RETURN_IF_ERROR(check_rank(c, 0, "input", 4));
  const int64_t channels = c.input(0)[1];
  SPARSENET_RETURN_IF_ERROR(check_activation(std::get<AttentionAttrs>(c.node.attrs).activation));
  SPARSENET_RETURN_IF_ERROR(check_activation(std::get<AttentionAttrs>(c.node.attrs).gate));
  const bool paper = std::get<AttentionAttrs>(c.node.attrs).kind == AttentionAttrs::Kind::kPaper;
  const size_t expected = paper ? 9 : 5;
  if (c.input_count() != expected) {
    return c.mismatch("inputs", std::to_string(expected), std::to_string(c.input_count()));
  }
  for (size_t i = 1; i < expected; ++i) {
    if (!c.has_input(i)) return invalid_model("input " + std::to_string(i) + " is required but absent");
  }
  if (paper) {
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 1, "s1", channels));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 2, "t1", channels));
    SPARSENET_RETURN_IF_ERROR(check_matrix(c, 3, "W1", channels, channels));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 4, "b1", channels));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 5, "s2", 2 * channels));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 6, "t2", 2 * channels));
    SPARSENET_RETURN_IF_ERROR(check_matrix(c, 7, "W2", channels, 2 * channels));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 8, "b2", channels));
  } else {
    SPARSENET_RETURN_IF_ERROR(check_rank(c, 1, "W1", 2));
    const int64_t reduced = c.input(1)[0];
    SPARSENET_RETURN_IF_ERROR(check_matrix(c, 1, "W1", reduced, channels));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 2, "b1", reduced));
    SPARSENET_RETURN_IF_ERROR(check_matrix(c, 3, "W2", channels, reduced));
    SPARSENET_RETURN_IF_ERROR(check_vector(c, 4, "b2", channels));
  }
  c.outputs[0] = c.input(0);
  return {};
}

}  // namespace sparsenet
