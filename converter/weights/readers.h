// Readers of weights without a graph. Each takes the whole file and never trusts it: sizes are checked before they are
// used, nothing is executed. Messages say what was expected and found; the caller puts the file's name in front.
#pragma once

#include "converter/weights/source_tensor.h"

namespace sparsenet::converter {

// torch.save files: the zip format (PyTorch 1.6 and later) and the older one. The root is a dict of tensors, or a
// checkpoint that holds one under "state_dict", "model_state_dict", "model" or "net" or, where there is but one, under
// any keys.
Result<SourceTensors> read_torch(const uint8_t* data, size_t size);

Result<SourceTensors> read_safetensors(const uint8_t* data, size_t size);

// NumPy archives (np.savez, np.savez_compressed).
Result<SourceTensors> read_npz(const uint8_t* data, size_t size);

}  // namespace sparsenet::converter
