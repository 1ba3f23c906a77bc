#include "converter/precision.h"

#include <sparsenet/precision.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "io/session_tensors.h"

namespace sparsenet::converter {
namespace {

std::string counted(int64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// The largest difference, relative to the largest value before the change.
double difference(const Tensor& before, const Tensor& after) {
  double largest = 0, apart = 0;
  const std::vector<float> old_values = io::numbers_of(before), new_values = io::numbers_of(after);
  for (size_t i = 0; i < new_values.size(); ++i) {
    const auto x = static_cast<double>(old_values[i]), y = static_cast<double>(new_values[i]);
    largest = std::max(largest, std::fabs(x));
    apart = std::max(apart, std::fabs(x - y));
  }
  return apart / std::max(largest, 1e-6);
}

Status recompute_outputs(Model* model, double* moved) {
  SessionOptions options;
  options.backend = Backend::kReference;
  options.threads = 1;
  SPARSENET_ASSIGN_OR_RETURN(Session session, Session::create(model->graph, options));
  for (TestVector& vector : model->test_vectors) {
    const std::vector<Tensor> before = vector.outputs;
    SPARSENET_RETURN_IF_ERROR(compute_outputs(&session, &vector));
    for (size_t i = 0; i < before.size(); ++i) *moved = std::max(*moved, difference(before[i], vector.outputs[i]));
  }
  return {};
}

Status round_parameters(Model* model, Report* report, bool* changed) {
  SPARSENET_ASSIGN_OR_RETURN(const PrecisionReport done, parameters_to_float16(&model->graph));
  *changed = done.rounded > 0;
  if (!*changed && done.out_of_range.empty()) {
    report->note("--precision f16: every parameter is float16 already");
    return {};
  }
  std::string text = counted(done.rounded, "tensor") + " rounded to float16";
  if (done.statistics > 0) {
    text += "; " + counted(done.statistics, "tensor") + " of BatchNorm's means and variances " +
            (done.statistics == 1 ? "stays" : "stay") + " float32";
  }
  report->note(std::move(text));
  if (!done.out_of_range.empty()) {
    const bool one = done.out_of_range.size() == 1;
    report->warn("'" + printable(done.out_of_range[0]) + "'" +
                 (one ? "" : " and " + counted(static_cast<int64_t>(done.out_of_range.size()) - 1, "other tensor")) +
                 (one ? " stays" : " stay") + " float32: float16 ends at 65,504, and below 6.1e-5 it has few digits");
  }
  return {};
}

}  // namespace

Status set_precision(Precision precision, Model* model, Report* report, bool* changed) {
  *changed = false;
  if (precision == Precision::kAsItIs) return {};
  if (precision == Precision::kFloat16) {
    for (const Value& value : model->graph.values) {
      if (!value.is_constant || value.type != DataType::kInt8) continue;
      return unsupported("--precision f16: weight '" + printable(value.name) +
                         "' is int8, which is smaller: leave the option out");
    }
    SPARSENET_RETURN_IF_ERROR(round_parameters(model, report, changed));
  } else {
    for (const Value& value : model->graph.values) *changed = *changed || value.type == DataType::kFloat16;
    SPARSENET_RETURN_IF_ERROR(constants_to_float32(&model->graph));
  }
  if (!*changed || model->test_vectors.empty()) return {};
  double moved = 0;
  SPARSENET_RETURN_IF_ERROR(recompute_outputs(model, &moved).with_context("test vectors"));
  char text[64];
  std::snprintf(text, sizeof text, "%.1e", moved);
  report->note("the outputs of the test vectors are computed anew; relative to the largest, they moved by at most " +
               std::string(text));
  return {};
}

}  // namespace sparsenet::converter
