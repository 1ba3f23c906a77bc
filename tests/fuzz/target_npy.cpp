// A .npy file through both readers: the command line's, by path and in pieces, and the converter's, in memory. If both
// read an array, it must be the same one.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "converter/io/npy.h"
#include "data/npy.h"
#include "fuzz/mutate_zip.h"

namespace sparsenet::fuzz {
namespace {

void run(const uint8_t* data, size_t size) {
  const std::string path = scratch_file("array.npy", data, size);
  const Result<io::FloatArray> array = io::read_npy(path);
  if (Result<io::File> file = io::File::open(path); file.ok()) {
    if (const Result<io::NpyHeader> header = io::read_npy_header(*file); header.ok()) {
      (void)header->type_name();
      const int64_t count = std::min<int64_t>(header->elements(), 16);
      std::vector<int64_t> integers(static_cast<size_t>(count));
      (void)io::read_npy_integers(*file, *header, header->elements() - count, count, integers.data()).ok();
    }
  }
  const Result<converter::NpyView> view = converter::parse_npy(data, size);
  if (!view.ok()) return;
  const std::vector<float> values = converter::npy_floats(*view);
  if (!array.ok()) return;
  bool same = array->shape == view->shape && array->values.size() == values.size();
  for (size_t i = 0; same && i < values.size(); ++i) {
    const float a = array->values[i], b = values[i];
    same = a == b || (std::isnan(a) && std::isnan(b));
  }
  if (!same) {
    std::fprintf(stderr, "broken promise: both readers of .npy files read the same\n");
    std::abort();
  }
}

}  // namespace

extern const Target npy_target{"npy", 2048, run, mutate_npy};

}  // namespace sparsenet::fuzz
