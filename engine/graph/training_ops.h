// The ops and attributes of graphs that train. build_backward (train/) makes them; they are never stored.
#pragma once

#include <sparsenet/graph.h>

#include <memory>
#include <utility>

namespace sparsenet {

// Each op is described by its operands and results. "attributes" are members of TrainAttrs. s = 1 / sqrt(variance +
// epsilon) of a batch. Operands marked (+) are updated in place, those marked ? are optional. "dx unless it is given":
// dx is an output only if it is not among the operands.
struct TrainOp {
  // x [N, C, ...] -> [3, C]: mean, s, variance; attributes: epsilon
  static constexpr Op kBatchStats{200};
  // stats, gamma [C], beta [C] -> [2, C]: scale gamma s, shift beta - mean gamma s
  static constexpr Op kFoldStats{201};
  // x, scale and shift [2, C] -> activation(x * scale + shift); attributes: activation
  static constexpr Op kNormalize{202};
  // stats, running mean (+), running variance (+); attributes: alpha: momentum; beta: N / (N - 1), for the variance
  static constexpr Op kUpdateRunning{203};
  // dy, x, scale and shift, stats?, dx (+)? -> sums [2, C]: of dy' and of dy' (x - mean), with dy' = dy where the
  // activation is not at a bound; dx unless it is given
  static constexpr Op kNormalizeGrad{204};
  // sums, stats, gamma, dstats (+) -> dgamma, dbeta
  static constexpr Op kFoldStatsGrad{205};
  // x, stats, dstats [2, C] of mean and s, dx (+)
  static constexpr Op kBatchStatsGrad{206};
  // x, dy -> dw, db?; also for FullyConnected; attributes: conv, shape
  static constexpr Op kConvGradWeight{207};
  // dy, weight -> dx; attributes: conv, shape
  static constexpr Op kConvGradInput{208};
  // dy, x -> dx; attributes: activation
  static constexpr Op kActivationGrad{209};
  // dy, x -> dx: each dy goes to the first of the largest elements of its window; attributes: pool
  static constexpr Op kMaxPoolGrad{210};
  // dy -> dx; attributes: pool, shape
  static constexpr Op kAveragePoolGrad{211};
  // dy, y -> dx; attributes: axis
  static constexpr Op kSoftmaxGrad{212};
  // x -> alpha * sum over the dimensions that are 1 in `shape` or missing there; attributes: shape
  static constexpr Op kReduceSum{213};
  // x -> alpha * x, broadcast to `shape`; attributes: shape
  static constexpr Op kExpand{214};
  // dy [N, C, 1, 1], dx (+)? -> dx unless it is given: alpha * dy at every pixel; attributes: shape
  static constexpr Op kExpandPixels{215};
  // a, b [N, C, H, W] -> [N, C, 1, 1]: sum of a b over the pixels
  static constexpr Op kDotPixels{216};
  // x [N, C, H, W], f [N, C, 1, 1] -> x f
  static constexpr Op kScalePixels{217};
  // -> alpha everywhere; attributes: shape
  static constexpr Op kFill{218};
  // from, to (+): to += from
  static constexpr Op kAccumulate{219};
  // logits [N, K], labels [N, 1] -> [1, 2]: sum of the losses, number of correct answers; dlogits: beta * (softmax -
  // target); attributes: alpha: label smoothing; beta
  static constexpr Op kCrossEntropy{220};
  // x [P], control (+): the sum of the squares of x, in two floats of control
  static constexpr Op kSquareSum{221};
  // parameters (+), gradients, momentum (+), control
  static constexpr Op kUpdateSgd{222};
  // parameters (+), gradients, first moment (+), second moment (+), control
  static constexpr Op kUpdateAdam{223};
  // dy -> dx; attributes: slice, shape
  static constexpr Op kSliceGrad{224};
  // x -> the number nearest to activation(x) that an int8 value stands for: alpha (n - beta) with an integer n. Ties go
  // to the even n; with a positive `epsilon` up, also what is less than that below a tie, and with a negative one away
  // from 0. Straight through: the gradient is that of the activation. Attributes: activation: bounds or none; alpha:
  // scale; beta: zero point; epsilon
  static constexpr Op kFakeQuantize{225};
  // weight, most [R] -> alpha times the weight with every one of its R rows rounded to multiples of the row's largest
  // magnitude divided by its `most`, to 127 of them at most. Straight through: the gradient of the weight is alpha
  // times that of the result.
  static constexpr Op kRoundWeight{226};
};

// Attributes of the training ops; which of them an op uses is stated beside it.
struct TrainAttrs {
  Shape shape;
  ConvAttrs conv;
  PoolAttrs pool;
  SliceAttrs slice;
  Activation activation;
  int32_t axis = 1;
  float epsilon = 0;
  float alpha = 1, beta = 0;
};

using TrainAttrsPointer = std::shared_ptr<const TrainAttrs>;

inline Attrs to_attrs(TrainAttrs attrs) {
  return std::make_shared<const TrainAttrs>(std::move(attrs));
}

// The attributes of a node that has a training op.
inline const TrainAttrs& train_attrs(const Node& node) {
  return *std::get<TrainAttrsPointer>(node.attrs);
}

}  // namespace sparsenet
