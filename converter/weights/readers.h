// Readers of weights without a graph. Each takes the whole file and never trusts it: sizes are checked before they are
// used, memory is asked of the conversion's budget, nothing is executed. Tensors share the file's memory where they
// can. Messages say what was expected and found; the caller puts the file's name in front.
#pragma once

#include "converter/io/file_bytes.h"
#include "converter/weights/source_tensor.h"

namespace sparsenet::converter {

// A file with more tensors is none of a classifier, and would take long to be told so.
constexpr size_t kMaxSourceTensors = size_t{1} << 16;

// torch.save files: the zip format (PyTorch 1.6 and later) and the older one. The root is a dict of tensors, or a
// checkpoint that holds one under "state_dict", "model_state_dict", "model" or "net" or, where there is but one, under
// any keys.
Result<SourceTensors> read_torch(const FileBytes& file);

Result<SourceTensors> read_safetensors(const FileBytes& file);

// NumPy archives (np.savez, np.savez_compressed).
Result<SourceTensors> read_npz(const FileBytes& file);

// The same of bytes that go when the caller likes: tensors are copied out of them.
inline Result<SourceTensors> read_torch(const uint8_t* data, size_t size) {
  return read_torch(FileBytes{data, size, nullptr});
}
inline Result<SourceTensors> read_safetensors(const uint8_t* data, size_t size) {
  return read_safetensors(FileBytes{data, size, nullptr});
}
inline Result<SourceTensors> read_npz(const uint8_t* data, size_t size) {
  return read_npz(FileBytes{data, size, nullptr});
}

// An error where a file begins one tensor more than that.
inline Status check_tensor_count(size_t count) {
  if (count <= kMaxSourceTensors) return {};
  return unsupported("expected at most " + std::to_string(kMaxSourceTensors) + " tensors, found more");
}

}  // namespace sparsenet::converter
