#include "converter/check_model.h"

#include <sparsenet/session.h>

namespace sparsenet::converter {

Status check_runs(const Model& model, Report* report) {
  SessionOptions options;
  options.backend = Backend::kPortable;  // has every op, on any machine
  options.threads = 1;
  options.batch = model.graph.shape(model.graph.inputs[0])[0];
  const Result<MemoryReport> needs = Session::measure(model, options);
  if (!needs.ok()) return needs.status().with_context("the network cannot be run");
  if (needs->total_bytes > kMostBytesToBind) {
    report->note("running the network takes " + std::to_string(needs->total_bytes) +
                 " bytes of memory; kernels were chosen for it, but not prepared");
    return {};
  }
  return Session::create(model, options).status().with_context("the network cannot be run");
}

}  // namespace sparsenet::converter
