// Graph: what a network means.
//
// A graph is a list of values (named, typed, with a static shape) and a list of nodes in execution order. It is
// backend-neutral and trainable: importers and the architecture builders make it, the .snet file stores it, passes
// rewrite it, the planner lowers it. Nothing in it says how or where it is executed.
//
// Layout. Shapes and data are in the field's usual NCHW order: images [N, C, H, W], vectors [N, C], convolution weights
// [O, I/groups, KH, KW], fully connected weights [O, I]. (The plan stores rank-4 activations as NHWC; that is internal
// to it and never visible here.)
//
// Batch. Dimension 0 of every graph input is the batch. set_batch() changes it and infers all shapes again, so one
// stored graph serves every batch size.
//
// Ownership: a Graph owns its lists; constant data is shared (Tensor::owner), often straight from a memory-mapped file.
// Thread safety: const access from several threads is safe; mutation is not.
// Memory: a Graph is made of standard containers. Copying it and the add_ functions throw std::bad_alloc when there is
// no memory left (the graph is then as it was); see sparsenet/status.h, also for try_copy(), which does not throw.
#pragma once

#include <sparsenet/status.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace sparsenet {

enum class DataType : uint8_t { kFloat32 = 0, kInt32 = 1, kInt64 = 2, kUInt8 = 3, kInt8 = 4, kFloat16 = 5 };
const char* name(DataType type);
size_t size_of(DataType type);  // bytes of one element

using Shape = std::vector<int64_t>;
std::string to_string(const Shape& shape);  // "[1, 3, 32, 32]"
int64_t element_count(const Shape& shape);  // product of the dimensions; -1 if it overflows or a dimension is negative

// Immutable array of constants, row-major in its own shape. Cheap to copy: the data is shared.
struct Tensor {
  DataType type = DataType::kFloat32;
  Shape shape;
  std::shared_ptr<const void> owner;  // keeps `data` alive; may own nothing for static data
  const void* data = nullptr;

  int64_t elements() const { return element_count(shape); }
  size_t bytes() const { return static_cast<size_t>(elements()) * size_of(type); }
  const float* f32() const { return static_cast<const float*>(data); }  // only if `type` is kFloat32

  static Tensor from(Shape shape, std::vector<float> values);  // takes ownership of the values
  static Tensor filled(Shape shape, float value);
};

// The elements of a kFloat32 or kFloat16 tensor as float32, which is exact.
std::vector<float> to_float32(const Tensor& tensor);
// Rounds a kFloat32 tensor to half precision, ties to even. False, and *out is left alone, where a finite element would
// become infinite (from a magnitude of 65,520 on).
bool to_float16(const Tensor& tensor, Tensor* out);

// Numbers are part of the file format: never reused, never renumbered.
enum class Op : uint16_t {
  kConv = 1,            // x, weight [O, I/g, KH, KW], bias [O]?, residual (same shape as output)?     ConvAttrs
  kFullyConnected = 2,  // x [N, I], weight [O, I], bias [O]? FullyConnectedAttrs
  kBatchNorm = 3,       // x, scale [C], shift [C], mean [C], variance [C]                               BatchNormAttrs
  kRelu = 4,            // max(x, 0)
  kClip = 5,            // min(max(x, low), high); Relu6 is 0..6                                         ClipAttrs
  kLeakyRelu = 6,       // x < 0 ? alpha x : x                                                           AlphaBetaAttrs
  kSigmoid = 7,         // 1 / (1 + exp(-x))
  kHardSigmoid = 8,     // min(max(alpha x + beta, 0), 1)                                                AlphaBetaAttrs
  kHardSwish = 9,       // x min(max(x / 6 + 1/2, 0), 1)
  kTanh = 10,
  kSoftmax = 11,  // along one axis                                                              AxisAttrs
  kConcat = 12,   // n inputs, along one axis                                                    AxisAttrs
  kSplit = 13,    // n outputs, along one axis                                                   SplitAttrs
  kSlice = 14,    // strided range per axis                                                      SliceAttrs
  kPad = 15,      // constant padding                                                            PadAttrs
  kAdd = 16,      // a, b with NumPy broadcasting
  kSub = 17,
  kMul = 18,
  kDiv = 19,
  kMaxPool = 20,            // x [N, C, H, W]; padding is never the maximum                              PoolAttrs
  kAveragePool = 21,        // x [N, C, H, W]                                                            PoolAttrs
  kGlobalAveragePool = 22,  // [N, C, H, W] -> [N, C, 1, 1]
  kReduceMean = 23,         // mean over axes                                                            ReduceAttrs
  kReshape = 24,            // also Flatten, Squeeze, Unsqueeze                                          ReshapeAttrs
  kTranspose = 25,          //                                                                           TransposeAttrs
  kIdentity = 26,           // also Dropout at inference
  // Activations, continued; Phi is the normal distribution's cumulative function, (1 + erf(x / sqrt 2)) / 2.
  kElu = 27,       // x < 0 ? alpha (exp(x) - 1) : x                                             AlphaBetaAttrs
  kSoftplus = 28,  // log(1 + exp(x))
  kSilu = 29,      // x / (1 + exp(-alpha x)); alpha = 1: SiLU, Swish                            AlphaBetaAttrs
  kMish = 30,      // x tanh(log(1 + exp(x)))
  kGelu = 31,      // x Phi(x)
  kGeluTanh = 32,  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, an approximation of Gelu
  kErf = 33,       // the error function
  // Functions of one value, which are never fused into other ops.
  kExp = 34,
  kLog = 35,  // the natural logarithm
  kPow = 36,  // x to the power of alpha                                                         AlphaBetaAttrs
  // Arithmetic, continued.
  kMax = 37,
  kMin = 38,
  kPrelu = 39,  // a < 0 ? a b : a

  kMatMul = 40,     // a [..., M, K], b [..., K, N]; the dimensions in front broadcast
  kLayerNorm = 41,  // x, scale [C]?, shift [C]?: (x - mean) / sqrt(variance + epsilon) scale + shift    BatchNormAttrs
                    // over the channels of every pixel: dimension 1 of rank 2 and 4, dimension 2 of rank 3

  // Between types, see Quantization. The output's type and quantisation say what is computed. From float32 it is the
  // quotient by the scale, halves to the even integer (Rounding::kSingle) or away from zero (kDouble); NaN becomes the
  // zero point.
  kQuantize = 42,    // float32, int8 or uint8 -> int8
  kDequantize = 43,  // int8 -> float32
  // x, scale [C], shift [C]: x scale + shift per channel of dimension 1, of int8 alone. A ReLU behind it is the
  // output's zero point of -128, below which there is no number.
  kScale = 44,

  // Created by passes for the planner; never stored in a file.
  kAffine = 100,     // x, scale [C], shift [C]: activation(x * scale + shift) per channel                AffineAttrs
  kAttention = 101,  // h, then AttentionAttrs' parameters: h * (1 + f) or h * f, see AttentionAttrs

  // Numbers from 200 on are ops that the engine makes for training; they are never stored.
};
const char* name(Op op);

// An activation fused into the op before it. Its parameters are those of the op of the same name.
struct Activation {
  enum class Kind : uint8_t {
    kNone = 0,
    kRelu = 1,
    kClip = 2,
    kLeakyRelu = 3,
    kSigmoid = 4,
    kHardSigmoid = 5,
    kHardSwish = 6,
    kTanh = 7,
    kElu = 8,
    kSoftplus = 9,
    kSilu = 10,
    kMish = 11,
    kGelu = 12,
    kGeluTanh = 13,
    kErf = 14
  };
  static constexpr Kind kLast = Kind::kErf;
  Kind kind = Kind::kNone;
  float a = 0;  // Clip: low; LeakyRelu, HardSigmoid, Elu, Silu: alpha
  float b = 0;  // Clip: high; HardSigmoid: beta
  bool operator==(const Activation& o) const { return kind == o.kind && a == o.a && b == o.b; }
};

struct NoAttrs {};
struct ConvAttrs {
  std::array<int32_t, 2> kernel{1, 1};  // height, width; equal to the weight's
  std::array<int32_t, 2> stride{1, 1};
  std::array<int32_t, 2> dilation{1, 1};
  std::array<int32_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right; zeros
  int32_t groups = 1;
  Activation activation;  // after bias and residual; set by passes and by importers of fused formats
};
struct FullyConnectedAttrs {
  Activation activation;
};
struct BatchNormAttrs {
  float epsilon = 1e-5f;
};
struct ClipAttrs {
  float low = 0, high = 0;
};
struct AlphaBetaAttrs {
  float alpha = 0, beta = 0;
};
struct AxisAttrs {
  int32_t axis = 1;  // 0 .. rank-1, never negative here
};
struct SplitAttrs {
  int32_t axis = 1;
  std::vector<int64_t> sizes;  // one per output
};
struct SliceAttrs {  // one entry per sliced axis
  std::vector<int32_t> axes;
  std::vector<int64_t> starts, ends;  // normalised: 0 <= start < end <= dim
  std::vector<int64_t> steps;         // >= 1
};
struct PadAttrs {
  std::vector<int64_t> before, after;  // one entry per dimension, >= 0
  float value = 0;
};
struct PoolAttrs {
  std::array<int32_t, 2> kernel{1, 1};
  std::array<int32_t, 2> stride{1, 1};
  std::array<int32_t, 4> pads{0, 0, 0, 0};  // top, left, bottom, right
  bool ceil_mode = false;          // output size rounds up; windows that start in the right padding are dropped
  bool count_include_pad = false;  // average only: divide by the whole window (clipped to the padded input)
};
struct ReduceAttrs {
  std::vector<int32_t> axes;  // ascending, 0 .. rank-1
  bool keep_dims = true;
};
struct ReshapeAttrs {
  std::vector<int64_t> dims;  // 0: the input's dimension at this position; one may be -1: inferred from the rest
};
struct TransposeAttrs {
  std::vector<int32_t> perm;  // output axis i is input axis perm[i]
};
struct AffineAttrs {
  Activation activation;
};
// Channel gate on h [N, C, H, W] with g = mean over H, W of h:
//   paper:  e = W1 act(s1 g + t1) + b1;  f = sigmoid(W2 relu(s2 [e, g] + t2) + b2);  out = h + h f
//           inputs: h, s1 [C], t1 [C], W1 [C, C], b1 [C], s2 [2C], t2 [2C], W2 [C, 2C], b2 [C]
//   se:     f = gate(W2 act(W1 g + b1) + b2);  out = h f
//           inputs: h, W1 [R, C], b1 [R], W2 [C, R], b2 [C]
struct AttentionAttrs {
  enum class Kind : uint8_t { kPaper = 0, kSqueezeExcite = 1 };
  Kind kind = Kind::kPaper;
  Activation activation{Activation::Kind::kRelu, 0, 0};  // `act`
  Activation gate{Activation::Kind::kSigmoid, 0, 0};     // `gate`
};
struct TrainAttrs;  // attributes of the engine's training ops
using Attrs = std::variant<NoAttrs, ConvAttrs, FullyConnectedAttrs, BatchNormAttrs, ClipAttrs, AlphaBetaAttrs,
                           AxisAttrs, SplitAttrs, SliceAttrs, PadAttrs, PoolAttrs, ReduceAttrs, ReshapeAttrs,
                           TransposeAttrs, AffineAttrs, AttentionAttrs, std::shared_ptr<const TrainAttrs>>;

using ValueId = int32_t;
constexpr ValueId kNoValue = -1;  // an optional input that is absent

// What the integers of a value stand for: real = scale * (integer - zero point). There is one scale and zero point for
// the whole value, or one per index along an axis.
//
// A node whose values are int8 computes with integers, by the rules of TensorFlow Lite's quantisation specification:
//   - its inputs and its output have one scale and zero point each;
//   - weights have zero point 0 and one scale, or one per output (axis 0);
//   - a bias is int32 with zero point 0; its scale is the input's times the weight's, whatever its value says;
//   - ops that only move or compare numbers (MaxPool, AveragePool, Concat, Split, Slice, Pad, Reshape, Transpose,
//     Identity) have the same scale and zero point on both sides;
//   - bounds of a fused activation are real numbers;
//   - what Concat puts side by side along dimension 1 may have different scales and zero points: infer_shapes() then
//     gives its output one for each channel (axis 1), and only Scale and Concat read it.
//   - AveragePool rounds the mean of the integers, halves up (Rounding::kSingle) or away from zero (kDouble);
//   - Add brings both inputs to half of the larger scale with 20 more bits, each rounded, and then adds;
//   - Softmax has scale 1/256 and zero point -128, and at most 4,095 elements along its axis;
//   - no sum may leave 32 bits, whatever the input is.
// The ops are those, Conv, FullyConnected, GlobalAveragePool, Add, Mul, Scale, Relu, Clip, Sigmoid, HardSigmoid,
// HardSwish, Tanh, Silu, Softmax, Quantize and Dequantize.
// The results are the same bits on every machine; see Rounding.
struct Quantization {
  std::vector<float> scales;         // positive
  std::vector<int32_t> zero_points;  // as many as scales
  int32_t axis = 0;                  // if there are several: 0 .. rank-1

  bool empty() const { return scales.empty() && zero_points.empty(); }
};

// How a node that computes with integers rounds. It multiplies a sum by a factor that is not an integer: by a 32-bit
// fixed-point number and a power of two.
enum class Rounding : uint8_t {
  kSingle = 0,  // once, halves up: floor(sum * multiplier / 2^shift + 1/2)
  // Twice, as TensorFlow Lite's reference kernels do: the high half of the product of the sum and the multiplier,
  // halves up; then its quotient by the power of two, halves away from zero.
  kDouble = 1
};
const char* name(Rounding rounding);  // "single", "double"

struct Value {
  std::string name;  // unique within the graph
  DataType type = DataType::kFloat32;
  Shape shape;  // infer_shapes() fills it in for everything that is not an input or a constant
  bool is_constant = false;
  Tensor constant;            // only when is_constant; its shape equals `shape`
  Quantization quantization;  // only for kInt8, kUInt8 and kInt32; empty: none
};

struct Node {
  Op op = Op::kIdentity;
  std::string name;  // for messages and profiles; need not be unique
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attrs attrs;
  Rounding rounding = Rounding::kSingle;  // only of nodes that compute with integers
};

class Graph {
 public:
  std::vector<Value> values;    // a ValueId is an index into this list
  std::vector<Node> nodes;      // in execution order: every value is produced before it is used
  std::vector<ValueId> inputs;  // in the order of the source file
  std::vector<ValueId> outputs;

  ValueId add_input(std::string name, Shape shape, DataType type = DataType::kFloat32);
  ValueId add_constant(std::string name, Tensor tensor);
  // Appends a node with one new output value and returns that value. Its shape is inferred at once if the inputs'
  // shapes are consistent; otherwise it is left empty, and infer_shapes() reports the error. If the output name is
  // empty, a unique one is derived from the node's name.
  ValueId add_node(Op op, std::string node_name, std::vector<ValueId> inputs, Attrs attrs = NoAttrs{},
                   std::string output_name = "");
  // The same for nodes with several outputs (Split).
  std::vector<ValueId> add_node_multi(Op op, std::string node_name, std::vector<ValueId> inputs, Attrs attrs,
                                      std::vector<std::string> output_names);

  // Checks everything: ids in range, a single producer per value, execution order, unique names, attributes, and shapes
  // (which it also fills in). A graph that passes is safe to lower. Messages name the node, what was expected and what
  // was found. After a failure the shapes of some nodes' outputs may be new and those of others old.
  Status infer_shapes();
  // Sets dimension 0 of every input to n (n >= 1) and infers shapes again. After a failure shapes are as after a failed
  // infer_shapes().
  Status set_batch(int64_t n);

  // Parameters in the usual sense: elements of convolution and FC weights and biases, and of BatchNorm scale and shift.
  int64_t parameter_count() const;
  // Multiply-accumulates of convolutions (at every output pixel), FC layers and matrix products for one image. Needs
  // shapes.
  int64_t macs_per_image() const;

  // `id` must be in [0, values.size()); the reference holds until a value is added.
  Value& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  const Shape& shape(ValueId id) const { return value(id).shape; }
};

// What a model file says about itself, so that applications need no options for it.
struct Metadata {
  std::string name;                  // e.g. "sparsenet-abc-v0"
  std::string architecture;          // ARCH string of the builder, empty for an imported graph
  std::string provenance;            // where the weights come from, free text
  std::string license;               // SPDX identifier or free text
  std::vector<std::string> labels;   // one per class, or empty
  std::string color_order = "RGB";   // "RGB", "BGR" or "GRAY"
  std::vector<float> mean, std_dev;  // per channel, for 0..255 pixel values: x = (pixel - mean) / std; empty: 0 and 1
  std::string resize = "bilinear";   // how images of other sizes are resized to the input's: "bilinear",
                                     // "bilinear-crop" (resizes by the short side, then crops the centre)
};

// Inputs with the outputs that the source framework (`sparsenet-convert --check`) or the reference kernels
// (`--test-vectors`) computed for them.
struct TestVector {
  std::vector<Tensor> inputs;   // one per graph input, in the graph's own shape with batch 1
  std::vector<Tensor> outputs;  // one per graph output
  float tolerance = 1e-4f;      // on max |difference| / max(1e-6, max |expected|), per output
};

}  // namespace sparsenet
