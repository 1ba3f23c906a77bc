// Does ThreadSanitizer detect races between the chunks that the oneDNN backend passes to OpenMP's threads? Without
// races, `openmp_race none`, it must report none; with one, `openmp_race one`, it must report it.
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "backends/onednn/onednn_backend.h"

namespace {

struct Work {
  bool races;
  int64_t shared;
  int64_t own[256];
};

void chunk(void* context, int32_t index, int32_t) {
  auto& work = *static_cast<Work*>(context);
  work.own[index] += index;
  if (work.races) work.shared = work.shared + index;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Work work{std::strcmp(argv[1], "one") == 0, 0, {}};
  sparsenet::onednn_begin_run(4);
  for (int run = 0; run < 50; ++run) {
    sparsenet::onednn_parallel(nullptr, 256, chunk, &work);
    for (int64_t& value : work.own) value += run;  // what chunks wrote before, and write again
  }
  std::printf("%lld\n", static_cast<long long>(work.own[255]));
  return work.own[255] == 50 * 255 + 49 * 50 / 2 ? 0 : 1;
}
