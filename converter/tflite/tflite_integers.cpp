#include "converter/tflite/tflite_integers.h"

#include <algorithm>
#include <cstring>

namespace sparsenet::converter {

using tflite::ActivationFunctionType;
using tflite::TensorType;

Status widen(const TfliteState& state, int32_t index, HostTensor* tensor) {
  const Quantization q = quantization_of(*state.tensor(index));
  const auto along = static_cast<size_t>(q.axis);
  const bool fits = q.scales.size() == 1 ||
                    (along < tensor->shape.size() && static_cast<int64_t>(q.scales.size()) == tensor->shape[along]);
  if (q.empty() || !fits) return unsupported("expected a scale for its integers, or one per index of an axis");
  size_t behind = 1;  // elements from one index of the axis to the next
  for (size_t d = along + 1; d < tensor->shape.size(); ++d) behind *= static_cast<size_t>(tensor->shape[d]);
  HostTensor out;
  out.shape = tensor->shape;
  out.source = tensor->source;
  out.floats.resize(tensor->ints.size());
  float* to = out.floats.data();
  const int64_t* from = tensor->ints.data();
  for (size_t k = 0; k < tensor->ints.size(); ++k) {
    const size_t s = q.scales.size() == 1 ? 0 : k / behind % q.scales.size();
    to[k] = q.scales[s] * static_cast<float>(from[k] - q.zero_points[s]);
  }
  *tensor = std::move(out);
  state.report->note("tensor '" + printable(state.tensor_name(index)) + "' converted from " +
                     type_name(state.tensor(index)->type()) + " to float32");
  return {};
}

Tensor integer_tensor(const HostTensor& tensor) {
  Tensor out;
  out.type = tensor.type == ElementType::kInt8 ? DataType::kInt8 : DataType::kInt32;
  out.shape = tensor.shape;
  const size_t count = tensor.ints.size();
  auto bytes = std::make_shared<std::vector<uint8_t>>(count * size_of(out.type));
  for (size_t k = 0; k < count; ++k) {
    if (out.type == DataType::kInt8) {
      (*bytes)[k] = static_cast<uint8_t>(tensor.ints[k]);
    } else {
      const auto value = static_cast<int32_t>(tensor.ints[k]);
      std::memcpy(bytes->data() + k * sizeof value, &value, sizeof value);
    }
  }
  out.data = bytes->data();
  out.owner = std::move(bytes);
  return out;
}

Quantization quantization_of(const tflite::Tensor& tensor) {
  Quantization q;
  const tflite::QuantizationParameters* p = tensor.quantization();
  if (!p || !p->scale() || p->scale()->size() == 0) return q;
  const uint32_t count = p->scale()->size();
  const uint32_t zeros = p->zero_point() ? p->zero_point()->size() : 0;
  if (zeros != 0 && zeros != 1 && zeros != count) return q;
  q.axis = count > 1 ? p->quantized_dimension() : 0;
  for (uint32_t i = 0; i < count; ++i) {
    int64_t zero = zeros == 0 ? 0 : p->zero_point()->Get(zeros == 1 ? 0 : i);
    if (zero < -(1 << 30) || zero > 1 << 30) return {};
    if (tensor.type() == TensorType::UINT8) zero -= 128;
    q.scales.push_back(p->scale()->Get(i));
    q.zero_points.push_back(static_cast<int32_t>(zero));
  }
  return q;
}

Result<CenteredWeights> centered(HostTensor weight, const Quantization& q) {
  CenteredWeights out;
  const int64_t channels = weight.shape[1], each = element_count(weight.shape) / weight.shape[0];
  const auto channel_of = [&](size_t k) { return static_cast<int64_t>(k) % each / (each / channels); };
  const auto rest_of = [](int64_t v) { return v - std::clamp<int64_t>(v, -128, 127); };
  const size_t count = weight.ints.size();
  int64_t* values = weight.ints.data();
  out.begin = channels;
  for (size_t k = 0; k < count; ++k) {
    values[k] -= q.zero_points[q.zero_points.size() > 1 ? k / static_cast<size_t>(each) : 0];
    if (rest_of(values[k]) == 0) continue;
    if (rest_of(rest_of(values[k])) != 0) {
      return unsupported("its integers less their zero point go beyond -256 to 254, up to " +
                         std::to_string(values[k]));
    }
    out.begin = std::min(out.begin, channel_of(k));
    out.end = std::max(out.end, channel_of(k) + 1);
  }
  out.begin = std::min(out.begin, out.end);
  if (out.end > out.begin) {
    out.rest.type = weight.type;
    out.rest.source = weight.source;
    out.rest.shape = weight.shape;
    out.rest.shape[1] = out.end - out.begin;
    out.rest.ints.resize(static_cast<size_t>(element_count(out.rest.shape)));
    int64_t* rest = out.rest.ints.data();
    for (size_t k = 0; k < count; ++k) {
      if (channel_of(k) < out.begin || channel_of(k) >= out.end) continue;
      *rest++ = rest_of(values[k]);
      values[k] -= rest_of(values[k]);
    }
  }
  out.weight = std::move(weight);
  return out;
}

HostTensor beside(const HostTensor& a, const HostTensor& b) {
  HostTensor out;
  out.type = a.type;
  out.source = a.source;
  out.shape = a.shape;
  out.shape[1] += b.shape[1];
  out.ints.resize(a.ints.size() + b.ints.size());
  int64_t* to = out.ints.data();
  for (int64_t o = 0; o < a.shape[0]; ++o) {
    for (const HostTensor* part : {&a, &b}) {
      const int64_t each = element_count(part->shape) / part->shape[0];
      to = std::copy_n(part->ints.data() + o * each, each, to);
    }
  }
  return out;
}

ActivationFunctionType fuse(ActivationFunctionType activation, Attrs* attrs) {
  auto* conv = std::get_if<ConvAttrs>(attrs);
  auto* fc = std::get_if<FullyConnectedAttrs>(attrs);
  if (!conv && !fc) return activation;
  Activation& slot = conv ? conv->activation : fc->activation;
  switch (activation) {
    case ActivationFunctionType::RELU:
      slot = {Activation::Kind::kRelu, 0.f, 0.f};
      break;
    case ActivationFunctionType::RELU6:
      slot = {Activation::Kind::kClip, 0.f, 6.f};
      break;
    case ActivationFunctionType::RELU_N1_TO_1:
      slot = {Activation::Kind::kClip, -1.f, 1.f};
      break;
    default:
      break;
  }
  return ActivationFunctionType::NONE;
}

}  // namespace sparsenet::converter
