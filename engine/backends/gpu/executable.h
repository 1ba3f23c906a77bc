// Executable: a program in a device's memory, with its kernels compiled and its launches recorded.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/gpu/builder.h"
#include "backends/gpu/device.h"
#include "backends/gpu/host.h"

namespace sparsenet::gpu {

class Executable {
 public:
  // Takes the program's launches; its block of weights is copied to the device, and freed on the host.
  static Outcome load(Device& device, const Host& host, const std::string& cache_folder, Program program,
                      std::unique_ptr<Executable>* executable);
  ~Executable();  // waits for what runs

  // Refuses sizes that the device cannot allocate in one piece.
  static Outcome check_sizes(const Traits& device, const Program& sizes);
  // Bytes of host memory that a program's lists of launches take.
  static uint64_t launch_bytes(const Program& program);

  const Program& program() const { return program_; }
  Outcome set_input(size_t index, const void* data, uint64_t bytes, snp_memory memory);
  Outcome start();
  Outcome wait();
  Outcome get_output(size_t index, void* data, uint64_t bytes, snp_memory memory);
  // Runs once, and gives the milliseconds of each of the program's launches.
  Outcome time(std::vector<double>* milliseconds);

 private:
  struct Block {
    Reservation reservation;
    std::unique_ptr<Buffer> buffer;  // null: no bytes
  };

  explicit Executable(Program program) : program_(std::move(program)) {}
  Outcome allocate(Device& device, const Host& host);
  Outcome allocate(Device& device, const Host& host, uint64_t bytes, const char* purpose, Block* block);
  Outcome compile(Device& device, const std::string& cache_folder);
  Outcome upload_and_record();
  Outcome launch(const std::vector<Launch>& launches);
  const Kernel* kernel_of(const Launch& launch) const { return kernels_.at(launch.kernel).get(); }
  // A block without bytes is never read or written: any other stands in for it.
  Buffer& buffer(const Block& block) const;

  // In this order, since queues use kernels and buffers until they are destroyed.
  Program program_;
  std::map<KernelName, std::shared_ptr<Kernel>> kernels_;
  Block arena_, weights_, scratch_;
  std::unique_ptr<Queue> queue_;
};

}  // namespace sparsenet::gpu
