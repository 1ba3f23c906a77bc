#include "support/check_session.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>

#include "support/describe.h"
#include "support/skip.h"

namespace sparsenet::test {
namespace {

template <class T>
double error_of(const std::vector<double>& expected, const std::vector<T>& actual) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (expected.size() != actual.size()) return infinity;
  double largest = 1e-6, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    const double d = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(d <= std::numeric_limits<double>::max())) return infinity;  // NaN or infinite
    difference = std::max(difference, d);
  }
  return difference / largest;
}

std::string coordinates(const Shape& shape, size_t flat) {
  Shape at(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    at[d] = static_cast<int64_t>(flat % static_cast<size_t>(shape[d]));
    flat /= static_cast<size_t>(shape[d]);
  }
  return to_string(at);
}

size_t worst(const Array& expected, const std::vector<float>& actual) {
  size_t at = 0;
  double most = -1;
  for (size_t i = 0; i < actual.size() && i < expected.size(); ++i) {
    const double d = std::abs(static_cast<double>(actual[i]) - expected.data[i]);
    if (!(d <= most)) {
      at = i;
      most = d;
      if (std::isnan(d)) break;
    }
  }
  return at;
}

}  // namespace

double relative_error(const std::vector<double>& expected, const std::vector<float>& actual) {
  return error_of(expected, actual);
}

double relative_error(const std::vector<double>& expected, const std::vector<double>& actual) {
  return error_of(expected, actual);
}

Result<std::vector<std::vector<float>>> run_session(Session& session, const std::vector<Array>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<float> values(inputs[i].data.begin(), inputs[i].data.end());
    SPARSENET_RETURN_IF_ERROR(session.set_input(i, values.data(), values.size()));
  }
  SPARSENET_RETURN_IF_ERROR(session.run());
  std::vector<std::vector<float>> outputs;
  for (size_t i = 0; i < session.outputs().size(); ++i) {
    const int64_t count = element_count(session.outputs()[i].shape);
    if (count < 0) return internal_error("session output without a size");
    outputs.emplace_back(static_cast<size_t>(count), std::nanf(""));
    SPARSENET_RETURN_IF_ERROR(session.get_output(i, outputs.back().data(), outputs.back().size()));
  }
  return outputs;
}

double tolerance_of(const Session& session) {
  for (const StepInfo& step : session.steps()) {
    if (step.backend == "opencl" || step.backend == "cuda") return kWinogradTolerance;
    if (step.kernel.find("wino") != std::string::npos) return kWinogradTolerance;
  }
  return kTolerance;
}

std::string check_session(const Graph& graph, const std::vector<Array>& inputs, const std::vector<Array>& expected,
                          const CheckOptions& options) {
  SessionOptions session_options;
  session_options.backend = options.backend;
  session_options.plugin = options.plugin;
  session_options.strict = true;
  session_options.device_check = DeviceCheck::kOff;
  session_options.precision = options.precision;
  session_options.threads = options.threads;
  session_options.optimize = options.optimize;
  session_options.batch = graph.inputs.empty() ? 1 : graph.shape(graph.inputs[0])[0];
  std::ostringstream out;
  const auto failed = [&](const std::string& what) {
    out << "on " << name(options.backend) << ", " << options.threads << " threads, batch " << session_options.batch
        << (options.optimize ? "" : ", not optimised") << ": " << what << "\n"
        << describe_graph(graph);
    return out.str();
  };

  auto session = Session::create(graph, session_options);
  if (!session.ok()) {
    if (options.may_refuse && session.status().code() == StatusCode::kUnsupported) return "";
    return failed("create: " + session.status().message());
  }
  auto outputs = run_session(*session, inputs);
  if (!outputs.ok()) return failed("run: " + outputs.status().message());
  if (outputs->size() != expected.size()) return failed("wrong number of outputs");
  if (options.kernels) {
    // Only a profile tells the kernels of plugins.
    if (is_plugin(options.backend)) {
      const Status profiled = session->run_profiled();
      if (!profiled.ok()) return failed("profile: " + profiled.message());
    }
    for (const StepInfo& step : session->steps()) options.kernels->insert(step.backend + ":" + step.kernel);
  }
  const double usual = options.precision == Precision::kFloat16 ? kFloat16Tolerance : tolerance_of(*session);
  const double tolerance = options.tolerance > 0 ? options.tolerance : usual;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (session->outputs()[i].shape != expected[i].shape) {
      return failed("output " + std::to_string(i) + ": expected shape " + to_string(expected[i].shape) + ", found " +
                    to_string(session->outputs()[i].shape));
    }
    const double error = relative_error(expected[i].data, (*outputs)[i]);
    if (error <= tolerance) continue;
    const size_t at = worst(expected[i], (*outputs)[i]);
    std::ostringstream what;
    what << "output " << i << ": relative error " << error << " > " << tolerance << ", worst at "
         << coordinates(expected[i].shape, at) << ": expected " << expected[i].data[at] << ", found "
         << (*outputs)[i][at] << "\n  steps:";
    for (const StepInfo& step : session->steps()) what << " " << step.op << ":" << step.kernel << "@" << step.backend;
    return failed(what.str());
  }
  return "";
}

std::vector<Backend> cpu_backends() {
  std::vector<Backend> backends;
  for (Backend backend : {Backend::kReference, Backend::kPortable, Backend::kOneDnn, Backend::kAuto}) {
    if (is_available(backend)) backends.push_back(backend);
  }
  return backends;
}

std::vector<Backend> backends_under_test(const std::string& suite, std::vector<Backend> usual) {
  const char* wanted = std::getenv("SPARSENET_TEST_BACKEND");
  if (!wanted) return usual;
  const auto backend = parse_backend(wanted);
  if (backend.ok() && is_available(*backend)) return {*backend};
  skip(suite, std::string("a device for backend ") + wanted);
  return {};
}

Precision precision_under_test() {
  const char* wanted = std::getenv("SPARSENET_TEST_PRECISION");
  return wanted && std::string(wanted) == "f16" ? Precision::kFloat16 : Precision::kFloat32;
}

std::string text(Backend backend) {
  return name(backend);
}

std::string label(const Generator& generator, uint64_t seed) {
  return generator.name + " seed " + std::to_string(seed);
}

}  // namespace sparsenet::test
