// What the host does with a prepared plan.
#include "backends/gpu/prepared.h"

#include <cstring>

#include "backends/gpu/plugin.h"

namespace sparsenet::gpu {
namespace {

Outcome check_idle(const snp_prepared* prepared) {
  if (!prepared) return failure(SNP_INVALID_ARGUMENT, "the prepared plan is missing");
  if (prepared->running) return failure(SNP_INVALID_ARGUMENT, "the plan is running: wait() comes first");
  return {};
}

// What set_input() and get_output() have in common.
Outcome check_copy(const snp_prepared* prepared, const char* what, const std::vector<PreparedPort>& ports,
                   uint32_t index, const void* data, uint64_t bytes, uint32_t memory) {
  if (index >= ports.size())
    return failure(SNP_INVALID_ARGUMENT, "there is no " + std::string(what) + " " + std::to_string(index) +
                                             ": the plan has " + std::to_string(ports.size()));
  const std::string name = std::string(what) + " '" + ports[index].name + "'";
  if (bytes != ports[index].bytes)
    return failure(SNP_INVALID_ARGUMENT,
                   name + " has " + std::to_string(ports[index].bytes) + " bytes, not " + std::to_string(bytes));
  if (memory != SNP_HOST_MEMORY && memory != SNP_DEVICE_MEMORY)
    return failure(SNP_INVALID_ARGUMENT,
                   "memory of kind " + std::to_string(memory) + " is neither the host's (0) nor the device's (1)");
  if (!data) return failure(SNP_INVALID_ARGUMENT, "the address for " + name + " is null");
  return check_idle(prepared);
}

}  // namespace

void destroy(snp_prepared* prepared) {
  delete prepared;
}

Outcome set_input(snp_prepared* prepared, uint32_t index, const void* data, uint64_t bytes, uint32_t memory) {
  if (!prepared) return check_idle(prepared);
  const Outcome outcome = check_copy(prepared, "input", prepared->inputs, index, data, bytes, memory);
  return outcome.ok() ? prepared->executable->set_input(index, data, bytes, static_cast<snp_memory>(memory)) : outcome;
}

Outcome get_output(snp_prepared* prepared, uint32_t index, void* data, uint64_t bytes, uint32_t memory) {
  if (!prepared) return check_idle(prepared);
  const Outcome outcome = check_copy(prepared, "output", prepared->outputs, index, data, bytes, memory);
  return outcome.ok() ? prepared->executable->get_output(index, data, bytes, static_cast<snp_memory>(memory)) : outcome;
}

Outcome run(snp_prepared* prepared) {
  Outcome outcome = check_idle(prepared);
  if (outcome.ok()) outcome = prepared->executable->start();
  return outcome.ok() ? prepared->executable->wait() : outcome;
}

Outcome run_async(snp_prepared* prepared) {
  Outcome outcome = check_idle(prepared);
  if (outcome.ok()) outcome = prepared->executable->start();
  if (outcome.ok()) prepared->running = true;
  return outcome;
}

Outcome wait(snp_prepared* prepared) {
  if (!prepared) return check_idle(prepared);
  prepared->running = false;
  return prepared->executable->wait();
}

Outcome profile(snp_prepared* prepared, snp_step_profile* profiles, uint32_t count) {
  Outcome outcome = check_idle(prepared);
  if (!outcome.ok()) return outcome;
  if (count != prepared->step_count || (count != 0 && !profiles))
    return failure(SNP_INVALID_ARGUMENT, "the plan has " + std::to_string(prepared->step_count) +
                                             " steps, and room for the profiles of " + std::to_string(count) +
                                             " is given");
  const size_t size = count != 0 ? profiles->struct_size : sizeof *profiles;
  if (size < sizeof *profiles || size % alignof(snp_step_profile) != 0)
    return failure(SNP_INVALID_ARGUMENT, "the structures for profiles are too short for interface 1.0");
  std::vector<double> milliseconds;
  outcome = prepared->executable->time(&milliseconds);
  if (!outcome.ok()) return outcome;

  std::vector<snp_step_profile> sums(count);
  const std::vector<Launch>& launches = prepared->executable->program().launches;
  for (size_t i = 0; i < launches.size() && i < milliseconds.size(); ++i) {
    const Launch& launch = launches[i];
    snp_step_profile& sum = sums[launch.step];
    ++sum.launches;
    sum.milliseconds += milliseconds[i];
    sum.bytes_read += launch.bytes_read;
    sum.bytes_written += launch.bytes_written;
    sum.kernel = launch.kernel.entry.c_str();  // of several, the last one, which writes the result, names the step
  }
  for (uint32_t i = 0; i < count; ++i) {
    sums[i].struct_size = sizeof sums[i];
    if (!sums[i].kernel) sums[i].kernel = "";
    std::memcpy(reinterpret_cast<char*>(profiles) + i * size, &sums[i], sizeof sums[i]);
  }
  return {};
}

}  // namespace sparsenet::gpu
