// A model file through the C++ API: loaded, its plan run, written again, its batch changed.
#include <sparsenet/model.h>
#include <sparsenet/session.h>

#include "base/checksum.h"
#include "format/plan_format.h"
#include "fuzz/model_bytes.h"
#include "fuzz/run_model.h"

namespace sparsenet::fuzz {
namespace {

// Runs the plan of a file as it is, in a fixed block of memory that may be too small for it.
void run_plan(const Model& model) {
  if (!find_plan(model, "portable-f32", 1)) return;
  alignas(64) static unsigned char memory[1 << 17];
  SessionOptions options;
  options.backend = Backend::kPortable;
  options.threads = 1;
  options.memory = memory;
  options.memory_bytes = sizeof memory;
  auto session = Session::create(model, options);
  if (session.ok()) (void)session->run().ok();
}

void run(const uint8_t* data, size_t size) {
  const Aligned bytes = aligned_copy(data, size);
  Result<Model> model = load_model(bytes.get(), size, nullptr, "fuzzed");
  if (!model.ok()) return;
  (void)model->graph.parameter_count();
  (void)model->graph.macs_per_image();
  const bool small_plans = plans_are_small(bytes.get(), size);
  if (small_plans) run_plan(*model);
  // What was read can be written, to a file with the same meaning.
  const Result<std::vector<uint8_t>> again = serialize_model(*model);
  if (!again.ok()) __builtin_trap();
  const Result<Model> reread = load_model(again->data(), again->size(), nullptr, "rewritten");
  if (!reread.ok() || reread->graph.nodes.size() != model->graph.nodes.size()) __builtin_trap();
  if (xxh64(data, size) % 8 == 0 && small_plans) (void)run_model(*model).ok();
  (void)model->graph.set_batch(3).ok();
}

}  // namespace

extern const Target model_target{"model", 32768, run, mutate_model};

}  // namespace sparsenet::fuzz
