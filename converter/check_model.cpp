#include "converter/check_model.h"

#include <sparsenet/session.h>

#include "converter/io/memory_budget.h"

namespace sparsenet::converter {

Status check_runs(const Model& model, bool here) {
  SessionOptions options;
  options.backend = Backend::kPortable;  // has every op, on any machine
  options.threads = 1;
  options.batch = model.graph.shape(model.graph.inputs[0])[0];
  const Result<MemoryReport> needs = Session::measure(model, options);
  if (!needs.ok()) return needs.status().with_context("the network cannot be run");
  if (here) {
    MemoryCharge charge;
    SPARSENET_RETURN_IF_ERROR(charge.raise_to(needs->total_bytes).with_context("running the network"));
  }
  if (needs->total_bytes > kMostBytesToBind) return {};
  return Session::create(model, options).status().with_context("the network cannot be run");
}

}  // namespace sparsenet::converter
