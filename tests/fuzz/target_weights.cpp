// Weights without a graph (PyTorch's two formats, NumPy archives, safetensors) through the whole converter, into the
// smallest possible architecture.
#include <algorithm>
#include <cstring>

#include "fuzz/convert_file.h"
#include "fuzz/mutate_zip.h"

namespace sparsenet::fuzz {
namespace {

// corpus/make_seeds.py makes its weights.
constexpr const char* kArchitecture = "sparsenet-basic:blocks=1,k=1,path=1,image-size=4,classes=2";

void run_as(converter::Format format, const char* ending, const uint8_t* data, size_t size) {
  converter::Options options;
  options.format = format;
  options.architecture = kArchitecture;
  convert_file(data, size, ending, options);
}

void run_torch(const uint8_t* data, size_t size) {
  run_as(converter::Format::kTorch, ".pth", data, size);
}
void run_npz(const uint8_t* data, size_t size) {
  run_as(converter::Format::kNpz, ".npz", data, size);
}
void run_safetensors(const uint8_t* data, size_t size) {
  run_as(converter::Format::kSafetensors, ".safetensors", data, size);
}

void mutate_entry(Random& /*random*/, Bytes& content, size_t most) {
  mutate_bytes(content, most);
}

void mutate_torch(Random& random, Bytes& bytes, size_t most) {
  mutate_zip(random, bytes, most, mutate_entry);
}
void mutate_npz(Random& random, Bytes& bytes, size_t most) {
  mutate_zip(random, bytes, most, mutate_npy);
}

// Keeps the stated length of the header correct.
void mutate_safetensors(Random& random, Bytes& bytes, size_t most) {
  constexpr size_t kFront = 8;
  if (bytes.size() < kFront) return mutate_bytes(bytes, most);
  uint64_t stated = 0;
  std::memcpy(&stated, bytes.data(), kFront);
  const auto length = static_cast<size_t>(std::min<uint64_t>(stated, bytes.size() - kFront));
  const auto middle = bytes.begin() + static_cast<std::ptrdiff_t>(kFront + length);
  Bytes header(bytes.begin() + kFront, middle), data(middle, bytes.end());
  const size_t room = most > bytes.size() ? most - bytes.size() : 0;
  Bytes& changed = random.one_in(4) ? data : header;
  mutate_bytes(changed, changed.size() + room);
  stated = header.size();
  bytes.resize(kFront);
  std::memcpy(bytes.data(), &stated, kFront);
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
}

}  // namespace

extern const Target torch_target{"torch", 16384, run_torch, mutate_torch};
extern const Target npz_target{"npz", 16384, run_npz, mutate_npz};
extern const Target safetensors_target{"safetensors", 8192, run_safetensors, mutate_safetensors};

}  // namespace sparsenet::fuzz
