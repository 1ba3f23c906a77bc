// The guardrail of plugins: what a device computes is compared with the CPU once, and the verdict is kept.
#pragma once

#include <sparsenet/session.h>
#include <sparsenet/status.h>

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "plugin/plan_data.h"
#include "plugin/prepared.h"

namespace sparsenet {

// Elements of inputs or outputs in the graph's own order, each of its port's type.
using PortValues = std::vector<std::vector<uint8_t>>;

// Bound on max |difference| / max |expected|. Float32 devices sum in another order and may use Winograd's algorithm;
// float16 rounds every stored value to 11 bits.
double check_tolerance(Precision precision);

// What a device computed for a batch compared with the CPU, which computes the first image alone where the graph allows
// that. Returns the largest relative error of an output; 0 if there is none. `inputs` and `outputs` are of the batch.
Result<double> compare_outputs(const Graph& source, const SessionOptions& options,
                               const std::vector<TensorInfo>& input_ports, const std::vector<TensorInfo>& output_ports,
                               const PortValues& inputs, const PortValues& outputs);

// Runs the steps `range` of a plan on the CPU and, each as a plan of its own with the CPU's values, on the device.
// *found describes the first one whose error exceeds the tolerance; it is empty if there is none.
Status check_each_step(const Plugin& plugin, const snp_options& device_options, const Plan& plan,
                       const std::vector<Tensor>& constants, size_t begin, size_t end, const SessionOptions& options,
                       const PortValues& inputs, std::string* found);

// Verdicts. `key` identifies network, device, driver, plugin and options. Nothing is kept without a folder.
bool was_checked(const std::string& folder, const std::string& key);
void keep_verdict(const std::string& folder, const std::string& key);

}  // namespace sparsenet
