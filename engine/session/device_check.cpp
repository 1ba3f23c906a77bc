#include "session/device_check.h"

#include <sparsenet/model.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/checksum.h"
#include "base/files.h"
#include "runtime/port_copy.h"
#include "session/bound_plan.h"
#include "session/executor.h"
#include "session/plugin_parts.h"

namespace sparsenet {
namespace {

// Max |found - expected| / max(1e-6, max |expected|). Values that are not finite must be the same ones.
double relative_error(const std::vector<float>& expected, const std::vector<float>& found) {
  double largest = 1e-6, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = expected[i], f = found[i];
    if (!std::isfinite(e) || !std::isfinite(f)) {
      if (!(e == f || (std::isnan(e) && std::isnan(f)))) return std::numeric_limits<double>::infinity();
      continue;
    }
    largest = std::max(largest, std::fabs(e));
    difference = std::max(difference, std::fabs(f - e));
  }
  return difference / largest;
}

// Real numbers of the first `count` elements. Integers count as they are, without scale and zero point.
std::vector<float> numbers(DataType type, const std::vector<uint8_t>& bytes, size_t count) {
  std::vector<float> values(count);
  if (type == DataType::kFloat32) {
    if (count > 0) std::memcpy(values.data(), bytes.data(), count * sizeof(float));
    return values;
  }
  for (size_t i = 0; i < count; ++i) {
    values[i] =
        type == DataType::kInt8 ? static_cast<float>(static_cast<int8_t>(bytes[i])) : static_cast<float>(bytes[i]);
  }
  return values;
}

// An integer beside the right one is what real numbers in between may lead to.
double tolerated(DataType type, double error, double largest_integer_error) {
  return type == DataType::kFloat32 ? error : error <= largest_integer_error ? 0 : error;
}
constexpr double kIntegerError = 1.01 / 64;

Result<double> compare_with(const Graph& source, const SessionOptions& wanted, int64_t images,
                            const std::vector<TensorInfo>& output_ports, const PortValues& inputs,
                            const PortValues& outputs) {
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.batch = images;
  options.optimize = wanted.optimize;
  options.threads = wanted.threads;
  options.thread_hook = wanted.thread_hook;
  options.flush_denormals = wanted.flush_denormals;
  options.max_memory_bytes = wanted.max_memory_bytes;
  SPARSENET_ASSIGN_OR_RETURN(auto cpu, make_host_executor(source, nullptr, options));
  for (size_t i = 0; i < inputs.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(cpu->set_input_elements(i, inputs[i].data()));
  }
  SPARSENET_RETURN_IF_ERROR(cpu->run(false));
  double worst = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorInfo& port = cpu->outputs()[i];
    const auto count = static_cast<size_t>(element_count(port.shape));
    if (count > static_cast<size_t>(element_count(output_ports[i].shape)))
      return internal_error("outputs of another size");
    std::vector<uint8_t> expected(count * size_of(port.type));
    SPARSENET_RETURN_IF_ERROR(cpu->get_output_elements(i, expected.data()));
    const double error = relative_error(numbers(port.type, expected, count), numbers(port.type, outputs[i], count));
    worst = std::max(worst, tolerated(port.type, error, kIntegerError));
  }
  return worst;
}

bool has_batch(const std::vector<TensorInfo>& ports, int64_t batch) {
  return std::all_of(ports.begin(), ports.end(),
                     [&](const TensorInfo& port) { return !port.shape.empty() && port.shape[0] == batch; });
}

std::string verdict_path(const std::string& folder, const std::string& key) {
  char name[32];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(xxh64(key.data(), key.size())));
  return folder + "/verdicts/" + name;
}

std::string verdict_of(const std::string& key) {
  return "The outputs of this network on this device agree with the CPU's.\n" + key + "\n";
}

// Values of a view as real numbers, in NCHW order; integers as they are.
std::vector<float> values_of(const rt::View& view, const uint8_t* arena) {
  std::vector<float> values(static_cast<size_t>(int64_t{view.n} * view.h * view.w * view.c));
  rt::copy_real_from_view(view, {}, arena, values.data());
  return values;
}

// Runs one step on the device, as a plan of its own: all buffers that are alive go in from one arena, and out to
// another.
Status run_step(const Plugin& plugin, const snp_options& device_options, const Plan& plan,
                const std::vector<Tensor>& constants, size_t step, const uint8_t* from, uint8_t* to) {
  SPARSENET_ASSIGN_OR_RETURN(const BufferPorts alive, buffers_alive(plan, step, step));
  const PlanRange range{step, step + 1, alive.ports, alive.ports};
  SPARSENET_ASSIGN_OR_RETURN(const PlanData data,
                             PlanData::make(plan, constants, range, !plugin.can(SNP_READS_FLOAT16)));
  PreparedPlan prepared;
  SPARSENET_RETURN_IF_ERROR(prepared.create(plugin, data.plan(), device_options));
  for (size_t i = 0; i < alive.ports.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(prepared.set_input(i, from + alive.segments[i].offset, bytes_of(alive.ports[i])));
  }
  SPARSENET_RETURN_IF_ERROR(prepared.run());
  for (size_t i = 0; i < alive.ports.size(); ++i) {
    SPARSENET_RETURN_IF_ERROR(prepared.get_output(i, to + alive.segments[i].offset, bytes_of(alive.ports[i])));
  }
  return {};
}

}  // namespace

double check_tolerance(Precision precision) {
  return precision == Precision::kFloat16 ? 3e-2 : 1e-3;
}

Result<double> compare_outputs(const Graph& source, const SessionOptions& options,
                               const std::vector<TensorInfo>& input_ports, const std::vector<TensorInfo>& output_ports,
                               const PortValues& inputs, const PortValues& outputs) {
  if (options.batch > 1 && has_batch(input_ports, options.batch) && has_batch(output_ports, options.batch)) {
    // The first image comes first in every port. If it differs, images may depend on each other: all are compared,
    // unless that takes too much memory.
    auto first = compare_with(source, options, 1, output_ports, inputs, outputs);
    if (first.ok() && *first <= check_tolerance(options.precision)) return first;
    auto all = compare_with(source, options, options.batch, output_ports, inputs, outputs);
    return first.ok() && all.status().code() == StatusCode::kOutOfMemory ? first : all;
  }
  return compare_with(source, options, options.batch, output_ports, inputs, outputs);
}

Status check_each_step(const Plugin& plugin, const snp_options& device_options, const Plan& plan,
                       const std::vector<Tensor>& constants, size_t begin, size_t end, const SessionOptions& options,
                       const PortValues& inputs, std::string* found) {
  BindOptions bind;
  SPARSENET_RETURN_IF_ERROR(choose_backend(Backend::kPortable, options.threads, options.thread_hook, &bind));
  bind.flush_denormals = options.flush_denormals;
  bind.max_memory_bytes = options.max_memory_bytes;
  bind.owner = "the check of each step";
  BoundPlan cpu;
  SPARSENET_RETURN_IF_ERROR(cpu.create(plan, bind));
  for (size_t i = 0; i < plan.inputs.size(); ++i) cpu.write_elements(plan.inputs[i], inputs[i].data());
  SPARSENET_RETURN_IF_ERROR(cpu.begin_run());
  cpu.execute(0, begin);
  Status status;
  std::vector<uint8_t> arena(plan.arena_bytes);
  for (size_t i = begin; i < end && found->empty(); ++i) {
    status = run_step(plugin, device_options, plan, constants, i, cpu.host_arena(), arena.data());
    if (!status.ok()) break;
    cpu.execute(i, i + 1);
    const rt::View& out = plan.steps[i].out;
    const double error =
        tolerated(static_cast<DataType>(out.type),
                  relative_error(values_of(out, cpu.host_arena()), values_of(out, arena.data())), kIntegerError);
    if (error <= check_tolerance(options.precision)) continue;
    char text[64];
    std::snprintf(text, sizeof text, "relative error %.2g", error);
    *found = "node '" + std::string(plan.steps[i].name) + "' (step " + std::to_string(i) + "), " + text;
  }
  const Status ended = cpu.end_run();
  return status.ok() ? ended : status;
}

bool was_checked(const std::string& folder, const std::string& key) {
  if (folder.empty()) return false;
  const auto file = copy_file(verdict_path(folder, key));
  const std::string text = verdict_of(key);
  return file.ok() && file->size == text.size() && std::memcmp(file->data, text.data(), text.size()) == 0;
}

void keep_verdict(const std::string& folder, const std::string& key) {
  if (folder.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder + "/verdicts", error);
  const std::string text = verdict_of(key);
  // A verdict that cannot be kept is found anew by the next process.
  (void)write_file_atomically(verdict_path(folder, key), text.data(), text.size());
}

}  // namespace sparsenet
