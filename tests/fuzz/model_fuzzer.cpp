// libFuzzer target: arbitrary bytes as a model file (see wrap.h).
//
//   clang build with -DSPARSENET_FUZZERS=ON and -DSPARSENET_SANITIZE=address,undefined, then
//   model_fuzzer CORPUS -max_len=16384
// A corpus to start from: .snet files with a zero byte in front.
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include "fuzz/wrap.h"
#include "graph/plan_format.h"

namespace {

// The plan of a file, run as it is, in memory that a plan may be too large for.
void run_plan(const sparsenet::Model& model) {
  if (!sparsenet::find_plan(model, "portable-f32", 1)) return;
  alignas(64) static unsigned char memory[1 << 17];
  sparsenet::SessionOptions options;
  options.backend = sparsenet::Backend::kPortable;
  options.threads = 1;
  options.memory = memory;
  options.memory_bytes = sizeof memory;
  auto session = sparsenet::Session::create(model, options);
  if (session.ok()) (void)session->run().ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<uint8_t> bytes = sparsenet::fuzz::model_bytes(data, size);
  sparsenet::Result<sparsenet::Model> model = sparsenet::load_model(bytes.data(), bytes.size(), nullptr, "fuzzed");
  if (!model.ok()) return 0;
  (void)model->graph.parameter_count();
  (void)model->graph.macs_per_image();
  run_plan(*model);
  // What was read can be written, to a file that says the same.
  const sparsenet::Result<std::vector<uint8_t>> again = sparsenet::serialize_model(*model);
  if (!again.ok()) __builtin_trap();
  const sparsenet::Result<sparsenet::Model> reread =
      sparsenet::load_model(again->data(), again->size(), nullptr, "rewritten");
  if (!reread.ok() || reread->graph.nodes.size() != model->graph.nodes.size()) __builtin_trap();
  (void)model->graph.set_batch(3).ok();
  return 0;
}
