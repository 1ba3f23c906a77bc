#include "backends/gpu/executable.h"

namespace sparsenet::gpu {
namespace {

constexpr const char* kArena = "the activations";
constexpr const char* kWeights = "the weights";
constexpr const char* kScratch = "scratch";

// The lists of launches of a program: those of its steps, and those of each port.
template <class Function>
void for_each_list(const Program& program, Function&& function) {
  function(program.launches);
  for (const std::vector<Launch>& launches : program.input_launches) function(launches);
  for (const std::vector<Launch>& launches : program.output_launches) function(launches);
}

}  // namespace

Outcome Executable::check_sizes(const Traits& device, const Program& sizes) {
  const uint64_t most = device.max_allocation_bytes != 0 ? device.max_allocation_bytes : device.memory_bytes;
  if (most == 0) return {};
  const struct {
    const char* purpose;
    uint64_t bytes;
  } blocks[] = {{kArena, sizes.arena_bytes}, {kWeights, sizes.weights_bytes}, {kScratch, sizes.scratch_bytes}};
  for (const auto& block : blocks) {
    if (block.bytes <= most) continue;
    return failure(SNP_NO_MEMORY, std::string(block.purpose) + " of the plan would take " +
                                      std::to_string(block.bytes) + " bytes, but " + device.name +
                                      " allocates at most " + std::to_string(most) +
                                      " bytes in one piece; use a smaller batch or float16 storage");
  }
  return {};
}

uint64_t Executable::launch_bytes(const Program& program) {
  uint64_t bytes = 0;
  for_each_list(program, [&bytes](const std::vector<Launch>& launches) {
    bytes += sizeof launches;
    for (const Launch& launch : launches) {
      bytes += sizeof launch + launch.params.size() + launch.kernel.file.size() + launch.kernel.entry.size() +
               launch.kernel.defines.size();
    }
  });
  return bytes;
}

Outcome Executable::load(Device& device, const Host& host, const std::string& cache_folder, Program program,
                         std::unique_ptr<Executable>* executable) {
  Outcome outcome = check_sizes(device.traits(), program);
  if (!outcome.ok()) return outcome;
  std::unique_ptr<Executable> made(new Executable(std::move(program)));
  outcome = made->allocate(device, host);
  if (outcome.ok()) outcome = made->compile(device, cache_folder);
  if (outcome.ok()) outcome = device.make_queue(&made->queue_);
  if (outcome.ok()) outcome = made->upload_and_record();
  if (outcome.ok()) *executable = std::move(made);
  return outcome;
}

Executable::~Executable() {
  if (queue_) (void)queue_->finish();  // Whether or not the run succeeded, nothing runs any more.
}

Outcome Executable::allocate(Device& device, const Host& host, uint64_t bytes, const char* purpose, Block* block) {
  if (bytes == 0) return {};
  const Outcome outcome = block->reservation.reserve(host, SNP_DEVICE_MEMORY, bytes, purpose);
  return outcome.ok() ? device.allocate(bytes, &block->buffer) : outcome;
}

Outcome Executable::allocate(Device& device, const Host& host) {
  Outcome outcome = allocate(device, host, program_.arena_bytes, kArena, &arena_);
  if (outcome.ok()) outcome = allocate(device, host, program_.weights_bytes, kWeights, &weights_);
  if (outcome.ok()) outcome = allocate(device, host, program_.scratch_bytes, kScratch, &scratch_);
  return outcome;
}

Outcome Executable::compile(Device& device, const std::string& cache_folder) {
  for_each_list(program_, [this](const std::vector<Launch>& launches) {
    for (const Launch& launch : launches) kernels_.emplace(launch.kernel, nullptr);
  });
  std::vector<KernelName> names;
  names.reserve(kernels_.size());
  for (const auto& [name, kernel] : kernels_) names.push_back(name);
  std::vector<std::shared_ptr<Kernel>> compiled;
  const Outcome outcome = device.compile(names, cache_folder, &compiled);
  if (!outcome.ok()) return outcome;
  size_t i = 0;
  for (auto& [name, kernel] : kernels_) kernel = compiled[i++];
  return {};
}

Outcome Executable::upload_and_record() {
  // Results never depend on what the memory held before. Besides, drivers may put off an allocation until its first
  // use: it is to fail here, not in a run.
  Outcome outcome;
  if (arena_.buffer) outcome = queue_->fill_zero(*arena_.buffer, program_.arena_bytes);
  if (outcome.ok() && scratch_.buffer) outcome = queue_->fill_zero(*scratch_.buffer, program_.scratch_bytes);
  if (outcome.ok() && weights_.buffer)
    outcome = queue_->upload(*weights_.buffer, 0, program_.weights.data(), program_.weights.size());
  if (outcome.ok()) outcome = queue_->finish();
  if (!outcome.ok()) return outcome;
  std::vector<uint8_t>().swap(program_.weights);
  if (program_.launches.empty()) return {};

  std::vector<Queue::Call> calls;
  calls.reserve(program_.launches.size());
  for (const Launch& launch : program_.launches) calls.push_back({kernel_of(launch), &launch});
  return queue_->record(calls, buffer(arena_), buffer(weights_), buffer(scratch_));
}

Buffer& Executable::buffer(const Block& block) const {
  if (block.buffer) return *block.buffer;
  return arena_.buffer ? *arena_.buffer : weights_.buffer ? *weights_.buffer : *scratch_.buffer;
}

Outcome Executable::launch(const std::vector<Launch>& launches) {
  for (const Launch& launch : launches) {
    const Outcome outcome =
        queue_->launch(*kernel_of(launch), launch, buffer(arena_), buffer(weights_), buffer(scratch_));
    if (!outcome.ok()) return outcome;
  }
  return {};
}

Outcome Executable::set_input(size_t index, const void* data, uint64_t bytes, snp_memory memory) {
  if (bytes == 0) return {};
  const Outcome outcome = memory == SNP_DEVICE_MEMORY ? queue_->copy_from_handle(*scratch_.buffer, 0, data, bytes)
                                                      : queue_->upload(*scratch_.buffer, 0, data, bytes);
  return outcome.ok() ? launch(program_.input_launches[index]) : outcome;
}

Outcome Executable::get_output(size_t index, void* data, uint64_t bytes, snp_memory memory) {
  if (bytes == 0) return {};
  const Outcome outcome = launch(program_.output_launches[index]);
  if (!outcome.ok()) return outcome;
  return memory == SNP_DEVICE_MEMORY ? queue_->copy_to_handle(*scratch_.buffer, 0, data, bytes)
                                     : queue_->download(*scratch_.buffer, 0, data, bytes);
}

Outcome Executable::start() {
  return program_.launches.empty() ? Outcome() : queue_->run_recorded();
}

Outcome Executable::wait() {
  return queue_->finish();
}

Outcome Executable::time(std::vector<double>* milliseconds) {
  milliseconds->clear();
  return program_.launches.empty() ? Outcome() : queue_->run_timed(milliseconds);
}

}  // namespace sparsenet::gpu
