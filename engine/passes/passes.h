// The passes. Each expects inferred shapes and keeps the graph's inputs, outputs and their values.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet {

// Identity nodes, reshapes to the same shape and transposes that change nothing disappear.
Status remove_identity(Graph* graph);

// Mean over rows and columns of an image becomes GlobalAveragePool (with a Reshape where the dimensions go).
Status convert_reduce_mean(Graph* graph);

// The channel gates of the family as one op: the paper's attention h + h f(h) and squeeze-and-excite h f(h), with f
// made of a global average pool, 1x1 convolutions or fully connected layers, and activations.
Status recognize_attention(Graph* graph);

// Zero padding of rows and columns in front of a convolution moves into it.
Status merge_pad(Graph* graph);

// BatchNorm becomes Affine (scale, shift). Required: lowering knows no BatchNorm.
Status convert_batch_norm(Graph* graph);

// Add, Sub, Mul, Div with one constant a channel become Affine.
Status convert_channel_constants(Graph* graph);

// Conv or FullyConnected followed by Affine: the affine goes into weights and bias.
Status fold_affine_backward(Graph* graph);

// Affine without activation in front of an unpadded convolution or FC layer: into its weights and bias.
Status fold_affine_forward(Graph* graph);

// Conv followed by Add: the other operand becomes the convolution's residual.
Status fuse_residual(Graph* graph);

// An activation behind Conv, FullyConnected or Affine becomes part of it.
Status fuse_activation(Graph* graph);

// Average pooling commutes with a 1x1 convolution: pool first, on a quarter of the pixels (of a transition) remains to
// convolve.
Status pool_before_conv(Graph* graph);

// Flatten of an image in front of FullyConnected: the layer becomes a convolution with a window as large as the image.
Status convert_flattened_fc(Graph* graph);

// Nodes whose outputs nobody uses disappear.
Status remove_dead_nodes(Graph* graph);

}  // namespace sparsenet
