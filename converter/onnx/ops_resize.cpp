// ONNX Resize and Upsample. Resizing along an axis is a product with a constant matrix, whose rows hold the weights of
// the source elements.
#include <algorithm>
#include <cmath>

#include "converter/onnx/compose.h"

namespace sparsenet::converter {
namespace {

struct ResizeRequest {
  std::string mode = "nearest", coordinates = "half_pixel", nearest = "round_prefer_floor";
  float cubic = -0.75f;
  bool exclude_outside = false, antialias = false;
  std::string policy = "stretch";
  std::vector<float> region;  // tf_crop_and_resize: where the crop begins in every dimension, then where it ends
  float outside = 0;          // tf_crop_and_resize: what lies outside of the source
  bool crops() const { return coordinates == "tf_crop_and_resize"; }
};

// How one dimension is resized.
struct ResizedAxis {
  int64_t in = 1, out = 1;
  float scale = 1;
  float begin = 0, end = 1;  // of the region, as fractions of the dimension
};

// Where element i of the result lies in the source. In single precision, as elsewhere: it decides where rounding ties.
float source_position(const ResizeRequest& r, const ResizedAxis& axis, int64_t i) {
  const auto x = static_cast<float>(i), from = static_cast<float>(axis.in), to = static_cast<float>(axis.out);
  const float scale = axis.scale;
  const int64_t out = axis.out;
  if (r.crops()) {
    if (out == 1) return (axis.begin + axis.end) * (from - 1.f) / 2.f;
    return axis.begin * (from - 1.f) + x * (axis.end - axis.begin) * (from - 1.f) / (to - 1.f);
  }
  if (r.coordinates == "align_corners") return out == 1 ? 0.f : x * (from - 1.f) / (to - 1.f);
  if (r.coordinates == "asymmetric") return x / scale;
  if (r.coordinates == "pytorch_half_pixel" && out == 1) return 0.f;
  if (r.coordinates == "tf_half_pixel_for_nn") return (x + 0.5f) / scale;
  float offset = 0.f;
  if (r.coordinates == "half_pixel_symmetric") offset = from / 2.f * (1.f - to / (scale * from));
  return offset + (x + 0.5f) / scale - 0.5f;
}

int64_t nearest_index(const ResizeRequest& r, float x) {
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

bool is_outside(const ResizeRequest& r, const ResizedAxis& axis, float position) {
  return r.crops() && (position < 0.f || position > static_cast<float>(axis.in - 1));
}

// One row of the matrix: the weights of source elements around x. Those beyond the ends count for the elements at the
// ends, or not at all. `shrink` widens the filter where the result is smaller than the source.
void filter_row(const ResizeRequest& r, int64_t in, double x, double shrink, float* row) {
  const double reach = (r.mode == "linear" ? 1 : 2) / shrink;
  const auto first = static_cast<int64_t>(std::floor(x - reach)), last = static_cast<int64_t>(std::ceil(x + reach));
  const auto inside = [in](int64_t at) { return at >= 0 && at < in; };
  const auto weight = [&](int64_t tap) {
    const double distance = (static_cast<double>(tap) - x) * shrink;
    if (r.mode == "linear") return std::max(0.0, 1 - std::fabs(distance));
    return cubic_weight(static_cast<double>(r.cubic), distance);
  };
  double sum = 0;
  for (int64_t tap = first; tap <= last; ++tap) sum += r.exclude_outside && !inside(tap) ? 0 : weight(tap);
  for (int64_t tap = first; tap <= last; ++tap) {
    if (r.exclude_outside && !inside(tap)) continue;
    row[std::clamp<int64_t>(tap, 0, in - 1)] += static_cast<float>(weight(tap) / sum);
  }
}

// The matrix [out, in].
Elements<float> resize_matrix(const ResizeRequest& r, const ResizedAxis& axis) {
  const int64_t in = axis.in;
  Elements<float> matrix;
  matrix.resize(static_cast<size_t>(in * axis.out), 0.f);
  float* row = matrix.data();
  for (int64_t i = 0; i < axis.out; ++i, row += in) {
    const float position = source_position(r, axis, i);
    if (is_outside(r, axis, position)) continue;  // the constant is added afterwards
    const auto x = static_cast<double>(position);
    const auto add = [&](int64_t at, double weight) {
      row[std::clamp<int64_t>(at, 0, in - 1)] += static_cast<float>(weight);
    };
    if (r.mode == "nearest") {
      add(nearest_index(r, position), 1);
      continue;
    }
    const double shrink = r.antialias ? std::min(1.0, static_cast<double>(axis.scale)) : 1.0;
    filter_row(r, in, x, shrink, row);
  }
  return matrix;
}

Status read_request(NodeContext& c, ResizeRequest* r) {
  const bool old = c.op() == "Upsample" || c.opset() < 11;
  r->mode = c.string_attribute("mode", "nearest");
  if (r->mode == "bilinear") r->mode = "linear";
  r->coordinates = c.string_attribute("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
  r->nearest = c.string_attribute("nearest_mode", old ? "floor" : "round_prefer_floor");
  r->cubic = c.float_attribute("cubic_coeff_a", -0.75f);
  r->exclude_outside = c.int_attribute("exclude_outside", 0) != 0;
  r->antialias = c.int_attribute("antialias", 0) != 0;
  r->policy = c.string_attribute("keep_aspect_ratio_policy", "stretch");
  r->outside = c.float_attribute("extrapolation_value", 0.f);
  const auto one_of = [](const std::string& value, std::initializer_list<const char*> known) {
    return std::any_of(known.begin(), known.end(), [&](const char* name) { return value == name; });
  };
  if (!one_of(r->mode, {"nearest", "linear", "cubic"})) {
    return unsupported("mode: expected nearest, linear or cubic, found '" + printable(r->mode) + "'");
  }
  if (!one_of(r->coordinates, {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                               "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"})) {
    return unsupported("coordinate_transformation_mode '" + printable(r->coordinates) +
                       "': expected half_pixel, half_pixel_symmetric, pytorch_half_pixel, align_corners, asymmetric or "
                       "tf_crop_and_resize");
  }
  if (!one_of(r->policy, {"stretch", "not_larger", "not_smaller"})) {
    return unsupported("keep_aspect_ratio_policy: expected stretch, not_larger or not_smaller, found '" +
                       printable(r->policy) + "'");
  }
  if (r->crops()) {
    SPARSENET_ASSIGN_OR_RETURN(HostTensorPtr region, c.constant(1, "roi"));
    r->region = std::vector<float>(region->floats);
    for (const float at : r->region) {
      constexpr float kMost = 1e4f;
      if (!(std::fabs(at) <= kMost)) return unsupported("roi: expected -10000 to 10000, found " + std::to_string(at));
    }
    c.state().record_use(*region, "", "read as roi");
  }
  if (!one_of(r->nearest, {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"})) {
    return unsupported("nearest_mode: expected floor, ceil or round_prefer_floor or _ceil, found '" +
                       printable(r->nearest) + "'");
  }
  return {};
}

// One scale for all axes, with which none becomes larger, or none smaller, than wanted.
std::vector<float> common_scale(const ResizeRequest& r, const Shape& shape, const std::vector<int64_t>& axes,
                                const std::vector<int64_t>& wanted) {
  float scale = 0.f;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + static_cast<int64_t>(shape.size()) : axes[i];
    const float own = static_cast<float>(wanted[i]) / static_cast<float>(shape[static_cast<size_t>(axis)]);
    scale = i == 0 ? own : r.policy == "not_larger" ? std::min(scale, own) : std::max(scale, own);
  }
  return std::vector<float>(axes.size(), scale);
}

// How all dimensions are resized. Since opset 18 a file may give sizes or scales of some axes only.
Status read_sizes(NodeContext& c, const ResizeRequest& r, const Shape& shape, std::vector<ResizedAxis>* resized) {
  const size_t scales_at = c.op() == "Upsample" || c.opset() < 11 ? 1 : 2;
  std::vector<int64_t> axes = c.ints_attribute("axes");
  if (axes.empty()) {
    for (size_t d = 0; d < shape.size(); ++d) axes.push_back(static_cast<int64_t>(d));
  }
  for (const int64_t dim : shape) resized->push_back({dim, dim, 1.f, 0.f, 1.f});
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
  if (r.crops() && r.region.size() != 2 * count) {
    return invalid_model("roi: expected " + std::to_string(2 * count) + " numbers, found " +
                         std::to_string(r.region.size()));
  }
  SPARSENET_RETURN_IF_ERROR(normalize_axes(axes, shape.size()).status());
  const bool keeps_aspect = !by_scale && r.policy != "stretch";
  if (keeps_aspect) factors = common_scale(r, shape, axes, wanted);
  constexpr int64_t kMost = 1 << 14;
  for (size_t i = 0; i < count; ++i) {
    SPARSENET_ASSIGN_OR_RETURN(const int32_t axis, normalize_axis(axes[i], shape.size()));
    const auto at = static_cast<size_t>(axis);
    const auto in = static_cast<float>(shape[at]);
    const float scale = by_scale || keeps_aspect ? factors[i] : static_cast<float>(wanted[i]) / in;
    const float size = keeps_aspect ? std::floor(in * scale + 0.5f)
                       : by_scale   ? std::floor(in * scale)
                                    : static_cast<float>(wanted[i]);
    if (by_scale && r.coordinates == "align_corners" && std::fabs(in * scale - size) > 1e-3f) {
      return unsupported("scales: with align_corners expected such as give a whole size, found " +
                         std::to_string(in * scale) +
                         ", which ONNX Runtime rounds and the specification does not: export sizes instead");
    }
    if (!(scale > 0.f) || !(size >= 1.f) || size > static_cast<float>(kMost)) {
      return unsupported("size of dimension " + std::to_string(axis) + ": expected 1 to " + std::to_string(kMost));
    }
    (*resized)[at].out = static_cast<int64_t>(size);
    (*resized)[at].scale = scale;
    if (!r.crops()) continue;
    (*resized)[at].begin = r.region[i];
    (*resized)[at].end = r.region[i + count];
  }
  return {};
}

// The value of what lies outside of the source, for every pixel; 0 for the others.
ValueId outside_values(const ResizeRequest& r, const std::vector<ResizedAxis>& axes, Compose* g) {
  const ResizedAxis &rows = axes[axes.size() - 2], &columns = axes.back();
  Elements<float> values;
  values.resize(static_cast<size_t>(rows.out * columns.out), 0.f);
  float* to = values.data();
  for (int64_t y = 0; y < rows.out; ++y) {
    const bool row_outside = is_outside(r, rows, source_position(r, rows, y));
    for (int64_t x = 0; x < columns.out; ++x, ++to) {
      if (row_outside || is_outside(r, columns, source_position(r, columns, x))) *to = r.outside;
    }
  }
  return g->constant({rows.out, columns.out}, std::move(values));
}

Status import_resize(NodeContext& c) {
  ResizeRequest request;
  SPARSENET_RETURN_IF_ERROR(read_request(c, &request));
  Compose g(c);
  const ValueId x = g.input(0);
  if (!g.ok()) return g.finish(x);
  const Shape shape = g.shape(x);
  std::vector<ResizedAxis> axes;
  SPARSENET_RETURN_IF_ERROR(read_sizes(c, request, shape, &axes));
  ValueId y = x;
  for (size_t d = 0; d < shape.size(); ++d) {
    const ResizedAxis& axis = axes[d];
    if (axis.out == axis.in && axis.scale == 1.f && axis.begin == 0.f && axis.end == 1.f) continue;
    const size_t last = shape.size() - 1;
    if (d + 2 < shape.size() || d == 0) {
      return unsupported("resizes dimension " + std::to_string(d) + " of " + to_string(shape) +
                         ": expected the last two alone");
    }
    HostTensor matrix;
    matrix.shape = {axis.out, axis.in};
    matrix.floats = resize_matrix(request, axis);
    if (d == last) matrix = transposed(matrix, {1, 0});
    const ValueId constant = g.constant(matrix.shape, std::move(matrix.floats));
    y = d == last ? g.node(Op::kMatMul, {y, constant}) : g.node(Op::kMatMul, {constant, y});
  }
  if (y == x) {
    c.alias_output(0, 0);
    return {};
  }
  if (request.crops() && request.outside != 0.f) y = g.node(Op::kAdd, {y, outside_values(request, axes, &g)});
  return g.finish(y);
}

}  // namespace

NodeImporter find_resize_op(const std::string& op) {
  return op == "Resize" || op == "Upsample" ? import_resize : nullptr;
}

}  // namespace sparsenet::converter
