// Step: one thing that a plan does, as plain data. The planner makes steps from a graph; kernels read them in prepare.
//
// Everything is a view into memory that a plan owns: no step owns anything. Kernel files for wider instruction sets
// include this header, so nothing that they use may have code that a compiler could emit out of line.
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

// Of a view, of an image with its padding, of a convolution's weights. Kernels count with 32 bits; half of what those
// hold leaves their loops room to step over an edge.
constexpr int32_t kMostElements = 1 << 30;

// Of an element; numbered as sparsenet::DataType.
enum class DataType : uint8_t { kFloat32 = 0, kInt32, kInt64, kUInt8, kInt8, kFloat16 };
constexpr uint8_t kDataTypes = 6;

// Bytes of an element.
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

// Where its elements lie, if they are float32.
[[gnu::always_inline]] inline const float* f32(const Segment& segment, const uint8_t* arena) {
  return static_cast<const float*>(segment.constant ? segment.constant : arena + segment.offset);
}

struct View {
  int32_t n, h, w, c;
  const Segment* segments;  // their channels add up to c
  int32_t segment_count;
  DataType type = DataType::kFloat32;
};

// A list of parameters of a step: constant, or in the arena, where a training changes them.
struct Parameter {
  const void* data = nullptr;  // null: there are none
  DataType type = DataType::kFloat32;

  [[gnu::always_inline]] explicit operator bool() const { return data != nullptr; }
  [[gnu::always_inline]] const float* f32() const { return static_cast<const float*>(data); }  // only of this type
};

// min/max bounds express none, ReLU and Clip alike; the rest run after the bounds are left open.
struct Act {
  // From kLeakyRelu on as in Activation::Kind (sparsenet/graph.h), which gives the formulas. Files hold these numbers.
  enum Kind : uint8_t {
    kClamp = 0,
    kLeakyRelu,
    kSigmoid,
    kHardSigmoid,
    kHardSwish,
    kTanh,  // the last of those that every kernel has inline; for the others see kernels/reference/activation.h
    kElu,
    kSoftplus,
    kSilu,
    kMish,
    kGelu,
    kGeluTanh,
    kErf
  };
  static constexpr Kind kLast = kErf;
  Kind kind;
  float low, high;  // kClamp: min(max(x, low), high); infinities leave x as it is
  float alpha, beta;
};

enum class StepOp : uint8_t {
  kConv = 0,     // also fully connected layers: one pixel an image
  kPool,         // max or average over windows; a 1x1 window with a stride subsamples
  kGlobalPool,   // mean over all pixels of an image: out is n x 1 x 1 x c
  kAffine,       // out = act(in * scale + shift) per channel; gathers segments; without scale a plain copy
  kUnary,        // out = act(in), any dense memory
  kBinary,       // out = a op b with broadcasting (Strided)
  kSoftmax,      // over `inner` dimension (Strided)
  kReduceMean,   // (Strided)
  kStridedCopy,  // transpose, slice, pad, concat of general shapes (Strided)
  kAttention,    // channel gate, see AttentionAttrs in sparsenet/graph.h

  // Training. Operands stand in Step::operands, in the order of the graph op of the same name (sparsenet/graph.h), its
  // inputs first; what else is used is said here.
  kBatchStats,  // epsilon
  kFoldStats,
  kUpdateRunning,  // alpha: momentum; beta: factor of the variance
  kNormalizeGrad,  // act: bounds; with a weight [in c][x c] dy is not given but in * weight, see lower_train.cpp
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
};

enum class BinaryOp : uint8_t { kAdd = 0, kSub, kMul, kDiv };

// What the update of parameters reads beside them: floats of a `control` operand.
enum Control : int32_t {
  kLearningRate = 0,
  kGradientScale,  // of the gradients as they are: their mean, clipped
  kWeightDecay,    // of the first Step::alpha parameters
  kMomentum,
  kNesterov,  // SGD; Nesterov: 1 or 0
  kBeta1,
  kBeta2,
  kEpsilon,  // Adam
  kCorrection1,
  kCorrection2,  // Adam: 1 / (1 - beta^t)
  kDecoupled,    // Adam: 1: decay is taken from the parameter (AdamW)
  kSquareSumHigh,
  kSquareSumLow,  // written by kSquareSum: the sum as two floats
  kControlFloats = 16
};

constexpr int kMaxDims = 8;

// Index space of the general ops: out[i] from in0[i], in1[i] with per-operand strides in elements (0 broadcasts).
struct Strided {
  int32_t rank;
  int64_t dims[kMaxDims];
  int64_t out_strides[kMaxDims];
  int64_t in_strides[2][kMaxDims];
  int64_t out_start, in_start[2];  // elements
  int32_t reduced_from;            // kReduceMean, kSoftmax: dims [reduced_from, rank) are reduced / normalised
  bool fill_first;                 // kStridedCopy: set all of out to fill_value first (padding)
  float fill_value;
  int64_t out_elements;
};

// x -> min(max(x * scale[c] + shift[c], low), high), of kAffine, and in front of kConv, kPool, kGlobalPool and
// kConvGradWeight. Padding is applied after it. Null scale and shift: nothing.
struct AffineParams {
  Parameter scale, shift;  // [in c]
  float low, high;
};

// Where an output pixel's inputs lie, of kConv and kPool and their gradients. In pixels; padding is never negative,
// but for a kPool that stands for a slice.
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
  int32_t hidden;  // R of the squeeze-excite form; 0: the paper's
  Act act, gate;
};

// Of the steps that train; what each uses stands beside it in StepOp.
struct TrainParams {
  const View* operands;
  int32_t operand_count;
  float epsilon, alpha, beta;
  bool accumulate;  // adds to the output instead of writing it
};

// A head that all steps share, then one struct for each family of steps; the others' are zero.
struct Step {
  StepOp op;
  const char* name;  // of the graph node it came from
  bool is_copy;      // only moves data
  View in;
  View in2;  // second operand or residual; segment_count 0: none
  View out;
  Act act;  // behind the op

  AffineParams affine;
  Window window;
  ConvParams conv;
  PoolParams pool;
  BinaryParams binary;
  const Strided* strided;  // of the general ops
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

// What weight and bias of a variable step point to until the arena has its place: not null, so that kernels see
// whether there is one.
extern const float kUnplaced;

}  // namespace sparsenet::rt
