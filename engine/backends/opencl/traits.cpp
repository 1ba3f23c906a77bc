// What the sizes and variants of kernels are chosen by, as far as OpenCL tells.
#include <algorithm>
#include <iterator>

#include "backends/opencl/device.h"

namespace sparsenet::opencl {
namespace {

// Of PCI, which drivers report.
constexpr cl_uint kNvidia = 0x10de, kAmd = 0x1002, kIntel = 0x8086, kArm = 0x13b5, kQualcomm = 0x5143;
// Of extensions.
constexpr cl_device_info kWarpSizeNvidia = 0x4003, kWavefrontWidthAmd = 0x4043, kDotProductAccelerated = 0x1075;

bool has_extension(const Api& api, cl_device_id id, const char* name) {
  const std::string all = " " + device_text(api, id, CL_DEVICE_EXTENSIONS) + " ";
  return all.find(" " + std::string(name) + " ") != std::string::npos;
}

uint32_t lanes_of(const Api& api, cl_device_id id, bool is_cpu) {
  if (is_cpu) return 1;
  cl_uint lanes = 0;
  if (has_extension(api, id, "cl_nv_device_attribute_query"))
    lanes = device_number<cl_uint>(api, id, kWarpSizeNvidia);
  else if (has_extension(api, id, "cl_amd_device_attribute_query"))
    lanes = device_number<cl_uint>(api, id, kWavefrontWidthAmd);
  if (lanes >= 1 && lanes <= 128) return lanes;
  switch (device_number<cl_uint>(api, id, CL_DEVICE_VENDOR_ID)) {
    case kAmd:
    case kQualcomm:
      return 64;
    case kIntel:
    case kArm:
      return 16;
    case kNvidia:
    default:
      return 32;
  }
}

// Whether signed bytes, four in a word, are multiplied and summed up in one instruction.
bool has_dot_product(const Api& api, cl_device_id id) {
  struct Accelerated {  // of the extension
    cl_bool of_signed, of_unsigned, of_mixed;
    cl_bool saturating_of_signed, saturating_of_unsigned, saturating_of_mixed;
  };
  return has_extension(api, id, "cl_khr_integer_dot_product") &&
         device_number<Accelerated>(api, id, kDotProductAccelerated).of_signed != CL_FALSE;
}

// Whether groups of one launch may hand each other results. CPUs keep their caches coherent; elsewhere it takes the
// fences that only these compilers have (FENCE() in kernels/common.cl).
bool has_device_fence(const std::string& platform, bool is_cpu) {
  constexpr const char* compilers[] = {"NVIDIA CUDA", "AMD Accelerated Parallel Processing"};
  return is_cpu || std::any_of(std::begin(compilers), std::end(compilers),
                               [&](const char* name) { return platform.rfind(name, 0) == 0; });
}

}  // namespace

std::string device_text(const Api& api, cl_device_id id, cl_device_info what) {
  size_t bytes = 0;
  if (api.GetDeviceInfo(id, what, 0, nullptr, &bytes) != CL_SUCCESS || bytes == 0) return "";
  std::string text(bytes, '\0');
  if (api.GetDeviceInfo(id, what, bytes, text.data(), nullptr) != CL_SUCCESS) return "";
  text.resize(std::min(text.size(), text.find('\0')));
  text.erase(0, std::min(text.size(), text.find_first_not_of(' ')));
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

gpu::Traits traits_of(const Api& api, cl_device_id id, const std::string& platform) {
  gpu::Traits traits;
  traits.name = device_text(api, id, CL_DEVICE_NAME);
  traits.vendor = device_text(api, id, CL_DEVICE_VENDOR);
  traits.driver = device_text(api, id, CL_DRIVER_VERSION) + " (" + platform + ")";
  traits.units = device_number<cl_uint>(api, id, CL_DEVICE_MAX_COMPUTE_UNITS);
  traits.memory_bytes = device_number<cl_ulong>(api, id, CL_DEVICE_GLOBAL_MEM_SIZE);
  traits.max_allocation_bytes = device_number<cl_ulong>(api, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
  traits.is_cpu = (device_number<cl_device_type>(api, id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
  traits.lanes = lanes_of(api, id, traits.is_cpu);
  traits.dot_product = has_dot_product(api, id);
  traits.device_fence = has_device_fence(platform, traits.is_cpu);
  const uint64_t local = device_number<cl_ulong>(api, id, CL_DEVICE_LOCAL_MEM_SIZE);
  if (local != 0) traits.local_bytes = local;

  // A group may be as large as its first dimension: kernels with one dimension are the largest.
  size_t group = device_number<size_t>(api, id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
  size_t sizes[8] = {};
  if (api.GetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof sizes, sizes, nullptr) == CL_SUCCESS && sizes[0] != 0)
    group = std::min(group, sizes[0]);
  if (group != 0) traits.max_group = static_cast<uint32_t>(std::min<size_t>(group, 1u << 20));
  return traits;
}

}  // namespace sparsenet::opencl
