#include "converter/onnx/decode_tensor.h"

#include <cstring>

#include "converter/io/file_bytes.h"
#include "converter/report.h"

namespace sparsenet::converter {
namespace {

using onnx_ns::TensorProto;

Result<ElementType> element_type(int32_t type) {
  switch (type) {
    case TensorProto::FLOAT:
      return ElementType::kFloat32;
    case TensorProto::DOUBLE:
      return ElementType::kFloat64;
    case TensorProto::FLOAT16:
      return ElementType::kFloat16;
    case TensorProto::BFLOAT16:
      return ElementType::kBFloat16;
    case TensorProto::INT8:
      return ElementType::kInt8;
    case TensorProto::UINT8:
      return ElementType::kUInt8;
    case TensorProto::INT16:
      return ElementType::kInt16;
    case TensorProto::UINT16:
      return ElementType::kUInt16;
    case TensorProto::INT32:
      return ElementType::kInt32;
    case TensorProto::UINT32:
      return ElementType::kUInt32;
    case TensorProto::INT64:
      return ElementType::kInt64;
    case TensorProto::UINT64:
      return ElementType::kUInt64;
    case TensorProto::BOOL:
      return ElementType::kBool;
    default:
      return unsupported("expected floats, integers or booleans, found element type " + onnx_type_name(type));
  }
}

Status check_bytes(const HostTensor& tensor, size_t count, size_t found) {
  uint64_t wanted = 0;
  if (multiply(count, size_of(tensor.type), &wanted) && wanted == found) return {};
  return invalid_model("expected " + std::to_string(wanted) + " bytes for " + to_string(tensor.shape) + " " +
                       name(tensor.type) + ", found " + std::to_string(found));
}

Status decode_raw(const FileBytes& raw, size_t count, HostTensor* out) {
  SPARSENET_RETURN_IF_ERROR(check_bytes(*out, count, raw.size));
  if (out->is_float()) {
    out->floats = load_or_share_floats(out->type, raw.data, count, raw.owner);
    return {};
  }
  out->ints.resize(count);
  int64_t* ints = out->ints.data();
  for (size_t i = 0; i < count; ++i) ints[i] = load_int(out->type, raw.data + i * size_of(out->type));
  return {};
}

// The message's own string becomes the tensor's memory, unless it is so short that it is stored inside the string
// object.
Status take_raw(TensorProto* proto, size_t count, HostTensor* out) {
  constexpr size_t kWorthKeeping = 64;
  auto raw = std::make_shared<std::string>(std::move(*proto->mutable_raw_data()));
  proto->clear_raw_data();
  const auto* bytes = reinterpret_cast<const uint8_t*>(raw->data());
  const bool keep = raw->size() >= kWorthKeeping;
  return decode_raw({bytes, raw->size(), keep ? raw : nullptr}, count, out);
}

// Elements that the message stores as numbers of another type.
template <class List, class T, class Convert>
void convert_list(List* list, Elements<T>* out, Convert convert) {
  out->resize(static_cast<size_t>(list->size()));
  T* to = out->data();
  for (int i = 0; i < list->size(); ++i) to[i] = convert(list->Get(i));
  List().Swap(list);
}

// Elements that the message stores in the right type.
template <class T>
void take_list(google::protobuf::RepeatedField<T>* list, Elements<T>* out) {
  auto kept = std::make_shared<google::protobuf::RepeatedField<T>>();
  kept->Swap(list);
  *out = Elements<T>::view(kept, kept->data(), static_cast<size_t>(kept->size()));
}

float double_to_float(double value) {
  uint8_t bytes[8];
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(bits >> (8 * i));
  return load_float(ElementType::kFloat64, bytes);
}

// onnx.proto determines the typed field in which each element type is stored.
Status take_typed(TensorProto* proto, size_t count, HostTensor* out) {
  auto check = [&](int found) -> Status {
    if (static_cast<size_t>(found) == count) return {};
    return invalid_model("expected " + std::to_string(count) + " elements for " + to_string(out->shape) + ", found " +
                         std::to_string(found));
  };
  switch (out->type) {
    case ElementType::kFloat32:
      SPARSENET_RETURN_IF_ERROR(check(proto->float_data_size()));
      take_list(proto->mutable_float_data(), &out->floats);
      return {};
    case ElementType::kFloat64:
      SPARSENET_RETURN_IF_ERROR(check(proto->double_data_size()));
      convert_list(proto->mutable_double_data(), &out->floats, double_to_float);
      return {};
    case ElementType::kFloat16:
    case ElementType::kBFloat16: {
      SPARSENET_RETURN_IF_ERROR(check(proto->int32_data_size()));
      const auto widen = out->type == ElementType::kFloat16 ? half_to_float : bfloat16_to_float;
      convert_list(proto->mutable_int32_data(), &out->floats,
                   [widen](int32_t value) { return widen(static_cast<uint16_t>(value)); });
      return {};
    }
    case ElementType::kInt64:
      SPARSENET_RETURN_IF_ERROR(check(proto->int64_data_size()));
      convert_list(proto->mutable_int64_data(), &out->ints, [](int64_t value) { return value; });
      return {};
    case ElementType::kUInt32:
    case ElementType::kUInt64:
      SPARSENET_RETURN_IF_ERROR(check(proto->uint64_data_size()));
      convert_list(proto->mutable_uint64_data(), &out->ints, [](uint64_t value) {
        return value > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(value);
      });
      return {};
    default:
      SPARSENET_RETURN_IF_ERROR(check(proto->int32_data_size()));
      convert_list(proto->mutable_int32_data(), &out->ints, [](int32_t value) { return int64_t{value}; });
      return {};
  }
}

bool parse_number(const std::string& text, uint64_t* out) {
  if (text.empty() || text.size() > 18) return false;
  *out = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    *out = *out * 10 + static_cast<uint64_t>(c - '0');
  }
  return true;
}

// Weights in a file beside the model, inside the model's folder: a model must not make us read other files.
Status decode_external(const TensorProto& proto, const std::string& folder, size_t count, HostTensor* out) {
  std::string location;
  uint64_t offset = 0, length = UINT64_MAX;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset" && !parse_number(entry.value(), &offset))
      return invalid_model("external data with a bad offset");
    if (entry.key() == "length" && !parse_number(entry.value(), &length))
      return invalid_model("external data with a bad length");
  }
  if (folder.empty()) return unsupported("its data is stored outside the file ('" + printable(location) + "')");
  uint64_t wanted = 0;
  if (!multiply(count, size_of(out->type), &wanted) || (length != UINT64_MAX && length != wanted)) {
    return invalid_model("external data: expected " + std::to_string(wanted) + " bytes for " + to_string(out->shape) +
                         ", found " + std::to_string(length));
  }
  Result<FileBytes> raw = load_beside(folder, location, offset, wanted);
  if (raw.status().code() == StatusCode::kNotFound) {
    return not_found("its data lie in a file of their own, '" + printable(location) +
                     "', which is not in the model's folder: put it there");
  }
  if (!raw.ok()) return raw.status().with_context("external data");
  return decode_raw(*raw, count, out);
}

}  // namespace

std::string onnx_type_name(int32_t type) {
  // TensorProto.DataType, in its order, including types newer than the installed description of the format.
  static const char* const kNames[] = {
      "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
      "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
      "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
      "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2"};
  const bool known = type >= 0 && static_cast<size_t>(type) < sizeof kNames / sizeof *kNames;
  return known ? kNames[type] : "number " + std::to_string(type);
}

Result<HostTensor> take_tensor(TensorProto* proto, const std::string& folder) {
  HostTensor out;
  SPARSENET_ASSIGN_OR_RETURN(out.type, element_type(proto->data_type()));
  if (proto->dims_size() > 8) {
    return unsupported("rank " + std::to_string(proto->dims_size()) + " (expected at most 8)");
  }
  out.shape.assign(proto->dims().begin(), proto->dims().end());
  const int64_t count = element_count(out.shape);
  if (count < 0) return invalid_model("shape " + to_string(out.shape) + " is too large");
  const auto elements = static_cast<size_t>(count);
  Status status;
  if (proto->data_location() == TensorProto::EXTERNAL) {
    status = decode_external(*proto, folder, elements, &out);
  } else if (proto->has_raw_data()) {
    status = take_raw(proto, elements, &out);
  } else {
    status = take_typed(proto, elements, &out);
  }
  if (!status.ok()) return status;
  return out;
}

}  // namespace sparsenet::converter
