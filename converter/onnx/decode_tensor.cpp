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

Status decode_raw(const std::string& raw, size_t count, HostTensor* out) {
  uint64_t wanted = 0;
  if (!multiply(count, size_of(out->type), &wanted) || wanted != raw.size()) {
    return invalid_model("expected " + std::to_string(wanted) + " bytes for " + to_string(out->shape) + " " +
                         name(out->type) + ", found " + std::to_string(raw.size()));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(raw.data());
  if (out->is_float()) {
    out->floats = load_floats(out->type, bytes, count);
  } else {
    out->ints.resize(count);
    for (size_t i = 0; i < count; ++i) out->ints[i] = load_int(out->type, bytes + i * size_of(out->type));
  }
  return {};
}

// Which typed field an element type is stored in is fixed by onnx.proto.
Status decode_typed(const TensorProto& proto, size_t count, HostTensor* out) {
  auto check = [&](int found) -> Status {
    if (static_cast<size_t>(found) == count) return {};
    return invalid_model("expected " + std::to_string(count) + " elements for " + to_string(out->shape) + ", found " +
                         std::to_string(found));
  };
  switch (out->type) {
    case ElementType::kFloat32:
      SPARSENET_RETURN_IF_ERROR(check(proto.float_data_size()));
      out->floats.assign(proto.float_data().begin(), proto.float_data().end());
      return {};
    case ElementType::kFloat64:
      SPARSENET_RETURN_IF_ERROR(check(proto.double_data_size()));
      for (double value : proto.double_data()) {
        uint8_t bytes[8];
        uint64_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(bits >> (8 * i));
        out->floats.push_back(load_float(ElementType::kFloat64, bytes));
      }
      return {};
    case ElementType::kFloat16:
    case ElementType::kBFloat16:
      SPARSENET_RETURN_IF_ERROR(check(proto.int32_data_size()));
      for (int32_t value : proto.int32_data()) {
        const auto bits = static_cast<uint16_t>(value);
        out->floats.push_back(out->type == ElementType::kFloat16 ? half_to_float(bits) : bfloat16_to_float(bits));
      }
      return {};
    case ElementType::kInt64:
      SPARSENET_RETURN_IF_ERROR(check(proto.int64_data_size()));
      out->ints.assign(proto.int64_data().begin(), proto.int64_data().end());
      return {};
    case ElementType::kUInt32:
    case ElementType::kUInt64:
      SPARSENET_RETURN_IF_ERROR(check(proto.uint64_data_size()));
      for (uint64_t value : proto.uint64_data()) {
        out->ints.push_back(value > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(value));
      }
      return {};
    default:
      SPARSENET_RETURN_IF_ERROR(check(proto.int32_data_size()));
      out->ints.assign(proto.int32_data().begin(), proto.int32_data().end());
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

// Weights in a file beside the model. The name must stay in the model's folder: a model must not read other files.
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
  if (location.empty() || location[0] == '/' || location.find("..") != std::string::npos ||
      location.find('\\') != std::string::npos) {
    return invalid_model("external data at '" + printable(location) + "', which is not inside the model's folder");
  }
  uint64_t wanted = 0;
  if (!multiply(count, size_of(out->type), &wanted) || (length != UINT64_MAX && length != wanted)) {
    return invalid_model("external data: expected " + std::to_string(wanted) + " bytes for " + to_string(out->shape) +
                         ", found " + std::to_string(length));
  }
  Result<std::string> raw = read_range(folder + "/" + location, offset, wanted);
  if (raw.status().code() == StatusCode::kNotFound) {
    return not_found("its data lie in a file of their own, '" + printable(location) +
                     "', which is not in the model's folder: put it there");
  }
  if (!raw.ok()) return raw.status();
  return decode_raw(*raw, count, out);
}

}  // namespace

std::string onnx_type_name(int32_t type) {
  // TensorProto.DataType, in its order; later ones than the installed description of the format has, too.
  static const char* const kNames[] = {
      "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
      "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
      "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
      "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2"};
  const bool known = type >= 0 && static_cast<size_t>(type) < sizeof kNames / sizeof *kNames;
  return known ? kNames[type] : "number " + std::to_string(type);
}

Result<HostTensor> decode_tensor(const TensorProto& proto, const std::string& folder) {
  HostTensor out;
  Result<ElementType> type = element_type(proto.data_type());
  if (!type.ok()) return type.status();
  out.type = *type;
  if (proto.dims_size() > 8) return unsupported("rank " + std::to_string(proto.dims_size()) + " (expected at most 8)");
  out.shape.assign(proto.dims().begin(), proto.dims().end());
  const int64_t count = element_count(out.shape);
  if (count < 0) return invalid_model("shape " + to_string(out.shape) + " is too large");
  const auto elements = static_cast<size_t>(count);
  Status status;
  if (proto.data_location() == TensorProto::EXTERNAL) {
    status = decode_external(proto, folder, elements, &out);
  } else if (proto.has_raw_data()) {
    status = decode_raw(proto.raw_data(), elements, &out);
  } else {
    status = decode_typed(proto, elements, &out);
  }
  if (!status.ok()) return status;
  return out;
}

}  // namespace sparsenet::converter
