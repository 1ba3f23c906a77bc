#include "backends/opencl/driver.h"

#include <algorithm>
#include <cstdio>

namespace sparsenet::opencl {
namespace {

constexpr cl_int kPlatformNotFound = -1001;  // of cl_khr_icd

std::string platform_text(const Api& api, cl_platform_id id, cl_platform_info what) {
  size_t bytes = 0;
  if (api.GetPlatformInfo(id, what, 0, nullptr, &bytes) != CL_SUCCESS || bytes == 0) return "";
  std::string text(bytes, '\0');
  if (api.GetPlatformInfo(id, what, bytes, text.data(), nullptr) != CL_SUCCESS) return "";
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

// Whether the plugin can use the device: it has OpenCL 1.2, with a compiler, and numbers as the host has them.
bool is_usable(const Api& api, cl_device_id id) {
  int major = 0, minor = 0;
  const std::string version = device_text(api, id, CL_DEVICE_VERSION);
  if (std::sscanf(version.c_str(), "OpenCL %d.%d", &major, &minor) != 2) return false;
  return (major > 1 || (major == 1 && minor >= 2)) &&
         device_number<cl_bool>(api, id, CL_DEVICE_AVAILABLE) != CL_FALSE &&
         device_number<cl_bool>(api, id, CL_DEVICE_COMPILER_AVAILABLE) != CL_FALSE &&
         device_number<cl_bool>(api, id, CL_DEVICE_ENDIAN_LITTLE) != CL_FALSE;
}

// GPUs come first, so that device 0 is the one that is meant where there is a CPU as well.
int rank_of(const Api& api, cl_device_id id) {
  const cl_device_type type = device_number<cl_device_type>(api, id, CL_DEVICE_TYPE);
  return (type & CL_DEVICE_TYPE_GPU) != 0 ? 0 : (type & CL_DEVICE_TYPE_CPU) != 0 ? 2 : 1;
}

}  // namespace

Outcome ClDriver::open() {
  const Api* api = nullptr;
  Outcome outcome = load_api(&api);
  if (!outcome.ok()) return outcome;
  cl_uint count = 0;
  cl_int code = api->GetPlatformIDs(0, nullptr, &count);
  if (code == kPlatformNotFound || (code == CL_SUCCESS && count == 0))
    return gpu::failure(SNP_NO_DEVICE,
                        "OpenCL is installed, but no driver for it (no platform); install that of the device");
  outcome = outcome_of(code, "clGetPlatformIDs");
  if (!outcome.ok()) return outcome;
  std::vector<cl_platform_id> platforms(count);
  outcome = outcome_of(api->GetPlatformIDs(count, platforms.data(), nullptr), "clGetPlatformIDs");
  if (!outcome.ok()) return outcome;

  struct Found {
    int rank;
    cl_device_id id;
    std::string platform;
  };
  std::vector<Found> found;
  size_t refused = 0;
  for (const cl_platform_id platform : platforms) {
    // A platform without devices, or whose driver fails, does not stand in the way of the others.
    if (api->GetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &count) != CL_SUCCESS || count == 0) continue;
    std::vector<cl_device_id> ids(count);
    if (api->GetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids.data(), nullptr) != CL_SUCCESS) continue;
    const std::string name =
        platform_text(*api, platform, CL_PLATFORM_NAME) + ", " + platform_text(*api, platform, CL_PLATFORM_VERSION);
    for (const cl_device_id id : ids) {
      if (is_usable(*api, id)) {
        found.push_back({rank_of(*api, id), id, name});
      } else {
        ++refused;
      }
    }
  }
  if (found.empty())
    return gpu::failure(SNP_NO_DEVICE, refused == 0 ? "OpenCL has no device; check that its driver sees it"
                                                    : "no device has OpenCL 1.2 or later with a compiler");
  std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.rank < b.rank; });
  devices_.clear();
  for (const Found& f : found) devices_.push_back(std::make_unique<ClDevice>(*api, f.id, f.platform));
  return {};
}

}  // namespace sparsenet::opencl
