// libFuzzer target: arbitrary bytes as a model file. Odd first bytes: the rest is used as it is. Even ones: the rest is
// made to pass the outer checks (identifier, footer, checksum), so that the search reaches what lies behind them.
//
//   clang build with -DSPARSENET_FUZZERS=ON and -DSPARSENET_SANITIZE=address,undefined, then
//   model_fuzzer CORPUS -max_len=16384
// A corpus to start from: .snet files with a zero byte in front.
#include <sparsenet/model.h>

#include <cstring>
#include <vector>

#include "graph/checksum.h"
#include "graph/model_format.h"

namespace {

void wrap(std::vector<uint8_t>* bytes) {
  using namespace sparsenet;
  if (bytes->size() < kMinStructureBytes + kFooterBytes) return;
  std::memcpy(bytes->data() + 4, "SNET", 4);
  uint8_t* footer = bytes->data() + bytes->size() - kFooterBytes;
  const uint64_t payload = bytes->size() - kFooterBytes;
  std::memcpy(footer, kFooterMagic, 8);
  std::memcpy(footer + 16, &payload, 8);
  const uint64_t sum = xxh64(bytes->data(), bytes->size() - 8);
  std::memcpy(bytes->data() + bytes->size() - 8, &sum, 8);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::vector<uint8_t> bytes(data + 1, data + size);
  if (data[0] % 2 == 0) wrap(&bytes);
  sparsenet::Result<sparsenet::Model> model = sparsenet::load_model(bytes.data(), bytes.size(), nullptr, "fuzzed");
  if (!model.ok()) return 0;
  (void)model->graph.parameter_count();
  (void)model->graph.macs_per_image();
  // What was read can be written, to a file that says the same.
  const sparsenet::Result<std::vector<uint8_t>> again = sparsenet::serialize_model(*model);
  if (!again.ok()) __builtin_trap();
  const sparsenet::Result<sparsenet::Model> reread =
      sparsenet::load_model(again->data(), again->size(), nullptr, "rewritten");
  if (!reread.ok() || reread->graph.nodes.size() != model->graph.nodes.size()) __builtin_trap();
  (void)model->graph.set_batch(3).ok();
  return 0;
}
