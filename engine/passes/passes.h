// The graph passes. Each expects inferred shapes and keeps the graph's inputs and outputs and the values they have.
#pragma once

#include <sparsenet/graph.h>

namespace sparsenet {

// Identity nodes, reshapes to the same shape and transposes that change nothing disappear.
Status remove_identity(Graph* graph);

// A mean over the rows and columns of an image becomes GlobalAveragePool (and a Reshape, if it drops these dimensions).
Status convert_reduce_mean(Graph* graph);

// The channel gates of the SparseNet family become one op each: the paper's attention h + h f(h) and squeeze-and-excite
// h f(h), where f is made of a global average pool, 1x1 convolutions or fully connected layers, and activations.
Status recognize_attention(Graph* graph);

// Zero padding of rows and columns in front of a convolution becomes part of it.
Status merge_pad(Graph* graph);

// BatchNorm becomes Affine (scale, shift). Required: lowering knows no BatchNorm.
Status convert_batch_norm(Graph* graph);

// Add, Sub, Mul and Div with a constant operand that has one value per channel (or a single one) become Affine.
Status convert_channel_constants(Graph* graph);

// An Affine behind Conv or FullyConnected goes into its weights and bias; two Affines in a row become one.
Status fold_affine_backward(Graph* graph);

// An Affine without activation in front of an unpadded convolution or FC layer goes into its weights and bias.
Status fold_affine_forward(Graph* graph);

// An Add behind Conv becomes part of it: its other operand becomes the convolution's residual.
Status fuse_residual(Graph* graph);

// A FullyConnected layer over the channels of every pixel, with the image brought into the order [N, H, W, C] before it
// and back after it, becomes a 1x1 convolution.
Status convert_pixel_fc(Graph* graph);

// An activation behind a Reshape or a Transpose moves in front of it if there is a layer that it can become part of.
Status move_activations(Graph* graph);

// An activation behind Conv, FullyConnected or Affine becomes part of it.
Status fuse_activation(Graph* graph);

// Average pooling commutes with a 1x1 convolution, so the pooling goes first: in a transition only a quarter of the
// pixels then remain to be convolved.
Status pool_before_conv(Graph* graph);

// A FullyConnected layer that reads a flattened image becomes a convolution with a window as large as the image.
Status convert_flattened_fc(Graph* graph);

// The order that a channel shuffle (Reshape, Transpose, Reshape) gives to channels moves into the weights of the
// convolutions that read them, so that nothing is copied.
Status carry_channel_shuffles(Graph* graph);

// Two reshapes in a row become one, or none where the second undoes the first.
Status merge_reshapes(Graph* graph);

// Nodes whose outputs nothing uses disappear.
Status remove_dead_nodes(Graph* graph);

}  // namespace sparsenet
