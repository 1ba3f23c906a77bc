// A model file with plans through the C API: measured, prepared, run, verified and trained. A plan may ask for an
// excessive amount of work, so only small ones are run.
#include <sparsenet/sparsenet.h>

#include "fuzz/model_bytes.h"

namespace sparsenet::fuzz {
namespace {

constexpr size_t kMostMemory = 1 << 17;

void use(const uint8_t* model, size_t bytes, uint32_t training) {
  sn_options options{};
  options.struct_size = sizeof options;
  options.training = training;
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{sizeof why, ""};
  if (sn_measure(model, bytes, &options, &needs, &why) != SN_OK || needs.memory_bytes > kMostMemory) return;
  if (!plans_are_small(model, bytes)) return;
  const Aligned memory = aligned(needs.memory_bytes);
  sn_session* session = nullptr;
  if (sn_prepare(model, bytes, &options, memory.get(), needs.memory_bytes, &session, &why) != SN_OK) return;
  float error;
  (void)sn_run(session);
  (void)sn_verify(session, 0, &error, &why);
  (void)sn_verify_steps(session, &error, &why);
  (void)sn_train_verify(session, &error, &why);
  (void)sn_train_add(session, 1, &error, &why);
  const sn_train_options sgd{sizeof sgd, 0.1f, 0.9f, 1e-4f, 1};
  (void)sn_train_update(session, &sgd, &error, &why);
}

void run(const uint8_t* data, size_t size) {
  const Aligned model = aligned_copy(data, size);
  use(model.get(), size, 0);
  use(model.get(), size, 1);
}

}  // namespace

extern const Target device_target{"device", 32768, run, mutate_model};

}  // namespace sparsenet::fuzz
