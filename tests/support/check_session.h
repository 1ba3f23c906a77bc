// Runs a graph through a Session and compares the results with the double-precision reference.
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
// loses more precision than a float32 sum does.
constexpr double kTolerance = 2e-5;
constexpr double kWinogradTolerance = 1e-4;
// With values stored as float16, which have 11 significant bits: a few layers add up their roundings.
constexpr double kFloat16Tolerance = 2e-2;

// Max |actual - expected| / max(1e-6, max |expected|); infinite if a value is NaN or the sizes differ.
double relative_error(const std::vector<double>& expected, const std::vector<float>& actual);
double relative_error(const std::vector<double>& expected, const std::vector<double>& actual);

// Sets all inputs, runs once, and reads all outputs.
Result<std::vector<std::vector<float>>> run_session(Session& session, const std::vector<Array>& inputs);

// The tolerance that is appropriate for the kernels this session chose.
double tolerance_of(const Session& session);

struct CheckOptions {
  Backend backend = Backend::kAuto;  // a plugin may not fall back, and is not checked on its first run
  std::string plugin;                // with kPlugin
  Precision precision = Precision::kFloat32;
  double tolerance = 0;  // 0: tolerance_of()
  int threads = 1;
  bool optimize = true;
  bool may_refuse = false;                   // kUnsupported from create() is accepted
  std::set<std::string>* kernels = nullptr;  // collects the names of the kernels that ran
};

// Empty if the session's outputs agree with `expected`; else a description of the difference, with the whole graph.
// `inputs` have the batch that the session is made for.
std::string check_session(const Graph& graph, const std::vector<Array>& inputs, const std::vector<Array>& expected,
                          const CheckOptions& options);

// All CPU backends available in this build on this machine, including kAuto.
std::vector<Backend> cpu_backends();

// What suites run that may also run on a plugin: the backend that the environment variable SPARSENET_TEST_BACKEND names
// ("opencl"), or `usual` without it. Empty, and said to be skipped under `suite`, if that backend has no device here.
std::vector<Backend> backends_under_test(const std::string& suite, std::vector<Backend> usual);
// kFloat16 if SPARSENET_TEST_PRECISION is "f16".
Precision precision_under_test();

// The backend's name as a string, which doctest prints as text.
std::string text(Backend backend);

// "conv_3x3 seed 7", with which every failure message begins.
std::string label(const Generator& generator, uint64_t seed);

}  // namespace sparsenet::test
