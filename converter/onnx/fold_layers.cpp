// Constant folding: reductions, sums along an axis, and layers with which weights are computed from constants:
// normalisation by their own statistics (weight standardisation).
#include <algorithm>
#include <cmath>
#include <limits>

#include "converter/onnx/fold.h"

namespace sparsenet::converter {
namespace {

enum class Reduction { kSum, kMean, kMax, kMin, kProd, kSumSquare, kL1, kL2 };

struct ReductionRow {
  const char* op;
  Reduction kind;
};
constexpr ReductionRow kReductions[] = {
    {"ReduceSum", Reduction::kSum}, {"ReduceMean", Reduction::kMean}, {"ReduceMax", Reduction::kMax},
    {"ReduceMin", Reduction::kMin}, {"ReduceProd", Reduction::kProd}, {"ReduceSumSquare", Reduction::kSumSquare},
    {"ReduceL1", Reduction::kL1},   {"ReduceL2", Reduction::kL2},
};

const ReductionRow* find_reduction(const std::string& op) {
  for (const ReductionRow& row : kReductions) {
    if (op == row.op) return &row;
  }
  return nullptr;
}

// One more element of a reduction. Sums are made in double precision, of floats and integers alike.
double reduce(Reduction kind, double sum, double value) {
  switch (kind) {
    case Reduction::kMax:
      return std::max(sum, value);
    case Reduction::kMin:
      return std::min(sum, value);
    case Reduction::kProd:
      return sum * value;
    case Reduction::kSumSquare:
    case Reduction::kL2:
      return sum + value * value;
    case Reduction::kL1:
      return sum + std::fabs(value);
    default:
      return sum + value;
  }
}

double first_of(Reduction kind) {
  if (kind == Reduction::kMax) return -std::numeric_limits<double>::infinity();
  if (kind == Reduction::kMin) return std::numeric_limits<double>::infinity();
  return kind == Reduction::kProd ? 1 : 0;
}

// Which axes a reduction is over; all where none are given, unless the node then does nothing.
Result<std::vector<bool>> reduced_axes(NodeContext& c, size_t rank) {
  std::vector<int64_t> axes = c.ints_attribute("axes");
  if (c.has_input(1)) {
    SPARSENET_ASSIGN_OR_RETURN(axes, c.ints(1, "axes"));
  }
  if (axes.empty()) return std::vector<bool>(rank, c.int_attribute("noop_with_empty_axes", 0) == 0);
  SPARSENET_ASSIGN_OR_RETURN(std::vector<int32_t> normal, normalize_axes(axes, rank));
  std::vector<bool> reduced(rank, false);
  for (const int32_t axis : normal) reduced[static_cast<size_t>(axis)] = true;
  return reduced;
}

int64_t to_integer(double value) {
  constexpr double kMost = 9.2e18;
  return std::isnan(value) ? 0 : static_cast<int64_t>(std::clamp(value, -kMost, kMost));
}

double element(const HostTensor& x, size_t i) {
  return x.is_float() ? static_cast<double>(x.floats.data()[i]) : static_cast<double>(x.ints.data()[i]);
}

HostTensor from_doubles(const HostTensor& like, Shape shape, const Elements<double>& values) {
  HostTensor out;
  out.type = like.type;
  out.source = like.source;
  out.shape = std::move(shape);
  if (like.is_float()) {
    out.floats.resize(values.size());
    float* to = out.floats.data();
    for (size_t i = 0; i < values.size(); ++i) to[i] = static_cast<float>(values[i]);
  } else {
    out.ints.resize(values.size());
    int64_t* to = out.ints.data();
    for (size_t i = 0; i < values.size(); ++i) to[i] = to_integer(values[i]);
  }
  return out;
}

}  // namespace

bool folds_reduction(const std::string& op) {
  return find_reduction(op) != nullptr;
}

Status fold_reduce(NodeContext& c) {
  const Reduction kind = find_reduction(c.op())->kind;
  const HostTensor& x = *c.input(0)->constant;
  const size_t rank = x.shape.size();
  SPARSENET_ASSIGN_OR_RETURN(const std::vector<bool> reduced, reduced_axes(c, rank));
  Shape kept, whole(x.shape);
  for (size_t d = 0; d < rank; ++d) {
    if (reduced[d]) whole[d] = 1;
    if (!reduced[d]) kept.push_back(x.shape[d]);
  }
  const int64_t results = element_count(whole);
  if (x.size() == 0 || results <= 0) return unsupported("a reduction of no elements");
  Elements<double> sums;
  sums.assign(static_cast<size_t>(results), first_of(kind));
  double* sum = sums.data();
  Walk to(x.shape, broadcast_steps(whole, x.shape));
  for (size_t i = 0; i < x.size(); ++i, to.next()) sum[to.at()] = reduce(kind, sum[to.at()], element(x, i));
  const double each = static_cast<double>(x.size()) / static_cast<double>(results);
  for (size_t i = 0; i < static_cast<size_t>(results); ++i) {
    if (kind == Reduction::kMean) sum[i] /= each;
    if (kind == Reduction::kL2) sum[i] = std::sqrt(sum[i]);
  }
  HostTensor out = from_doubles(x, c.int_attribute("keepdims", 1) != 0 ? whole : kept, sums);
  out.change = "folded with " + c.op();
  c.set_output(0, std::move(out));
  return {};
}

Status fold_cumulative(NodeContext& c) {
  const HostTensor& x = *c.input(0)->constant;
  SPARSENET_ASSIGN_OR_RETURN(const int64_t given, folded_integer(c, 1, "axis"));
  SPARSENET_ASSIGN_OR_RETURN(const int32_t normal, normalize_axis(given, x.shape.size()));
  const auto axis = static_cast<size_t>(normal);
  const bool exclusive = c.int_attribute("exclusive", 0) != 0, reverse = c.int_attribute("reverse", 0) != 0;
  Elements<double> values;
  values.resize(x.size());
  double* to = values.data();
  const size_t step = row_major_strides(x.shape)[axis];
  const auto length = static_cast<size_t>(x.shape[axis]);
  for (size_t i = 0; i < x.size(); ++i) to[i] = element(x, i);
  for (size_t first = 0; length > 0 && first < x.size(); ++first) {
    if (first / step % length != 0) continue;  // not the first element of a row
    double sum = 0;
    for (size_t k = 0; k < length; ++k) {
      double& value = to[first + (reverse ? length - 1 - k : k) * step];
      const double own = value;
      value = exclusive ? sum : sum + own;
      sum += own;
    }
  }
  HostTensor out = from_doubles(x, x.shape, values);
  out.change = "folded with CumSum";
  c.set_output(0, std::move(out));
  return {};
}

// In training mode a batch normalisation of constants uses the constants' own statistics: this is how weights are
// standardised.
Status fold_batch_norm(NodeContext& c) {
  const HostTensor& x = *c.input(0)->constant;
  if (!x.is_float() || x.shape.size() < 2 || x.size() == 0) {
    return invalid_model("input: expected floats of rank 2 or more, found " + to_string(x.shape));
  }
  if (c.int_attribute("spatial", 1) != 1) return unsupported("spatial 0: expected statistics per channel");
  const int64_t channels = x.shape[1];
  HostTensorPtr parameters[4];
  static const char* const kNames[] = {"scale", "bias", "mean", "variance"};
  for (size_t i = 0; i < 4; ++i) {
    SPARSENET_ASSIGN_OR_RETURN(parameters[i], c.constant(i + 1, kNames[i]));
    if (parameters[i]->size() != static_cast<size_t>(channels)) {
      return invalid_model(std::string(kNames[i]) + ": expected " + std::to_string(channels) + " numbers, found " +
                           to_string(parameters[i]->shape));
    }
  }
  bool training = c.int_attribute("training_mode", 0) != 0;
  for (size_t i = 1; i < c.output_count(); ++i) {
    if (c.output_is_used(i)) return unsupported("output " + std::to_string(i) + " (statistics of training) is used");
    training = training || (c.opset() < 14 && c.has_output(i));
  }
  const auto count = static_cast<size_t>(channels);
  const size_t plane = x.size() / static_cast<size_t>(x.shape[0]) / count;
  const auto channel_of = [&](size_t i) { return i / plane % count; };
  std::vector<double> mean(count, 0), variance(count, 0);
  const double each = static_cast<double>(x.size() / count);
  for (size_t i = 0; training && i < x.size(); ++i) mean[channel_of(i)] += element(x, i) / each;
  for (size_t i = 0; training && i < x.size(); ++i) {
    const double distance = element(x, i) - mean[channel_of(i)];
    variance[channel_of(i)] += distance * distance / each;
  }
  const auto epsilon = static_cast<double>(c.float_attribute("epsilon", 1e-5f));
  HostTensor out = x;
  float* to = out.floats.data();
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t k = channel_of(i);
    const double centre = training ? mean[k] : element(*parameters[2], k);
    const double width = std::sqrt((training ? variance[k] : element(*parameters[3], k)) + epsilon);
    const double normal = (element(x, i) - centre) / width;
    to[i] = static_cast<float>(normal * element(*parameters[0], k) + element(*parameters[1], k));
  }
  out.change = "folded with BatchNormalization";
  c.set_output(0, std::move(out));
  return {};
}

}  // namespace sparsenet::converter
