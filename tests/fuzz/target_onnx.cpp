// An ONNX file through the whole converter.
#include "fuzz/convert_file.h"
#include "fuzz/mutate_protobuf.h"

namespace sparsenet::fuzz {
namespace {

void run(const uint8_t* data, size_t size) {
  converter::Options options;
  options.format = converter::Format::kOnnx;
  convert_file(data, size, ".onnx", options);
}

void mutate(Random& random, Bytes& bytes, size_t most) {
  // The generated classes use the lite runtime, which has no reflection on their fields.
  static const MessageType type(SPARSENET_FUZZ_SCHEMAS "/onnx.descriptors", ".ModelProto");
  const std::unique_ptr<google::protobuf::Message> model = type.make();
  if (!model->ParsePartialFromArray(bytes.data(), static_cast<int>(bytes.size()))) return mutate_bytes(bytes, most);
  for (size_t changes = random.one_in(3) ? 1 + random.below(6) : 1; changes > 0; --changes)
    mutate_message(random, model.get(), most);
  bytes.resize(model->ByteSizeLong());
  model->SerializePartialToArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

extern const Target onnx_target{"onnx", 16384, run, mutate};

}  // namespace sparsenet::fuzz
