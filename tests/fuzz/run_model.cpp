#include "fuzz/run_model.h"

#include <sparsenet/session.h>

#include <cstdio>
#include <cstdlib>

namespace sparsenet::fuzz {

void broken(const char* promise, const Status& status) {
  std::fprintf(stderr, "broken promise: %s: %s\n", promise, status.message().c_str());
  std::abort();
}

bool is_small(const Graph& graph) {
  constexpr int64_t kMostMacs = 50'000, kMostElements = 20'000;
  if (graph.macs_per_image() > kMostMacs || graph.parameter_count() > kMostElements) return false;
  int64_t elements = 0;
  for (const Value& value : graph.values) {
    elements += element_count(value.shape);
    if (elements > kMostElements) return false;
  }
  return true;
}

namespace {

Status run(Result<Session> session) {
  if (!session.ok()) return session.status();
  for (size_t i = 0; i < session->inputs().size(); ++i) {
    const std::vector<float> zeros(static_cast<size_t>(element_count(session->inputs()[i].shape)));
    if (const Status set = session->set_input(i, zeros.data(), zeros.size()); !set.ok()) broken("set_input", set);
  }
  if (const Status ran = session->run(); !ran.ok()) broken("a session that was made runs", ran);
  return {};
}

}  // namespace

Status run_model(const Model& model) {
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = 1;
  options.max_memory_bytes = size_t{64} << 20;
  if (!is_small(model.graph)) return Session::create(model.graph, options).status();
  if (!model.plans.empty()) SPARSENET_RETURN_IF_ERROR(run(Session::create(model, options)));
  return run(Session::create(model.graph, options));
}

}  // namespace sparsenet::fuzz
