// Readers of weights without a graph. Each takes the whole file and never trusts it: sizes are checked before they are
// used, memory is charged to the conversion's budget, nothing is executed. Tensors share the file's memory if they can.
// Messages say what was expected and found; the caller adds the file's name in front.
#pragma once

#include "converter/io/file_bytes.h"
#include "converter/weights/source_tensor.h"

namespace sparsenet::converter {

// A file with more tensors is not a classifier's, and even rejecting it tensor by tensor would take long.
constexpr size_t kMaxSourceTensors = size_t{1} << 16;

// torch.save files: the zip format (PyTorch 1.6 and later) and the older one. The root is a dict of tensors, or a
// checkpoint that contains one under "state_dict", "model_state_dict", "model" or "net" or, if there is only one, under
// any keys.
Result<SourceTensors> read_torch(const FileBytes& file);

Result<SourceTensors> read_safetensors(const FileBytes& file);

// NumPy archives (np.savez, np.savez_compressed).
Result<SourceTensors> read_npz(const FileBytes& file);

// Keras: .h5 and .weights.h5 files, .keras archives. Kernels get the dimensions that constants have.
Result<SourceTensors> read_keras(const FileBytes& file);

// The same for bytes that the caller may free: tensors are copied out of them.
inline Result<SourceTensors> read_torch(const uint8_t* data, size_t size) {
  return read_torch(FileBytes{data, size, nullptr});
}
inline Result<SourceTensors> read_safetensors(const uint8_t* data, size_t size) {
  return read_safetensors(FileBytes{data, size, nullptr});
}
inline Result<SourceTensors> read_npz(const uint8_t* data, size_t size) {
  return read_npz(FileBytes{data, size, nullptr});
}
inline Result<SourceTensors> read_keras(const uint8_t* data, size_t size) {
  return read_keras(FileBytes{data, size, nullptr});
}

// An error as soon as a file has one tensor more than that.
inline Status check_tensor_count(size_t count) {
  if (count <= kMaxSourceTensors) return {};
  return unsupported("expected at most " + std::to_string(kMaxSourceTensors) + " tensors, found more");
}

}  // namespace sparsenet::converter
