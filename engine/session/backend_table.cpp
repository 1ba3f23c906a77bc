#include "session/backend_table.h"

#include "base/guarded.h"
#include "kernels/isa.h"
#include "kernels/reference/reference.h"
#include "plugin/loader.h"

#if defined(SPARSENET_HAVE_ONEDNN)
#include "backends/onednn/onednn_backend.h"
#endif

namespace sparsenet {
namespace {

int32_t portable_lists(const rt::Kernel* const** lists) {
  lists[0] = active_isa().kernels;
  lists[1] = rt::kReferenceKernels;
  return 2;
}

int32_t reference_lists(const rt::Kernel* const** lists) {
  lists[0] = rt::kReferenceKernels;
  return 1;
}

#if defined(SPARSENET_HAVE_ONEDNN)
int32_t onednn_lists(const rt::Kernel* const** lists) {
  lists[0] = rt::kOneDnnKernels;
  lists[1] = active_isa().kernels;
  lists[2] = rt::kReferenceKernels;
  return 3;
}
#endif

// `auto`: our own kernels for every step. They run networks faster than oneDNN's as a whole (docs/benchmarks.md).
// oneDNN is ahead on some steps (stems with three inputs, groups of eight channels with stride 2; tests/bench/kernels),
// but mixing it in would bring a second kind of threads.
const BackendEntry kBackends[] = {
    {Backend::kAuto, "auto", portable_lists, nullptr, nullptr, nullptr, nullptr},
    {Backend::kPortable, "portable", portable_lists, nullptr, nullptr, nullptr, nullptr},
#if defined(SPARSENET_HAVE_ONEDNN)
    {Backend::kOneDnn, "onednn", onednn_lists, onednn_begin_run, onednn_end_run, onednn_flush_denormals,
     onednn_parallel},
#else
    {Backend::kOneDnn, "onednn", nullptr, nullptr, nullptr, nullptr, nullptr},
#endif
    {Backend::kOpenCl, "opencl", nullptr, nullptr, nullptr, nullptr, nullptr},
    {Backend::kCuda, "cuda", nullptr, nullptr, nullptr, nullptr, nullptr},
    {Backend::kReference, "reference", reference_lists, nullptr, nullptr, nullptr, nullptr},
};

}  // namespace

const BackendEntry* find_backend(Backend backend) {
  for (const BackendEntry& entry : kBackends) {
    if (entry.backend == backend && entry.kernel_lists) return &entry;
  }
  return nullptr;
}

std::string available_backends() {
  std::string names;
  for (const BackendEntry& entry : kBackends) {
    if (entry.kernel_lists) names += (names.empty() ? "" : ", ") + std::string(entry.name);
  }
  return names;
}

bool is_available(Backend backend) {
  if (!is_plugin(backend)) return find_backend(backend) != nullptr;
  const auto available = guarded("looking for a plugin", [&]() -> Status {
    SPARSENET_ASSIGN_OR_RETURN(const Plugin* plugin, find_plugin(name(backend)));
    SPARSENET_ASSIGN_OR_RETURN(const uint32_t devices, count_devices(*plugin));
    return devices > 0 ? Status() : unsupported("no device");
  });
  return backend != Backend::kPlugin && available.ok();
}

bool is_plugin(Backend backend) {
  return backend == Backend::kOpenCl || backend == Backend::kCuda || backend == Backend::kPlugin;
}

const char* name(Backend backend) {
  if (backend == Backend::kPlugin) return "plugin";
  for (const BackendEntry& entry : kBackends) {
    if (entry.backend == backend) return entry.name;
  }
  return "unknown";
}

Result<Backend> parse_backend(const std::string& text) {
  return guarded("reading the name of a backend", [&]() -> Result<Backend> {
    std::string known;
    for (const BackendEntry& entry : kBackends) {
      if (text == entry.name) return entry.backend;
      known += (known.empty() ? "" : ", ") + std::string(entry.name);
    }
    return invalid_argument("backend '" + text + "': expected one of " + known);
  });
}

Status parse_backend(const std::string& text, SessionOptions* options) {
  return guarded("reading the name of a backend", [&]() -> Status {
    const size_t colon = text.find(':');
    const std::string backend = text.substr(0, colon);
    SessionOptions read = *options;
    read.device = 0;
    if (colon != std::string::npos) {
      const std::string number = text.substr(colon + 1);
      const bool digits = !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
      if (!digits || number.size() > 4) {
        return invalid_argument("backend '" + text + "': expected the number of a device after the colon, found '" +
                                number + "'");
      }
      read.device = static_cast<uint32_t>(std::stoul(number));
    }
    auto known = parse_backend(backend);
    read.plugin.clear();
    if (known.ok()) {
      read.backend = *known;
    } else {
      if (backend.empty()) return known.status();
      const Status plugin = find_plugin(backend).status();
      if (!plugin.ok()) {
        const std::string context = "backend '" + backend + "': ";
        const size_t repeated = plugin.message().rfind(context, 0) == 0 ? context.size() : 0;
        return invalid_argument(known.status().message() + ", or a plugin; " + plugin.message().substr(repeated));
      }
      read.backend = Backend::kPlugin;
      read.plugin = backend;
    }
    if (colon != std::string::npos && !is_plugin(read.backend)) {
      return invalid_argument("backend '" + text + "': '" + backend +
                              "' runs on the CPU and has no devices to choose from");
    }
    *options = std::move(read);
    return {};
  });
}

const char* name(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "f32";
    case Precision::kBfloat16:
      return "bf16";
    case Precision::kFloat16:
      return "f16";
  }
  return "unknown";
}

Result<Precision> parse_precision(const std::string& text) {
  return guarded("reading the name of a precision", [&]() -> Result<Precision> {
    for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16, Precision::kFloat16}) {
      if (text == name(precision)) return precision;
    }
    return invalid_argument("precision '" + text + "': expected f32, bf16 or f16");
  });
}

Status check_precision(Precision precision) {
  if (precision == Precision::kFloat32 || (precision == Precision::kBfloat16 && bf16_kernels())) return {};
  if (precision == Precision::kFloat16) {
    return unsupported(
        "precision f16: the CPU's kernels store float32; expected f32 or bf16, or a backend such as opencl or cuda");
  }
  if (precision != Precision::kBfloat16) return invalid_argument("precision: expected f32, bf16 or f16");
  return unsupported(
      "precision bf16: expected a CPU with AVX-512 and AMX-BF16 or AVX512-BF16, and kernels for it in this build; "
      "found the instruction set " +
      std::string(active_isa().name) + " without them");
}

bool is_available(Precision precision) {
  return check_precision(precision).ok();
}

}  // namespace sparsenet
