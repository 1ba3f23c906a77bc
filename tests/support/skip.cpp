#include "support/skip.h"

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace sparsenet::test {
namespace {

std::atomic<int> skipped{0};

}  // namespace

void skip(const std::string& name, const std::string& needs) {
  std::printf("skipped: %s: needs %s\n", name.c_str(), needs.c_str());
  std::fflush(stdout);
  ++skipped;
}

int skipped_cases() {
  return skipped;
}

std::string shared_file(const std::string& relative) {
  const char* root = std::getenv("SPARSENET_SHARED");
  std::string path = root && *root ? root : std::string(SPARSENET_SOURCE_DIR) + "/../shared";
  path += "/" + relative;
  return std::ifstream(path).good() ? path : std::string();
}

int scaled_by_effort(int cases) {
  const char* text = std::getenv("SPARSENET_TEST_EFFORT");
  const double effort = text ? std::atof(text) : 1;
  const double scaled = std::ceil(cases * (effort > 0 ? effort : 1));
  return scaled < 1 ? 1 : static_cast<int>(scaled);
}

}  // namespace sparsenet::test
