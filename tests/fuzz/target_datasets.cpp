// Data sets of several files: CIFAR, folders of images, and pairs of .npy files.
#include <algorithm>
#include <cstdlib>

#include "data/dataset.h"
#include "fuzz/scratch.h"
#include "fuzz/use_dataset.h"

namespace sparsenet::fuzz {

void use_dataset(const std::string& spec) {
  const Result<io::DataSpec> parsed = io::parse_data_spec(spec, "test");
  if (!parsed.ok()) std::abort();
  const Result<std::unique_ptr<io::Dataset>> opened = io::open_dataset(*parsed);
  if (!opened.ok()) return;
  const io::Dataset& data = **opened;
  const Result<io::Preprocess> preprocess = io::Preprocess::create({1, 3, 4, 4}, Metadata());
  if (!preprocess.ok()) std::abort();
  std::vector<float> input(preprocess->elements());
  (void)io::match_labels(data.class_names(), {"b", "a", "b"});
  constexpr int64_t kMost = 4;
  for (int64_t i = 0; i < data.size(); ++i) {
    if (i == kMost) i = std::max(i, data.size() - kMost);
    if (data.label(i) < 0) std::abort();
    (void)data.image(i).ok();
    (void)data.input(i, *preprocess, input.data()).ok();
  }
}

namespace {

void run_cifar(const uint8_t* data, size_t size) {
  const std::string folder = scratch_tree(unpack_files(data, size));
  use_dataset("cifar10:" + folder + "#test");
  use_dataset("cifar100:" + folder + "#test+train");
}

void run_folder(const uint8_t* data, size_t size) {
  const std::string folder = scratch_tree(unpack_files(data, size));
  use_dataset("folder:" + folder);
  use_dataset("folder:" + folder + "#train+test");
}

void run_arrays(const uint8_t* data, size_t size) {
  const std::string folder = scratch_tree(unpack_files(data, size));
  use_dataset("npy:" + folder + "/images.npy," + folder + "/labels.npy");
}

}  // namespace

extern const Target cifar_target{"cifar", 8192, run_cifar, mutate_files};
extern const Target folder_target{"folder", 4096, run_folder, mutate_files};
extern const Target arrays_target{"arrays", 4096, run_arrays, mutate_files};

}  // namespace sparsenet::fuzz
