#include "backends/gpu/plugin.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "backends/gpu/builder.h"
#include "backends/gpu/plan_check.h"
#include "backends/gpu/prepared.h"
#include "backends/gpu/tuning.h"

namespace sparsenet::gpu {
namespace {

// Fills in a structure of the host's, as far as the host has it; struct_size 0 stands for interface 1.0.
template <class T>
Outcome hand_out(T filled, T* out, const char* name) {
  if (!out) return failure(SNP_INVALID_ARGUMENT, std::string("there is no ") + name + " to fill in");
  const size_t size = out->struct_size != 0 ? std::min<size_t>(out->struct_size, sizeof(T)) : sizeof(T);
  if (size < sizeof out->struct_size)
    return failure(SNP_INVALID_ARGUMENT, std::string(name) + " is too short to be filled in");
  filled.struct_size = static_cast<uint32_t>(size);
  std::memcpy(out, &filled, size);
  return {};
}

BuildOptions build_options(const snp_options& options, const Traits& traits) {
  BuildOptions result;
  result.device = &traits;
  result.half = options.precision == SNP_FLOAT16;
  result.tensor_cores = result.half && (options.flags & SNP_TENSOR_CORES) != 0 && traits.tensor_cores;
  return result;
}

Outcome check_options(const snp_options* options) {
  if (!options || options->struct_size < sizeof *options)
    return failure(SNP_INVALID_ARGUMENT, "the options are missing or too short for interface 1.0");
  if (options->precision != SNP_FLOAT32 && options->precision != SNP_FLOAT16)
    return failure(SNP_UNSUPPORTED,
                   "precision " + std::to_string(options->precision) + " is neither float32 (0) nor float16 (5)");
  return {};
}

std::string cache_folder_of(const snp_options& options) {
  return options.cache_folder ? options.cache_folder : "";
}

std::vector<PreparedPort> ports_of(const snp_port* ports, uint32_t count) {
  std::vector<PreparedPort> result;
  result.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const snp_port& port = *SNP_AT(snp_port, ports, i);
    result.push_back({port.name ? port.name : "", port.bytes});
  }
  return result;
}

// What building takes on the host for a moment: the block of weights, and one parameter's numbers in two orders.
uint64_t building_bytes(const snp_plan& plan, const Program& sizes) {
  uint64_t largest = 0;
  for (uint32_t i = 0; i < plan.constant_count; ++i)
    largest = std::max(largest, SNP_AT(snp_constant, plan.constants, i)->elements);
  return sizes.weights_bytes + 2 * sizeof(float) * std::min<uint64_t>(largest, sizes.weights_bytes);
}

}  // namespace

const char* Plugin::attach(const snp_host* host) {
  if (!host || host->size < offsetof(snp_host, capabilities) + sizeof host->capabilities)
    return "the host's table is missing or too short for interface 1.0";
  if (host->major != SNP_MAJOR) return "the host has another version of the plugin interface than 1";
  host_.store(host);
  return nullptr;
}

Outcome Plugin::open(Driver** driver) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!driver_) {
    std::unique_ptr<Driver> made = identity_.make_driver();
    const Outcome outcome = made->open();
    if (!outcome.ok()) return outcome;
    driver_ = std::move(made);
  }
  *driver = driver_.get();
  return {};
}

Outcome Plugin::find_device(const snp_options* options, Device** device) {
  Outcome outcome = check_options(options);
  Driver* driver = nullptr;
  if (outcome.ok()) outcome = open(&driver);
  if (!outcome.ok()) return outcome;
  if (options->device >= driver->devices())
    return failure(SNP_NO_DEVICE, "there is no device " + std::to_string(options->device) + ": " + identity_.name +
                                      " has " + std::to_string(driver->devices()) + ", numbered from 0");
  *device = &driver->device(options->device);
  return {};
}

Outcome Plugin::describe(snp_description* description) const {
  snp_description filled{};
  filled.score = identity_.score;
  filled.name = identity_.name;
  filled.version = identity_.version;
  return hand_out(filled, description, "description");
}

Outcome Plugin::count_devices(uint32_t* count) {
  if (!count) return failure(SNP_INVALID_ARGUMENT, "there is no place for the number of devices");
  *count = 0;
  Driver* driver = nullptr;
  const Outcome outcome = open(&driver);
  if (outcome.ok()) *count = static_cast<uint32_t>(driver->devices());
  return outcome;
}

Outcome Plugin::describe_device(uint32_t index, snp_device* device) {
  snp_options options{};
  options.struct_size = sizeof options;
  options.device = index;
  Device* found = nullptr;
  const Outcome outcome = find_device(&options, &found);
  if (!outcome.ok()) return outcome;
  const Traits& traits = found->traits();
  snp_device filled{};
  filled.units = traits.units;
  filled.name = traits.name.c_str();
  filled.vendor = traits.vendor.c_str();
  filled.driver = traits.driver.c_str();
  filled.memory_bytes = traits.memory_bytes;
  filled.max_allocation_bytes = traits.max_allocation_bytes;
  return hand_out(filled, device, "description of a device");
}

Outcome Plugin::supports(const snp_plan* plan, const snp_options* options, uint8_t* supported, const char** reasons) {
  Device* device = nullptr;
  Outcome outcome = find_device(options, &device);
  if (outcome.ok()) outcome = check_plan(plan);
  if (!outcome.ok()) return outcome;
  if (plan->step_count != 0 && (!supported || !reasons))
    return failure(SNP_INVALID_ARGUMENT, "there is no place for what is supported, or for the reasons");
  BuildOptions build = build_options(*options, device->traits());
  build.measure_only = true;
  Builder builder(*plan, build);
  for (uint32_t i = 0; i < plan->step_count; ++i) {
    reasons[i] = builder.reason(i);
    supported[i] = reasons[i] ? 0 : 1;
  }
  return {};
}

Outcome Plugin::measure(const snp_plan* plan, const snp_options* options, snp_needs* needs) {
  Device* device = nullptr;
  Outcome outcome = find_device(options, &device);
  if (outcome.ok()) outcome = check_plan(plan);
  if (!outcome.ok()) return outcome;
  BuildOptions build = build_options(*options, device->traits());
  build.measure_only = true;
  Tuning tuning;
  if ((options->flags & SNP_TUNE) != 0) {
    tuning = read_tuning({cache_folder_of(*options), requirements_of(*options, device->traits())});
    build.tuning = &tuning;
  }
  Program program;
  outcome = Builder(*plan, build).build(&program);
  if (outcome.ok()) outcome = Executable::check_sizes(device->traits(), program);
  if (!outcome.ok()) return outcome;
  snp_needs filled{};
  filled.launches = static_cast<uint32_t>(program.launches.size());
  filled.arena_bytes = program.arena_bytes;
  filled.weights_bytes = program.weights_bytes;
  filled.scratch_bytes = program.scratch_bytes;
  return hand_out(filled, needs, "needs");
}

Outcome Plugin::prepare(const snp_plan* plan, const snp_options* options, snp_prepared** prepared) {
  if (!prepared) return failure(SNP_INVALID_ARGUMENT, "there is no place for the prepared plan");
  *prepared = nullptr;
  Device* device = nullptr;
  Outcome outcome = find_device(options, &device);
  if (outcome.ok()) outcome = check_plan(plan);
  if (!outcome.ok()) return outcome;
  const Host host(host_.load());
  const std::string cache_folder = cache_folder_of(*options);
  BuildOptions build = build_options(*options, device->traits());
  Tuning tuning;
  if ((options->flags & SNP_TUNE) != 0) {
    outcome = tune({*plan, build, *device, host, cache_folder},
                   {cache_folder, requirements_of(*options, device->traits())}, &tuning);
    if (!outcome.ok()) return outcome;
    build.tuning = &tuning;
  }

  // Sizes come first, so that nothing large is made that would not fit.
  build.measure_only = true;
  Program program;
  outcome = Builder(*plan, build).build(&program);
  if (outcome.ok()) outcome = Executable::check_sizes(device->traits(), program);
  if (!outcome.ok()) return outcome;
  auto made = std::make_unique<snp_prepared>();
  Reservation building;
  outcome = made->launches.reserve(host, SNP_HOST_MEMORY, Executable::launch_bytes(program), "lists of kernels");
  if (outcome.ok())
    outcome = building.reserve(host, SNP_HOST_MEMORY, building_bytes(*plan, program), "packing weights");
  if (!outcome.ok()) return outcome;
  build.measure_only = false;
  outcome = Builder(*plan, build).build(&program);
  if (outcome.ok()) outcome = Executable::load(*device, host, cache_folder, std::move(program), &made->executable);
  if (!outcome.ok()) return outcome;
  made->inputs = ports_of(plan->inputs, plan->input_count);
  made->outputs = ports_of(plan->outputs, plan->output_count);
  made->step_count = plan->step_count;
  *prepared = made.release();
  return {};
}

std::string Plugin::requirements_of(const snp_options& options, const Traits& traits) const {
  std::string text = std::string(identity_.name) + ' ' + identity_.version + "; " + traits.vendor + ' ' + traits.name +
                     "; driver " + traits.driver + (options.precision == SNP_FLOAT16 ? "; float16" : "; float32");
  if ((options.flags & SNP_TUNE) != 0) text += "; tuned";
  if ((options.flags & SNP_TF32) != 0) text += "; TF32";
  if ((options.flags & SNP_TENSOR_CORES) != 0) text += "; tensor cores";
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

Outcome Plugin::requirements(const snp_options* options, char* text, size_t capacity) {
  if (!text || capacity == 0) return failure(SNP_INVALID_ARGUMENT, "there is no place for the requirements");
  text[0] = '\0';
  Device* device = nullptr;
  const Outcome outcome = find_device(options, &device);
  if (!outcome.ok()) return outcome;
  const std::string found = requirements_of(*options, device->traits());
  if (found.size() >= capacity)
    return failure(SNP_INVALID_ARGUMENT, "the requirements take " + std::to_string(found.size() + 1) +
                                             " bytes, and there is room for " + std::to_string(capacity));
  std::memcpy(text, found.c_str(), found.size() + 1);
  return {};
}

snp_status guarded(const std::function<Outcome()>& function, char* text, size_t capacity) {
  const auto report = [text, capacity](snp_status status, const char* message) {
    std::snprintf(text, capacity, "%s", message);
    std::replace(text, text + std::strlen(text), '\n', ' ');
    return status;
  };
  try {
    const Outcome outcome = function();
    return report(outcome.status, outcome.message.c_str());
  } catch (const std::bad_alloc&) {
    return report(SNP_NO_MEMORY, "the host has not enough memory");
  } catch (const std::exception& error) {
    return report(SNP_FAILED, error.what());
  } catch (...) {
    return report(SNP_FAILED, "an unknown error in the plugin");
  }
}

}  // namespace sparsenet::gpu
