#include "fuzz/target.h"

namespace sparsenet::fuzz {

extern const Target arch_target, arrays_target, checkpoint_target, cifar_target, device_target, folder_target,
    jpeg_target, map_target, mlperf_target, model_target, npy_target, npz_target, onnx_target, options_target,
    png_target, safetensors_target, svhn_target, tflite_target, torch_target;

const std::vector<const Target*>& all_targets() {
  static const std::vector<const Target*> list{
      &model_target, &device_target, &checkpoint_target,  &onnx_target,   &tflite_target,
      &torch_target, &npz_target,    &safetensors_target, &npy_target,    &png_target,
      &jpeg_target,  &svhn_target,   &cifar_target,       &folder_target, &arrays_target,
      &map_target,   &arch_target,   &options_target,     &mlperf_target,
  };
  return list;
}

}  // namespace sparsenet::fuzz
