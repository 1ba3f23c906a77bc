// A TensorFlow Lite file through the whole converter.
#include <tflite_generated.h>

#include "fuzz/convert_file.h"
#include "fuzz/mutate_flatbuffer.h"

namespace sparsenet::fuzz {
namespace {

void run(const uint8_t* data, size_t size) {
  converter::Options options;
  options.format = converter::Format::kTflite;
  convert_file(data, size, ".tflite", options);
}

void mutate(Random& random, Bytes& bytes, size_t most) {
  static const FlatBufferMutator mutator(SPARSENET_FUZZ_SCHEMAS "/tflite.bfbs", tflite::VerifyModelBuffer);
  for (size_t changes = random.one_in(3) ? 1 + random.below(6) : 1; changes > 0; --changes) {
    if (!mutator.mutate(random, bytes, most)) return mutate_bytes(bytes, most);
  }
}

}  // namespace

extern const Target tflite_target{"tflite", 16384, run, mutate};

}  // namespace sparsenet::fuzz
