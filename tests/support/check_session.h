// Runs a graph through a Session and compares with the double-precision reference.
#pragma once

#include <sparsenet/graph.h>
#include <sparsenet/session.h>

#include <set>
#include <string>
#include <vector>

#include "support/random_graphs.h"
#include "support/reference.h"

namespace sparsenet::test {

// Bounds on max |difference| / max |expected| of an output. Winograd adds and subtracts before it multiplies, so it
// loses more than a sum in float32 does.
constexpr double kTolerance = 2e-5;
constexpr double kWinogradTolerance = 1e-4;

// Max |actual - expected| / max(1e-6, max |expected|); infinite where a value is NaN or the sizes differ.
double relative_error(const std::vector<double>& expected, const std::vector<float>& actual);
double relative_error(const std::vector<double>& expected, const std::vector<double>& actual);

// Sets all inputs, runs once, and reads all outputs.
Result<std::vector<std::vector<float>>> run_session(Session& session, const std::vector<Array>& inputs);

// The tolerance that fits the kernels this session chose.
double tolerance_of(const Session& session);

struct CheckOptions {
  Backend backend = Backend::kAuto;
  int threads = 1;
  bool optimize = true;
  bool may_refuse = false;                   // kUnsupported from create() counts as right
  std::set<std::string>* kernels = nullptr;  // collects the names of the kernels that ran
};

// Empty where the session's outputs agree with `expected`; else what differs, with the graph in full. `inputs` have the
// batch the session is made for.
std::string check_session(const Graph& graph, const std::vector<Array>& inputs, const std::vector<Array>& expected,
                          const CheckOptions& options);

// All backends that this build and this machine have, for CPUs; kAuto among them.
std::vector<Backend> cpu_backends();

// The backend's name as a type that doctest prints as text.
std::string text(Backend backend);

// "conv_3x3 seed 7", the beginning of every failure message.
std::string label(const Generator& generator, uint64_t seed);

}  // namespace sparsenet::test
