#include "converter/onnx/other_operators.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace sparsenet::converter {

bool is_quantised_operator(const std::string& op) {
  for (const char* part : {"uantize", "QLinear", "Integer", "QGemm", "QAttention", "MatMulNBits"}) {
    if (op.find(part) != std::string::npos) return true;
  }
  return false;
}

bool keeps_shape(const std::string& op) {
  static const char* const kOps[] = {"Abs",
                                     "Acos",
                                     "Acosh",
                                     "Asin",
                                     "Asinh",
                                     "Atan",
                                     "Atanh",
                                     "Ceil",
                                     "Celu",
                                     "Clip",
                                     "Cos",
                                     "Cosh",
                                     "Cast",
                                     "CumSum",
                                     "Elu",
                                     "Erf",
                                     "Exp",
                                     "Floor",
                                     "Gelu",
                                     "HardSigmoid",
                                     "HardSwish",
                                     "Hardmax",
                                     "IsInf",
                                     "IsNaN",
                                     "LRN",
                                     "LeakyRelu",
                                     "Log",
                                     "LogSoftmax",
                                     "LpNormalization",
                                     "Mish",
                                     "Neg",
                                     "Not",
                                     "PRelu",
                                     "Reciprocal",
                                     "Relu",
                                     "Round",
                                     "Selu",
                                     "Shrink",
                                     "Sigmoid",
                                     "Sign",
                                     "Sin",
                                     "Sinh",
                                     "Softmax",
                                     "Softplus",
                                     "Softsign",
                                     "Sqrt",
                                     "Swish",
                                     "Tan",
                                     "Tanh",
                                     "ThresholdedRelu",
                                     "BatchNormalization",
                                     "DequantizeLinear",
                                     "Dropout",
                                     "DynamicQuantizeLinear",
                                     "GroupNormalization",
                                     "Identity",
                                     "InstanceNormalization",
                                     "LayerNormalization",
                                     "MeanVarianceNormalization",
                                     "QuantizeLinear"};
  return std::any_of(std::begin(kOps), std::end(kOps), [&op](const char* known) { return op == known; });
}

std::string why_unknown(const std::string& op) {
  if (op == "If" || op == "Loop" || op == "Scan") {
    return "control flow is not supported: export the network with fixed sizes, so that the exporter decides it";
  }
  struct Family {
    const char* why;
    std::vector<const char*> ops;
  };
  static const Family kFamilies[] = {
      {"it chooses among results: convert the network up to the scores, whose names --outputs takes",
       {"NonMaxSuppression", "Unique", "Compress", "RoiAlign", "MaxRoiPool"}},
      {"it draws random numbers: export the network in evaluation mode",
       {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}},
      {"recurrent layers are not supported", {"LSTM", "GRU", "RNN"}},
      {"texts and sequences are not supported: convert the part of the network behind them, with its inputs as numbers",
       {"SequenceAt", "SequenceConstruct", "SequenceInsert", "SequenceEmpty", "SplitToSequence", "ConcatFromSequence",
        "StringNormalizer", "TfIdfVectorizer", "StringConcat", "StringSplit", "Optional", "OptionalGetElement"}},
      {"it is computed only where all that it reads is constant: export the network with fixed sizes",
       {"Equal",   "Less",      "LessOrEqual", "Greater", "GreaterOrEqual",  "And",   "Or",   "Xor",   "Not",  "Range",
        "NonZero", "ScatterND", "Mod",         "CumSum",  "ConstantOfShape", "Floor", "Ceil", "Round", "Sign", "Sin",
        "Cos",     "ReduceProd"}},
  };
  for (const Family& family : kFamilies) {
    if (std::any_of(family.ops.begin(), family.ops.end(), [&op](const char* known) { return op == known; }))
      return family.why;
  }
  return "this operator is not supported";
}

Cause cause_of_domain(const std::string& domain) {
  if (domain.compare(0, 13, "com.microsoft") == 0) {
    return {"the file has operators of ONNX Runtime's own (domain " + domain + ")",
            "it was optimised by ONNX Runtime: give the file as it was exported", "nodes"};
  }
  if (domain == "ai.onnx.ml") {
    return {"the file has operators of classical machine learning (domain ai.onnx.ml)",
            "only neural networks can be converted", "nodes"};
  }
  return {"operators of domain '" + domain + "' are not supported",
          "export the network with the operators of the ONNX standard alone", "nodes"};
}

}  // namespace sparsenet::converter
