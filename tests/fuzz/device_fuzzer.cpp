// libFuzzer target: arbitrary bytes as a model file with plans, measured, prepared, run and trained through the C API.
// A plan may ask for more work than anyone would wait for, so only small ones are run.
//
//   build/fuzz/bin/device_fuzzer CORPUS -max_len=16384 -timeout=120
// A corpus to start from: .snet files of tiny networks with both plans, a zero byte in front.
#include <sparsenet/sparsenet.h>

#include <cstdlib>
#include <memory>

#include "fuzz/wrap.h"

namespace {

constexpr size_t kMostMemory = 1 << 17;

struct Free {
  void operator()(uint8_t* bytes) const { std::free(bytes); }
};
using Aligned = std::unique_ptr<uint8_t, Free>;

// Exactly as large as asked, so that the sanitizer sees the first byte beyond it.
Aligned aligned(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, SN_ALIGNMENT, bytes) != 0) std::abort();
  return Aligned(static_cast<uint8_t*>(memory));
}

void use(const uint8_t* model, size_t bytes, uint32_t training) {
  sn_options options{};
  options.struct_size = sizeof options;
  options.training = training;
  sn_needs needs{};
  needs.struct_size = sizeof needs;
  sn_message why{sizeof why, ""};
  if (sn_measure(model, bytes, &options, &needs, &why) != SN_OK || needs.memory_bytes > kMostMemory) return;
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes = sparsenet::fuzz::model_bytes(data, size);
  if (bytes.empty()) return 0;
  const Aligned model = aligned(bytes.size());
  std::memcpy(model.get(), bytes.data(), bytes.size());
  use(model.get(), bytes.size(), 0);
  use(model.get(), bytes.size(), 1);
  return 0;
}
