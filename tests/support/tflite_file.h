// TensorFlow Lite files of a few operators, for tests of the importer.
#pragma once

#include <tflite_generated.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sparsenet::test {

class TfliteFile {
 public:
  struct Quantized {
    std::vector<float> scales;
    std::vector<int64_t> zero_points;
    int32_t axis;
  };

  // A value, or a constant if there are `data`.
  int32_t tensor(const std::string& name, const std::vector<int32_t>& shape, tflite::TensorType type,
                 const Quantized& q = {}, const std::vector<uint8_t>& data = {}) {
    uint32_t buffer = 0;
    if (!data.empty()) {
      buffer = static_cast<uint32_t>(buffers_.size());
      buffers_.push_back(tflite::CreateBuffer(b_, b_.CreateVector(data)));
    }
    flatbuffers::Offset<tflite::QuantizationParameters> quantization;
    if (!q.scales.empty()) {
      const auto scales = b_.CreateVector(q.scales);
      const auto zero_points = b_.CreateVector(q.zero_points);
      tflite::QuantizationParametersBuilder builder(b_);
      builder.add_scale(scales);
      builder.add_zero_point(zero_points);
      builder.add_quantized_dimension(q.axis);
      quantization = builder.Finish();
    }
    tensors_.push_back(
        tflite::CreateTensor(b_, b_.CreateVector(shape), type, buffer, b_.CreateString(name), quantization));
    return static_cast<int32_t>(tensors_.size()) - 1;
  }

  // `options` of the type that the operator has, or none.
  void op(tflite::BuiltinOperator code, const std::vector<int32_t>& inputs, const std::vector<int32_t>& outputs) {
    op(code, inputs, outputs, tflite::BuiltinOptions::NONE, {});
  }
  template <class Options>
  void op(tflite::BuiltinOperator code, const std::vector<int32_t>& inputs, const std::vector<int32_t>& outputs,
          flatbuffers::Offset<Options> options) {
    op(code, inputs, outputs, tflite::BuiltinOptionsTraits<Options>::enum_value, options.Union());
  }
  flatbuffers::FlatBufferBuilder& builder() { return b_; }

  std::vector<uint8_t> finish(const std::vector<int32_t>& inputs, const std::vector<int32_t>& outputs) {
    const auto graph = tflite::CreateSubGraph(b_, b_.CreateVector(tensors_), b_.CreateVector(inputs),
                                              b_.CreateVector(outputs), b_.CreateVector(operators_));
    const auto graphs = b_.CreateVector(&graph, 1);
    const auto codes = b_.CreateVector(codes_);
    const auto description = b_.CreateString("a test");
    b_.Finish(tflite::CreateModel(b_, 3, codes, graphs, description, b_.CreateVector(buffers_)), "TFL3");
    return {b_.GetBufferPointer(), b_.GetBufferPointer() + b_.GetSize()};
  }

 private:
  void op(tflite::BuiltinOperator code, const std::vector<int32_t>& inputs, const std::vector<int32_t>& outputs,
          tflite::BuiltinOptions type, flatbuffers::Offset<void> options) {
    codes_.push_back(tflite::CreateOperatorCode(b_, static_cast<int8_t>(code), 0, 1, code));
    operators_.push_back(tflite::CreateOperator(b_, static_cast<uint32_t>(codes_.size()) - 1, b_.CreateVector(inputs),
                                                b_.CreateVector(outputs), type, options));
  }

  flatbuffers::FlatBufferBuilder b_;
  std::vector<flatbuffers::Offset<tflite::Tensor>> tensors_;
  std::vector<flatbuffers::Offset<tflite::Operator>> operators_;
  std::vector<flatbuffers::Offset<tflite::OperatorCode>> codes_;
  std::vector<flatbuffers::Offset<tflite::Buffer>> buffers_{tflite::CreateBuffer(b_)};  // the first is empty
};

}  // namespace sparsenet::test
