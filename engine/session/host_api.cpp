// The C functions of sparsenet/host.h over the C++ API.
#include <sparsenet/host.h>
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

struct sn_host {
  sparsenet::Session session;
};

namespace sparsenet {
namespace {

sn_status to_c(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return SN_OK;
    case StatusCode::kInvalidArgument:
      return SN_INVALID_ARGUMENT;
    case StatusCode::kInvalidModel:
      return SN_INVALID_MODEL;
    case StatusCode::kUnsupported:
      return SN_UNSUPPORTED;
    case StatusCode::kNotFound:
      return SN_NOT_FOUND;
    case StatusCode::kOutOfMemory:
      return SN_NO_MEMORY;
    case StatusCode::kNotFinite:
      return SN_NOT_FINITE;
    default:
      return SN_IO;
  }
}

// Copies the message, cut to the room that the caller's structure has.
sn_status report(const Status& status, sn_message* message) {
  if (message && !status.ok() && message->struct_size > offsetof(sn_message, text)) {
    const size_t room = message->struct_size - offsetof(sn_message, text);
    const size_t length = std::min(status.message().size(), room - 1);
    std::memcpy(message->text, status.message().data(), length);
    message->text[length] = '\0';
  }
  return to_c(status.code());
}

Result<SessionOptions> read_options(const sn_host_options* from) {
  sn_host_options given{};
  if (from) std::memcpy(&given, from, std::min<size_t>(from->struct_size, sizeof given));
  SessionOptions options;
  if (given.backend) SPARSENET_RETURN_IF_ERROR(parse_backend(given.backend, &options));
  if (given.precision) {
    SPARSENET_ASSIGN_OR_RETURN(options.precision, parse_precision(given.precision));
  }
  options.batch = given.batch == 0 ? 1 : given.batch;
  options.threads = given.threads;
  options.strict = given.strict != 0;
  options.max_memory_bytes = static_cast<size_t>(std::min<uint64_t>(given.max_bytes, SIZE_MAX));
  if (given.cache_path) options.cache_folder = given.cache_path;
  return options;
}

Result<sn_host*> open_host(const char* path, const sn_host_options* wanted) {
  SPARSENET_ASSIGN_OR_RETURN(const SessionOptions options, read_options(wanted));
  SPARSENET_ASSIGN_OR_RETURN(const Model model, load_model(path));
  auto session = Session::create(model, options);
  if (!session.ok()) return session.status().with_context(path);
  return new sn_host{std::move(*session)};
}

sn_status describe(const std::vector<TensorInfo>& ports, uint32_t index, sn_tensor* tensor) {
  if (!tensor || index >= ports.size()) return SN_INVALID_ARGUMENT;
  const TensorInfo& port = ports[index];
  sn_tensor made{};
  made.struct_size = tensor->struct_size;
  made.rank = static_cast<int32_t>(std::min<size_t>(port.shape.size(), 8));
  made.name = port.name.c_str();
  for (int32_t d = 0; d < made.rank; ++d) made.dims[d] = static_cast<int32_t>(port.shape[static_cast<size_t>(d)]);
  made.elements = static_cast<size_t>(element_count(port.shape));
  made.type = static_cast<uint32_t>(port.type);
  if (!port.quantization.empty()) {
    made.scale = port.quantization.scales[0];
    made.zero_point = port.quantization.zero_points[0];
  }
  std::memcpy(tensor, &made, std::min<size_t>(tensor->struct_size, sizeof made));
  return SN_OK;
}

}  // namespace
}  // namespace sparsenet

using sparsenet::report;

extern "C" {

sn_status sn_host_open(const char* path, const sn_host_options* options, sn_host** host, sn_message* message) {
  if (!path || !host) return SN_INVALID_ARGUMENT;
  *host = nullptr;
  try {
    auto opened = sparsenet::open_host(path, options);
    if (!opened.ok()) return report(opened.status(), message);
    *host = *opened;
    return SN_OK;
  } catch (const std::bad_alloc&) {
    return report({sparsenet::StatusCode::kOutOfMemory, "no memory"}, message);
  } catch (...) {
    return report({sparsenet::StatusCode::kInternal, "exception"}, message);
  }
}

void sn_host_close(sn_host* host) {
  delete host;
}

sn_status sn_host_input(const sn_host* host, uint32_t index, sn_tensor* tensor) {
  return host ? sparsenet::describe(host->session.inputs(), index, tensor) : SN_INVALID_ARGUMENT;
}

sn_status sn_host_output(const sn_host* host, uint32_t index, sn_tensor* tensor) {
  return host ? sparsenet::describe(host->session.outputs(), index, tensor) : SN_INVALID_ARGUMENT;
}

sn_status sn_host_set_input(sn_host* host, uint32_t index, const float* values, size_t elements, sn_message* message) {
  return host ? report(host->session.set_input(index, values, elements), message) : SN_INVALID_ARGUMENT;
}

sn_status sn_host_run(sn_host* host, sn_message* message) {
  return host ? report(host->session.run(), message) : SN_INVALID_ARGUMENT;
}

sn_status sn_host_get_output(sn_host* host, uint32_t index, float* values, size_t elements, sn_message* message) {
  return host ? report(host->session.get_output(index, values, elements), message) : SN_INVALID_ARGUMENT;
}

}  // extern "C"
