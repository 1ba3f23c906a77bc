// ONNX Resize and Upsample. Resizing along an axis is a product with a constant matrix, whose rows hold the weights of
// the source elements.
#include <algorithm>
#include <cmath>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

struct Request {
  std::string mode = "nearest", coordinates = "half_pixel", nearest = "round_prefer_floor";
  float cubic = -0.75f;
  bool exclude_outside = false;
};

// Where element i of the result lies in the source. In single precision, as elsewhere: it decides where rounding ties.
float source_position(const Request& r, int64_t i, int64_t in, int64_t out, float scale) {
  const auto x = static_cast<float>(i), from = static_cast<float>(in), to = static_cast<float>(out);
  if (r.coordinates == "align_corners") return out == 1 ? 0.f : x * (from - 1.f) / (to - 1.f);
  if (r.coordinates == "asymmetric") return x / scale;
  if (r.coordinates == "pytorch_half_pixel" && out == 1) return 0.f;
  if (r.coordinates == "tf_half_pixel_for_nn") return (x + 0.5f) / scale;
  float offset = 0.f;
  if (r.coordinates == "half_pixel_symmetric") offset = from / 2.f * (1.f - to / (scale * from));
  return offset + (x + 0.5f) / scale - 0.5f;
}

int64_t nearest_index(const Request& r, float x) {
  if (r.nearest == "floor") return static_cast<int64_t>(std::floor(x));
  if (r.nearest == "ceil") return static_cast<int64_t>(std::ceil(x));
  if (r.nearest == "round_prefer_ceil") return static_cast<int64_t>(std::floor(x + 0.5f));
  return static_cast<int64_t>(std::ceil(x - 0.5f));
}

// The weight of a source element at this distance.
double cubic_weight(double a, double distance) {
  const double d = std::fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? a * (((d - 5) * d + 8) * d - 4) : 0;
}

// The matrix [out, in].
Elements<float> resize_matrix(const Request& r, int64_t in, int64_t out, float scale) {
  Elements<float> matrix;
  matrix.resize(static_cast<size_t>(in * out), 0.f);
  float* row = matrix.data();
  for (int64_t i = 0; i < out; ++i, row += in) {
    const float position = source_position(r, i, in, out, scale);
    const auto x = static_cast<double>(position);
    const auto add = [&](int64_t at, double weight) {
      row[std::clamp<int64_t>(at, 0, in - 1)] += static_cast<float>(weight);
    };
    if (r.mode == "nearest") {
      add(nearest_index(r, position), 1);
      continue;
    }
    const double floor = std::floor(x);
    const auto left = static_cast<int64_t>(floor);
    if (r.mode == "linear") {
      add(left, 1 - (x - floor));
      add(left + 1, x - floor);
      continue;
    }
    double sum = 0;
    for (int64_t tap = left - 1; tap <= left + 2; ++tap) {
      const double weight = cubic_weight(static_cast<double>(r.cubic), x - static_cast<double>(tap));
      if (r.exclude_outside && (tap < 0 || tap >= in)) continue;
      sum += weight;
      add(tap, weight);
    }
    for (int64_t at = 0; r.exclude_outside && at < in; ++at) row[at] = static_cast<float>(row[at] / sum);
  }
  return matrix;
}

Status read_request(NodeContext& c, Request* r) {
  const bool old = c.op() == "Upsample" || c.opset() < 11;
  r->mode = c.string_attribute("mode", "nearest");
  if (r->mode == "bilinear") r->mode = "linear";
  r->coordinates = c.string_attribute("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
  r->nearest = c.string_attribute("nearest_mode", old ? "floor" : "round_prefer_floor");
  r->cubic = c.float_attribute("cubic_coeff_a", -0.75f);
  r->exclude_outside = c.int_attribute("exclude_outside", 0) != 0;
  if (c.int_attribute("antialias", 0) != 0) return unsupported("antialias 1: expected 0");
  if (c.string_attribute("keep_aspect_ratio_policy", "stretch") != "stretch") {
    return unsupported("keep_aspect_ratio_policy: expected stretch");
  }
  const auto one_of = [](const std::string& value, std::initializer_list<const char*> known) {
    return std::any_of(known.begin(), known.end(), [&](const char* name) { return value == name; });
  };
  if (!one_of(r->mode, {"nearest", "linear", "cubic"})) {
    return unsupported("mode: expected nearest, linear or cubic, found '" + printable(r->mode) + "'");
  }
  if (!one_of(r->coordinates, {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                               "asymmetric", "tf_half_pixel_for_nn"})) {
    return unsupported("coordinate_transformation_mode '" + printable(r->coordinates) +
                       "': expected half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners or asymmetric");
  }
  if (!one_of(r->nearest, {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"})) {
    return unsupported("nearest_mode: expected floor, ceil or round_prefer_floor or _ceil, found '" +
                       printable(r->nearest) + "'");
  }
  return {};
}

// Sizes and scales of all dimensions. Since opset 18 a file may give those of some axes only.
Status read_sizes(NodeContext& c, const Shape& shape, Shape* sizes, std::vector<float>* scales) {
  const size_t scales_at = c.op() == "Upsample" || c.opset() < 11 ? 1 : 2;
  std::vector<int64_t> axes = c.ints_attribute("axes");
  if (axes.empty()) {
    for (size_t d = 0; d < shape.size(); ++d) axes.push_back(static_cast<int64_t>(d));
  }
  *sizes = shape;
  scales->assign(shape.size(), 1);
  const OnnxValue* given = c.input(scales_at);
  const bool by_scale = given && !(given->constant && given->constant->size() == 0);
  std::vector<int64_t> wanted;
  std::vector<float> factors;
  if (by_scale) {
    SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr tensor, c.constant(scales_at, "scales"));
    factors = std::vector<float>(tensor->floats);
    c.state().record_use(*tensor, "", "read as scales");
  } else {
    SPARSENET_ASSIGN_OR_RETURN(wanted, c.ints(3, "sizes"));
  }
  const size_t count = by_scale ? factors.size() : wanted.size();
  if (count != axes.size()) {
    return invalid_model(std::string(by_scale ? "scales" : "sizes") + ": expected " + std::to_string(axes.size()) +
                         ", found " + std::to_string(count));
  }
  constexpr int64_t kMost = 1 << 14;
  for (size_t i = 0; i < count; ++i) {
    SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(axes[i], shape.size()));
    const auto at = static_cast<size_t>(axis);
    const auto in = static_cast<float>(shape[at]);
    const float scale = by_scale ? factors[i] : static_cast<float>(wanted[i]) / in;
    const float size = by_scale ? std::floor(in * scale) : static_cast<float>(wanted[i]);
    if (!(scale > 0.f) || !(size >= 1.f) || size > static_cast<float>(kMost)) {
      return unsupported("size of dimension " + std::to_string(axis) + ": expected 1 to " + std::to_string(kMost));
    }
    (*sizes)[at] = static_cast<int64_t>(size);
    (*scales)[at] = scale;
  }
  return {};
}

Status import_resize(NodeContext& c) {
  Request request;
  SPARSENET_RETURN_IF_ERROR(read_request(c, &request));
  Compose g(c);
  const ValueId x = g.input(0);
  if (!g.ok()) return g.finish(x);
  const Shape shape = g.shape(x);
  Shape sizes;
  std::vector<float> scales;
  SPARSENET_RETURN_IF_ERROR(read_sizes(c, shape, &sizes, &scales));
  ValueId y = x;
  for (size_t d = 0; d < shape.size(); ++d) {
    if (sizes[d] == shape[d] && scales[d] == 1.f) continue;
    const size_t last = shape.size() - 1;
    if (d + 2 < shape.size() || d == 0) {
      return unsupported("resizes dimension " + std::to_string(d) + " of " + to_string(shape) +
                         ": expected the last two alone");
    }
    HostTensor matrix;
    matrix.shape = {sizes[d], shape[d]};
    matrix.floats = resize_matrix(request, shape[d], sizes[d], scales[d]);
    if (d == last) matrix = transposed(matrix, {1, 0});
    const ValueId constant = g.constant(matrix.shape, std::move(matrix.floats));
    y = d == last ? g.node(Op::kMatMul, {y, constant}) : g.node(Op::kMatMul, {constant, y});
  }
  if (y == x) {
    c.alias_output(0, 0);
    return {};
  }
  return g.finish(y);
}

}  // namespace

NodeImporter find_resize_op(const std::string& op) {
  return op == "Resize" || op == "Upsample" ? import_resize : nullptr;
}

}  // namespace sparsenet::converter
