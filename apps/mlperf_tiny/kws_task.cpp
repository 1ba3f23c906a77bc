// Keyword spotting, "kws01": 10 MFCC features of each of 49 frames, in the int8 numbers of the reference network's
// input, and 12 classes.
#include "mlperf_tiny/task.h"

namespace sparsenet::mlperf {
namespace {

constexpr int32_t kFrames = 49, kFeatures = 10;
constexpr size_t kInputBytes = size_t{kFrames} * kFeatures;
constexpr size_t kClasses = 12;
static_assert(kInputBytes <= kMostInputBytes, "");

// What the bytes stand for: the scale and zero point of the reference network's input (kws_ref_model.tflite). So that
// network's input gets the bytes as they are, and others, float32 ones too, the same features.
constexpr float kScale = 0.5847029089927673f;
constexpr int32_t kZero = 83;

// Frames by features, whatever dimensions of 1 the layers want beside them; or all in a row.
bool takes(const sn_tensor& input) {
  int32_t dims[8] = {}, count = 0;
  for (int32_t i = 0; i < input.rank && i < 8; ++i) {
    if (input.dims[i] != 1) dims[count++] = input.dims[i];
  }
  return (count == 2 && dims[0] == kFrames && dims[1] == kFeatures) || (count == 1 && dims[0] == kFrames * kFeatures);
}

const char* check(const sn_session*, const sn_tensor&, const sn_tensor& output) {
  return output.elements == kClasses ? nullptr : "expected an output of 12 classes";
}

void load(const sn_session*, const uint8_t* bytes, Numbers* input) {
  for (size_t i = 0; i < kInputBytes; ++i) {
    input->set(i, static_cast<float>(static_cast<int8_t>(bytes[i]) - kZero) * kScale);
  }
}

}  // namespace

const TaskKind keyword_spotting{"kws", "kws01", kInputBytes, "expected an input of 49 x 10 features",
                                takes, check,   load,        nullptr};

}  // namespace sparsenet::mlperf
