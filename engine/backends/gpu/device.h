// Device: what the GPU plugins need of a driver. OpenCL and CUDA implement it; everything else is the same for both.
#pragma once

#include <sparsenet/plugin.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sparsenet::gpu {

// A failure: a status and one line. Functions of this folder return it; SNP_OK means that all is well.
struct [[nodiscard]] Outcome {
  snp_status status = SNP_OK;
  std::string message;
  bool ok() const { return status == SNP_OK; }
};
inline Outcome failure(snp_status status, std::string message) {
  return {status, std::move(message)};
}

// What sizes and variants of kernels are chosen by.
struct Traits {
  std::string name, vendor, driver;
  uint32_t units = 0;
  uint64_t memory_bytes = 0, max_allocation_bytes = 0;
  uint64_t local_bytes = 32768;  // of a group
  uint32_t max_group = 256;      // threads of a group
  uint32_t lanes = 32;           // threads that run in step: a warp, a wave; 1 on CPUs
  bool is_cpu = false;
  bool dot_product = false;    // sums of products of four bytes in one instruction
  bool tensor_cores = false;   // mma of float16
  bool device_fence = true;    // FENCE() of kernels/common.cl orders what other groups of a launch see
  int compute_capability = 0;  // CUDA: 75, 80, 90
};

// A kernel of a file in kernels/ with the macros it is compiled with.
struct KernelName {
  std::string file;     // "conv" for kernels/conv.cl
  std::string entry;    // the function's name
  std::string defines;  // "-DTILE=4 -DSTORE_HALF", with GROUP_X, GROUP_Y and GROUP_Z, in a fixed order
  bool operator<(const KernelName& o) const {
    return file != o.file ? file < o.file : entry != o.entry ? entry < o.entry : defines < o.defines;
  }
};

// One call of a kernel.
struct Launch {
  KernelName kernel;
  std::array<uint32_t, 3> groups{1, 1, 1}, group{1, 1, 1};  // how many, and threads of each
  std::vector<uint8_t> params;                              // the structure: begins with its size as an int
  uint32_t step = 0;                                        // that it belongs to
  uint64_t bytes_read = 0, bytes_written = 0;               // of device memory
};

// Memory of a device.
class Buffer {
 public:
  virtual ~Buffer() = default;
};

// A compiled kernel.
class Kernel {
 public:
  virtual ~Kernel() = default;
};

// A queue of work on a device, in which everything runs in order. Copies to the device return when the source may be
// overwritten; copies from it when they are done.
class Queue {
 public:
  virtual ~Queue() = default;
  virtual Outcome upload(Buffer& to, uint64_t offset, const void* from, uint64_t bytes) = 0;
  virtual Outcome download(const Buffer& from, uint64_t offset, void* to, uint64_t bytes) = 0;
  // `handle`: a cl_mem or a CUdeviceptr of the caller's.
  virtual Outcome copy_from_handle(Buffer& to, uint64_t offset, const void* handle, uint64_t bytes) = 0;
  virtual Outcome copy_to_handle(const Buffer& from, uint64_t offset, void* handle, uint64_t bytes) = 0;
  virtual Outcome fill_zero(Buffer& to, uint64_t bytes) = 0;
  virtual Outcome launch(const Kernel& kernel, const Launch& launch, Buffer& arena, Buffer& weights,
                         Buffer& scratch) = 0;
  virtual Outcome finish() = 0;
  // Keeps a list of launches, so that run_recorded() starts all of them at once. Everything must outlive the queue's
  // last run of them.
  struct Call {
    const Kernel* kernel;
    const Launch* launch;
  };
  virtual Outcome record(const std::vector<Call>& calls, Buffer& arena, Buffer& weights, Buffer& scratch) = 0;
  virtual Outcome run_recorded() = 0;
  // Runs the recorded launches one by one, and gives the milliseconds that each took on the device.
  virtual Outcome run_timed(std::vector<double>* milliseconds) = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const Traits& traits() const = 0;
  virtual Outcome make_queue(std::unique_ptr<Queue>* queue) = 0;
  virtual Outcome allocate(uint64_t bytes, std::unique_ptr<Buffer>* buffer) = 0;  // bytes > 0
  // Compiles kernels, or takes them from `cache_folder` (empty: no cache). `kernels` has one for each name.
  virtual Outcome compile(const std::vector<KernelName>& names, const std::string& cache_folder,
                          std::vector<std::shared_ptr<Kernel>>* kernels) = 0;
};

// What a plugin offers: made once, on the first call that needs it.
class Driver {
 public:
  virtual ~Driver() = default;
  virtual Outcome open() = 0;  // SNP_NO_DEVICE, with the reason, where there is no driver
  virtual size_t devices() const = 0;
  virtual Device& device(size_t index) = 0;
};

// The text of kernels/FILE.cl and of the files that it includes: what a device's compiler gets. Null if there is none.
const char* kernel_source(const std::string& file);

}  // namespace sparsenet::gpu
