// ARCH strings; the architectures that they describe are built if they are small.
#include <sparsenet/architecture.h>

#include <cstdlib>
#include <string>

#include "fuzz/target.h"

namespace sparsenet::fuzz {
namespace {

bool is_small(const Architecture& arch) {
  int layers = arch.family == Architecture::Family::kResNet ? arch.depth : 0;
  if (layers == 0) {
    for (const int block : arch.blocks) layers += block;
  }
  return layers <= 32 && arch.k <= 16 && arch.classes <= 1000;
}

void run(const uint8_t* data, size_t size) {
  const std::string text(data, data + size);
  const Result<Architecture> arch = parse_architecture(text);
  if (!arch.ok()) return;
  // The spelled-out form means the same.
  const std::string spelled = to_string(*arch);
  const Result<Architecture> again = parse_architecture(spelled);
  if (!again.ok() || to_string(*again) != spelled) std::abort();
  if (!is_small(*arch)) return;
  const Result<Graph> graph = build_graph(*arch);
  if (!graph.ok()) return;
  Graph copy = *graph;
  if (!copy.infer_shapes().ok()) std::abort();
}

}  // namespace

extern const Target arch_target{"arch", 256, run};

}  // namespace sparsenet::fuzz
