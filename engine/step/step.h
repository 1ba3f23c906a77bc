// Step: one operation of a plan, as plain data. The planner makes steps from a graph; kernels read them in prepare().
//
// Everything is a view into memory that a plan owns: no step owns anything. Kernel files for wider instruction sets
// include this header, so the functions here that they use must always be inlined: the linker might keep an out-of-line
// copy with the wider instructions for the whole program.
//
// Activations. A tensor of n images, h rows, w columns and c channels is stored pixel by pixel (NHWC). A View lists the
// channel ranges (segments) that make up its channels, in order; concatenation, splitting and slicing of channels are
// views and cost nothing. Channel c of pixel p = (image * h + y) * w + x of a segment lies at
//     base + p * pixel_stride + c      (elements of the view's type)
// where base is `constant`, or arena + offset.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace sparsenet::rt {

// The most elements that a view, an image with its padding, or a convolution's weights may have. Kernels count in 32
// bits; half of their range leaves loops room to step past an edge.
constexpr int32_t kMostElements = 1 << 30;

// The type of an element, numbered as in sparsenet::DataType.
enum class DataType : uint8_t { kFloat32 = 0, kInt32, kInt64, kUInt8, kInt8, kFloat16 };
constexpr uint8_t kDataTypes = 6;

// Bytes per element.
inline constexpr uint8_t kTypeBytes[kDataTypes] = {4, 4, 8, 1, 1, 2};
[[gnu::always_inline]] constexpr size_t size_of(DataType type) {
  return kTypeBytes[static_cast<uint8_t>(type)];
}

struct Segment {
  size_t offset;         // bytes from the start of the arena; unused for constants
  const void* constant;  // not null: constant data instead of the arena
  int32_t channels;
  int32_t pixel_stride;  // elements from one pixel to the next; 0: the same channels at every pixel
};

// The address of a segment's first element, for segments of float32.
[[gnu::always_inline]] inline const float* f32(const Segment& segment, const uint8_t* arena) {
  return static_cast<const float*>(segment.constant ? segment.constant : arena + segment.offset);
}

struct View {
  int32_t n, h, w, c;
  const Segment* segments;  // their channels add up to c
  int32_t segment_count;
  DataType type = DataType::kFloat32;
};

// An array of parameters of a step. It is constant, or lies in the arena, where training changes it.
struct Parameter {
  const void* data = nullptr;  // null: the step has no such parameters
  DataType type = DataType::kFloat32;

  [[gnu::always_inline]] explicit operator bool() const { return data != nullptr; }
  [[gnu::always_inline]] const float* f32() const { return static_cast<const float*>(data); }  // if type is kFloat32
};

// An activation. By its bounds, kClamp expresses no activation, ReLU and Clip alike; the other kinds ignore the bounds.
struct Act {
  // From kLeakyRelu on in the order of Activation::Kind (sparsenet/graph.h), which gives the formulas. Files hold these
  // numbers.
  enum Kind : uint8_t {
    kClamp = 0,
    kLeakyRelu,
    kSigmoid,
    kHardSigmoid,
    kHardSwish,
    kTanh,  // the last one that every kernel has inline; for the following ones see kernels/reference/activation.h
    kElu,
    kSoftplus,
    kSilu,
    kMish,
    kGelu,
    kGeluTanh,
    kErf,
    // Functions that are no activations: only kUnary has them, and no step of training.
    kExp,
    kLog,
    kPow  // to the power of alpha
  };
  static constexpr Kind kLastActivation = kErf, kLast = kPow;
  Kind kind;
  float low, high;  // kClamp: min(max(x, low), high); infinities leave x as it is
  float alpha, beta;
};

enum class StepOp : uint8_t {
  kConv = 0,     // also fully connected layers: one pixel per image
  kPool,         // max or average over windows; a 1x1 window with a stride subsamples
  kGlobalPool,   // mean over all pixels of an image: out is n x 1 x 1 x c
  kAffine,       // out = act(in * scale + shift) per channel; gathers segments; without a scale, a plain copy
  kUnary,        // out = act(in), any dense memory
  kBinary,       // out = a op b with broadcasting (Strided)
  kSoftmax,      // over the dimensions from `reduced_from` on (Strided)
  kReduceMean,   // mean over the dimensions from `reduced_from` on (Strided)
  kStridedCopy,  // transpose, slice, pad, concat of general shapes (Strided)
  kAttention,    // channel gate, see AttentionAttrs in sparsenet/graph.h

  // Training. The operands are in Step::train.operands, in the order of the graph op of the same name
  // (graph/training_ops.h): first its inputs, then its outputs. The comments here say what else a step uses.
  kBatchStats,  // epsilon
  kFoldStats,
  kUpdateRunning,  // alpha: momentum; beta: factor of the variance
  kNormalizeGrad,  // act: bounds; with a weight [in c][x c], dy is no operand but in * weight (lower_train.cpp)
  kFoldStatsGrad,
  kBatchStatsGrad,
  kConvGradWeight,   // in: x with the affine in front; in2: dy; out: dw; operands: db, if any; the window
  kConvGradInput,    // in: dy; out: dx; weight as in the forward convolution; the window
  kActivationGrad,   // act
  kMaxPoolGrad,      // the window
  kAveragePoolGrad,  // the window
  kSoftmaxGrad,      // in: dy; in2: y; out; strided as kSoftmax, in_strides of both
  kReduceSum,        // in; out; strided as kReduceMean; alpha: factor
  kExpand,           // in; out; strided: out[i] = alpha * in[i] with broadcasting
  kExpandPixels,     // operands: dy [n, 1, 1, c], dx; dx (+)= alpha * dy at every pixel; accumulate
  kDotPixels,        // operands: a, b [n, h, w, c], out [n, 1, 1, c]: sum over the pixels of a * b
  kScalePixels,      // operands: x [n, h, w, c], f [n, 1, 1, c], out: x * f
  kFill,             // operands: out; alpha
  kAccumulate,       // operands: from, to; to += from
  kCrossEntropy,     // alpha: label smoothing; beta: factor of dlogits
  kSquareSum,        // operands: x, control: the sum of squares of x, in double precision
  kUpdateSgd,        // operands: parameters, gradients, momentum, control
  kUpdateAdam,       // operands: parameters, gradients, both moments, control

  // Inference, continued.
  kMatMul,     // out = sum of in * in2 over the last dimension of the index space (Strided)
  kLayerNorm,  // every pixel normalised over its channels, then times affine.scale plus affine.shift; alpha: epsilon

  // Between types, see QuantParams.
  kQuantize,    // out = in / scale + out_zero, rounded (kSingle: ties to even; kDouble: ties away from zero); or, from
                // integers, (in - in_zero) * multiplier + out_zero
  kDequantize,  // out = (in - in_zero) * scale

  // Training, continued; never stored.
  kFakeQuantize,  // in, with the affine in front; out; act: bounds; alpha: scale; beta: zero point; epsilon
  kRoundWeight,   // operands: weight, most [rows], out, each of them one pixel; alpha
};

enum class BinaryOp : uint8_t { kAdd = 0, kSub, kMul, kDiv, kMax, kMin, kPrelu };
constexpr BinaryOp kLastBinaryOp = BinaryOp::kPrelu;

// Indices into a `control` operand: the floats that the update of parameters reads.
enum Control : int32_t {
  kLearningRate = 0,
  kGradientScale,  // factor on the gradients as they are, which makes them their clipped mean
  kWeightDecay,    // of the first Step::train.alpha parameters
  kMomentum,       // SGD
  kNesterov,       // SGD: 1 or 0
  kBeta1,          // Adam
  kBeta2,          // Adam
  kEpsilon,        // Adam
  kCorrection1,    // Adam: 1 / (1 - beta1^t)
  kCorrection2,    // Adam: 1 / (1 - beta2^t)
  kDecoupled,      // Adam: 1 if the decay is subtracted from the parameter itself (AdamW), 0 if added to the gradient
  kSquareSumHigh,  // written by kSquareSum: the sum as two floats
  kSquareSumLow,   // the second of them
  kControlFloats = 16
};

constexpr int kMaxDims = 8;

// The index space of ops over general shapes: out[i] is computed from in0[i] and in1[i]. Each operand has strides of
// its own, in elements; a stride of 0 broadcasts.
struct Strided {
  int32_t rank;
  int64_t dims[kMaxDims];
  int64_t out_strides[kMaxDims];
  int64_t in_strides[2][kMaxDims];
  int64_t out_start, in_start[2];  // elements
  int32_t reduced_from;            // kReduceMean, kMatMul, kSoftmax: dims [reduced_from, rank) are reduced / normalised
  bool fill_first;                 // kStridedCopy: set all of out to fill_value first (padding)
  float fill_value;
  int64_t out_elements;
};

// x -> min(max(x * scale[c] + shift[c], low), high): what kAffine computes, and what kConv, kPool, kGlobalPool and
// kConvGradWeight may apply to their input, before its padding. If scale and shift are null, nothing is applied.
struct AffineParams {
  Parameter scale, shift;  // [in c]
  float low, high;
};

// The window of input pixels that an output pixel is computed from, in kConv, kPool and their gradients. In pixels.
// Padding is never negative, except in a kPool that implements a slice.
struct Window {
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
};

// kConv, kConvGradInput, kConvGradWeight.
struct ConvParams {
  Parameter weight;  // [out c][in c / groups][kh][kw]
  Parameter bias;    // [out c], or none
  int32_t groups;
  bool variable;    // weight and bias lie in the arena and change between runs
  bool transposed;  // the weight is that of the convolution whose input gradient this kConv computes:
                    // [in c][out c / groups][kh][kw], taps in reverse
};

// How steps that compute with integers round, numbered as in sparsenet::Rounding (sparsenet/graph.h).
enum class Rounding : uint8_t { kSingle = 0, kDouble };

// The factor value * 2^(shift - 31).
struct Multiplier {
  int32_t value;  // in [2^30, 2^31), or 0; of a mean from 2^29 on
  int32_t shift;  // in [-31, 30]
};

// x -> (x * multiplier + addend) >> shift, clamped to int8: what kScale is for one channel. A half is in the addend.
struct ChannelScale {
  int32_t multiplier, addend, shift;
};

// Of steps that compute with integers; zero points and bounds are of the type of their view.
struct QuantParams {
  Rounding rounding;
  int32_t in_zero, in2_zero, out_zero;
  int32_t low, high;  // bounds of the output
  // kConv: one for each output channel. kBinary, kAdd and kSub: of in, in2 and out. Otherwise one; none where the step
  // only moves or compares numbers.
  const Multiplier* multipliers;
  int32_t multiplier_count;
  int32_t left_shift;  // kBinary, kAdd and kSub: the operands are multiplied by 2^left_shift first, for the sum's sake
  int32_t least;       // kSoftmax: differences from the largest element that are below it count as no probability
  float scale;         // kQuantize from float32, kDequantize
  // kAffine, and kConv, kPool and kGlobalPool for their input, before its padding: one for each channel of `in`, or
  // null. `in_zero` is then that of what comes out.
  const ChannelScale* channels;
  const int8_t* table;  // kUnary: what comes out for each of the 256 integers, from -128 on
  // kConv with a residual in `in2`: the kAdd that follows. Its first operand is what this step would give without it,
  // requantised and clamped, its second is `in2`. Else null.
  const QuantParams* residual;
};

struct PoolParams {
  bool max;                // else the average
  bool count_include_pad;  // average: divides by the whole window
};

struct BinaryParams {
  BinaryOp op;
};

// `params` in the order of AttentionAttrs (sparsenet/graph.h).
struct AttentionParams {
  Parameter params[8];
  int32_t hidden;  // R of the squeeze-excite form; 0: the form of the paper
  Act act, gate;
};

// Parameters of training steps; the comments in StepOp say which of them a step uses.
struct TrainParams {
  const View* operands;
  int32_t operand_count;
  float epsilon, alpha, beta;
  bool accumulate;  // adds to the output instead of writing it
};

// Members that all steps share, then one struct per family of steps; the structs of the other families are zero.
struct Step {
  StepOp op;
  const char* name;  // of the graph node that the step comes from
  bool is_copy;      // the step only moves data
  View in;
  View in2;  // second operand or residual; segment_count 0: none
  View out;
  Act act;  // applied to the result of the op

  AffineParams affine;
  Window window;
  ConvParams conv;
  PoolParams pool;
  BinaryParams binary;
  const Strided* strided;    // of the general ops
  const QuantParams* quant;  // of steps that compute with integers, else null
  AttentionParams attention;
  TrainParams train;
};

// The parameters of a step that may lie in the arena, where a training changes them.
enum class ParamSlot : uint8_t { kWeight, kBias, kScale, kShift };
inline Parameter& param(Step& step, ParamSlot slot) {
  return slot == ParamSlot::kWeight  ? step.conv.weight
         : slot == ParamSlot::kBias  ? step.conv.bias
         : slot == ParamSlot::kScale ? step.affine.scale
                                     : step.affine.shift;
}

// What parameters in the arena point to until the arena has an address. It is not null, so that kernels can tell that
// the parameter exists.
extern const float kUnplaced;

}  // namespace sparsenet::rt
