// Checks that what a model file holds besides its graph makes sense: metadata and test vectors.
#include <cmath>
#include <string>

#include "format/model_format.h"

namespace sparsenet {
namespace {

// Length of the UTF-8 sequence at p (shortest form, no surrogates, up to U+10FFFF); 0 if there is none.
size_t utf8_length(const unsigned char* p, size_t left) {
  const unsigned char lead = p[0];
  if (lead < 0x80) return 1;
  const size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (length == 0 || length > left) return 0;
  // Only the second byte's range depends on the first (Unicode standard, table 3-7).
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  if (p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (p[i] < 0x80 || p[i] > 0xBF) return 0;
  }
  return length;
}

Status check_statistics(const char* what, const std::vector<float>& values, int64_t channels, bool divisor) {
  if (values.empty()) return {};
  if (channels > 0 && static_cast<int64_t>(values.size()) != channels) {
    return invalid_model("metadata: " + std::string(what) + ": expected " + std::to_string(channels) +
                         " numbers, one per channel of the input, or none; found " + std::to_string(values.size()));
  }
  for (float value : values) {
    if (!std::isfinite(value) || (divisor && value == 0.f)) {
      return invalid_model("metadata: " + std::string(what) + ": expected finite " + (divisor ? "non-zero " : "") +
                           "numbers, found " + std::to_string(value));
    }
  }
  return {};
}

Status check_tensors(const Graph& graph, const std::string& what, const std::vector<ValueId>& ids,
                     const std::vector<Tensor>& tensors) {
  if (tensors.size() != ids.size()) {
    return invalid_model(what + "s: expected " + std::to_string(ids.size()) + ", found " +
                         std::to_string(tensors.size()));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const Value& value = graph.value(ids[i]);
    const Tensor& tensor = tensors[i];
    if (tensor.shape != value.shape || tensor.type != value.type || !tensor.data) {
      return invalid_model(what + " '" + value.name + "': expected " + name(value.type) + " " + to_string(value.shape) +
                           ", found " + name(tensor.type) + " " + to_string(tensor.shape) +
                           (tensor.data ? "" : " without data"));
    }
  }
  return {};
}

}  // namespace

Status check_text(const std::string& what, const std::string& text, size_t limit, bool lines) {
  if (text.size() > limit) {
    return invalid_model(what + ": expected at most " + std::to_string(limit) + " bytes, found " +
                         std::to_string(text.size()));
  }
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(p + i, text.size() - i);
    const bool control = p[i] < 0x20 || p[i] == 0x7F;
    const bool allowed = lines && (p[i] == '\n' || p[i] == '\t');
    if (length == 0 || (control && !allowed)) {
      return invalid_model(what + ": expected UTF-8 text without control characters, found byte " +
                           std::to_string(p[i]) + " at " + std::to_string(i));
    }
    i += length;
  }
  return {};
}

Status check_metadata(const Graph& graph, const Metadata& metadata) {
  SPARSENET_RETURN_IF_ERROR(check_text("metadata: name", metadata.name, kMaxTextBytes));
  SPARSENET_RETURN_IF_ERROR(check_text("metadata: architecture", metadata.architecture, kMaxTextBytes));
  SPARSENET_RETURN_IF_ERROR(check_text("metadata: provenance", metadata.provenance, kMaxTextBytes, true));
  SPARSENET_RETURN_IF_ERROR(check_text("metadata: license", metadata.license, kMaxTextBytes, true));
  for (size_t i = 0; i < metadata.labels.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(check_text("metadata: label " + std::to_string(i), metadata.labels[i], kMaxNameBytes));
  }
  const std::string& order = metadata.color_order;
  if (order != "RGB" && order != "BGR" && order != "GRAY") {
    return unsupported("metadata: colour order: expected RGB, BGR or GRAY, found another");
  }
  if (metadata.resize != "bilinear" && metadata.resize != "bilinear-crop") {
    return unsupported("metadata: resize rule: expected bilinear or bilinear-crop, found another");
  }
  const Shape& input = graph.shape(graph.inputs[0]);
  const int64_t channels = input.size() == 4 ? input[1] : 0;
  SPARSENET_RETURN_IF_ERROR(check_statistics("mean", metadata.mean, channels, false));
  SPARSENET_RETURN_IF_ERROR(check_statistics("std", metadata.std_dev, channels, true));
  if (!metadata.labels.empty()) {
    Shape image = graph.shape(graph.outputs[0]);
    if (!image.empty()) image[0] = 1;
    if (element_count(image) != static_cast<int64_t>(metadata.labels.size())) {
      return invalid_model("metadata: labels: expected one for each of the " + std::to_string(element_count(image)) +
                           " values of output '" + graph.value(graph.outputs[0]).name + "', found " +
                           std::to_string(metadata.labels.size()));
    }
  }
  return {};
}

Status check_test_vectors(const Graph& graph, const std::vector<TestVector>& vectors) {
  if (vectors.empty()) return {};
  Graph single = graph;  // constants are shared: cheap
  SPARSENET_RETURN_IF_ERROR(single.set_batch(1).with_context("test vectors"));
  for (size_t i = 0; i < vectors.size(); ++i) {
    const std::string what = "test vector " + std::to_string(i);
    const TestVector& vector = vectors[i];
    if (!std::isfinite(vector.tolerance) || vector.tolerance <= 0.f) {
      return invalid_model(what + ": tolerance: expected a positive number, found " + std::to_string(vector.tolerance));
    }
    SPARSENET_RETURN_IF_ERROR(check_tensors(single, what + ": input", single.inputs, vector.inputs));
    SPARSENET_RETURN_IF_ERROR(check_tensors(single, what + ": output", single.outputs, vector.outputs));
  }
  return {};
}

}  // namespace sparsenet
