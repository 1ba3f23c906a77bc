"""ONNX graphs of operators beyond classical classifiers: functions, reductions, normalisations, matrix products,
rearrangements, resizing, layers of one dimension. Listed in GENERAL_GRAPHS as in golden_graphs.py.
"""

from __future__ import annotations

import math

import numpy as np


def positive(g, x):
    return g.op("Add", g.op("Mul", x, x), g.const(0.5))


def functions(g):
    x = g.conv("input", 3, 8)
    p = positive(g, x)
    parts = [
        g.op("Sqrt", p), g.op("Log", p), g.op("Reciprocal", p), g.op("Exp", g.op("Tanh", x)), g.op("Abs", x),
        g.op("Neg", x), g.op("Pow", p, g.const(-0.75)), g.op("Pow", x, g.const(2, np.int64)), g.op("Selu", x),
        g.op("Celu", x, alpha=0.7), g.op("Softsign", x),
    ]
    return [g.head(g.op("Concat", *parts, axis=1), 88)]


def extremes(g):
    x = g.conv("input", 3, 8)
    y = g.conv("input", 3, 8)
    a = g.op("Max", x, y, g.const(g.rng.standard_normal((8, 1, 1))))
    b = g.op("Min", g.op("Max", x, g.const(0.0)), g.const(0.6))  # a Relu6 of another height
    c = g.op("Min", y, g.const(0.2), x)
    d = g.op("PRelu", x, g.const(g.rng.uniform(-0.5, 0.5, (8, 1, 1))))
    e = g.op("Where", g.const(g.rng.uniform(size=(8, 8)) < 0.5, np.bool_), x, g.const(-0.3))
    f = g.op("Where", g.const(g.rng.uniform(size=(1, 8, 1, 1)) < 0.5, np.bool_), x, y)
    return [g.head(g.op("Concat", a, b, c, d, e, f, axis=1), 48)]


def reductions(g):
    x = g.conv("input", 3, 8)
    keep = [g.op(kind, x, axes=axes) for kind, axes in
            [("ReduceMax", [2, 3]), ("ReduceMax", [1]), ("ReduceMin", [-1]), ("ReduceL2", [1]), ("ReduceL1", [3]),
             ("ReduceSumSquare", [2]), ("ReduceMean", [1, 3])]]
    total = g.op("Mul", g.op("Sum", *keep), g.const(0.02))  # all of them broadcast
    drop = g.op("ReduceSum", total, g.ints(2, 3), keepdims=0)
    most = g.op("ReduceMax", total, axes=[1, 2], keepdims=0)
    y = g.op("Concat", drop, most, g.op("Flatten", g.op("GlobalMaxPool", x)), axis=1)
    return [g.op("LogSoftmax", g.op("Gemm", y, g.weight(24, 5), g.vector(5)))]


def log_softmax_opset11(g):
    x = g.op("LogSoftmax", g.conv("input", 3, 4), axis=2)  # over height and width
    return [g.op("LogSoftmax", g.head(x, 4))]


def normalisations(g):
    x = g.conv("input", 3, 8)
    a = g.op("InstanceNormalization", x, g.vector(8), g.vector(8))
    b = g.op("LayerNormalization", x, g.const(g.rng.uniform(0.5, 1.5, (8, 8, 8))), axis=1, epsilon=1e-3)
    c = g.op("LRN", x, size=3, alpha=0.3, beta=0.6, bias=1.5)
    d = g.op("LpNormalization", x, axis=1)
    y = g.op("Transpose", x, perm=[0, 2, 3, 1])
    y = g.op("LayerNormalization", y, g.vector(8), g.vector(8))
    e = g.op("Transpose", y, perm=[0, 3, 1, 2])
    # GroupNorm as PyTorch writes it
    f = g.op("InstanceNormalization", g.op("Reshape", x, g.ints(0, 2, -1)), g.const(np.ones(2)), g.const(np.zeros(2)))
    f = g.op("Reshape", f, g.ints(1, 8, 8, 8))
    f = g.op("Add", g.op("Mul", f, g.const(g.rng.uniform(0.5, 1.5, (8, 1, 1)))),
             g.const(g.rng.standard_normal((8, 1, 1))))
    return [g.head(g.op("Concat", a, b, c, d, e, f, axis=1), 48)]


def layer_norm_spelled_out(g):
    x = g.op("Reshape", g.conv("input", 3, 8), g.ints(0, 8, -1))
    d = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
    v = g.op("ReduceMean", g.op("Pow", d, g.const(2.0)), axes=[-1])
    y = g.op("Div", d, g.op("Sqrt", g.op("Add", v, g.const(1e-5))))
    y = g.op("Add", g.op("Mul", y, g.vector(64)), g.vector(64))
    return [g.op("MatMul", g.op("Flatten", y), g.weight(512, 4))]


def attention(g):
    """A block of a vision transformer, with one more channel vector in front of the tokens."""
    heads, width, tokens, c = 2, 4, 17, 8
    x = g.op("Conv", "input", g.weight(c, 3, 2, 2), g.vector(c), strides=[2, 2])
    x = g.op("Transpose", g.op("Reshape", x, g.ints(0, c, 16)), perm=[0, 2, 1])
    x = g.op("Concat", g.const(g.rng.standard_normal((1, 1, c))), x, axis=1)
    x = g.op("Add", x, g.const(g.rng.standard_normal((1, tokens, c)) * 0.3))
    y = g.op("LayerNormalization", x, g.vector(c), g.vector(c))
    y = g.op("Add", g.op("MatMul", y, g.weight(c, 3 * c)), g.vector(3 * c))
    y = g.op("Transpose", g.op("Reshape", y, g.ints(1, tokens, 3, heads, width)), perm=[2, 0, 3, 1, 4])
    q, k, v = [g.op("Gather", y, g.const(i, np.int64), axis=0) for i in range(3)]
    scores = g.op("MatMul", g.op("Mul", q, g.const(1 / math.sqrt(width))), g.op("Transpose", k, perm=[0, 1, 3, 2]))
    y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), g.ints(1, tokens, c))
    x = g.op("Add", x, g.op("Add", g.vector(c), g.op("MatMul", y, g.weight(c, c))))
    y = g.op("Gelu", g.op("Add", g.op("MatMul", x, g.weight(c, 2 * c)), g.vector(2 * c)))
    x = g.op("Add", x, g.op("MatMul", y, g.weight(2 * c, c)))
    first = g.op("Gather", x, g.const(0, np.int64), axis=1)
    return [g.op("Gemm", first, g.weight(5, c), g.vector(5), transB=1)]


def matrix_products(g):
    x = g.conv("input", 3, 4)
    a = g.op("MatMul", x, g.weight(8, 6))  # rank 4
    b = g.op("MatMul", g.const(g.rng.standard_normal((6, 8)) * 0.3), x)
    y = g.op("MatMul", b, a)
    z = g.op("MatMul", y, g.const(g.rng.standard_normal((4, 6, 3)) * 0.3))
    v = g.op("MatMul", g.op("Reshape", z, g.ints(0, 8, 9)), g.vector(9))  # a vector
    return [g.op("Gemm", v, g.weight(8, 5), g.op("MatMul", v, g.weight(8, 5)), beta=0.5)]


def convnext_block(g):
    x = g.conv("input", 3, 8)
    y = g.op("Transpose", g.conv(x, 8, 8, 7, group=8), perm=[0, 2, 3, 1])
    y = g.op("LayerNormalization", y, g.vector(8), g.vector(8), epsilon=1e-6)
    y = g.op("Gelu", g.op("Add", g.op("MatMul", y, g.weight(8, 16)), g.vector(16)))
    y = g.op("Mul", g.op("Add", g.op("MatMul", y, g.weight(16, 8)), g.vector(8)), g.vector(8))
    x = g.op("Add", x, g.op("Transpose", y, perm=[0, 3, 1, 2]))
    return [g.head(x, 8)]


def indices(g):
    x = g.conv(g.op("Gather", "input", g.ints(2, 1, 0), axis=1), 3, 8)
    a = g.op("Slice", x, g.ints(7), g.ints(-100), g.ints(1), g.ints(-1))  # backwards
    b = g.op("Gather", x, g.const([[0, 2, 4], [-1, 5, 5]], np.int64), axis=2)
    b = g.op("Reshape", b, g.ints(1, 8, 6, 8))
    c = g.op("Expand", g.op("GlobalAveragePool", x), g.ints(1, 1, 6, 8))
    d = g.op("Tile", g.op("Slice", x, g.ints(0, 0), g.ints(3, 4), g.ints(2, 3)), g.ints(1, 1, 2, 2))
    y = g.op("Concat", b, c, d, axis=1)
    return [g.head(a, 8), g.head(y, 24)]


def pads(g):
    x = g.op("Pad", "input", g.ints(0, 0, 2, 1, 0, 0, 1, 3), mode="reflect")
    x = g.conv(x, 3, 6)
    y = g.op("Pad", x, g.ints(0, 0, 1, 0, 0, 0, 2, 4), mode="edge")
    z = g.op("Pad", x, g.ints(0, 1, -1, 2, 0, 0, 1, -3), g.const(0.5))
    return [g.head(y, 6), g.head(z, 7)]


def blocks(g):
    x = g.op("SpaceToDepth", "input", blocksize=2)
    x = g.conv(x, 12, 16)
    y = g.op("Concat", g.op("DepthToSpace", x, blocksize=2, mode="CRD"), g.op("DepthToSpace", x, blocksize=2), axis=1)
    return [g.head(g.relu(g.conv(y, 8, 6)), 6)]


def resizing(g):
    x = g.conv("input", 3, 4)
    to = lambda *sizes: ("", "", g.ints(1, 4, *sizes))
    parts = [
        g.op("Resize", x, "", g.const([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric",
             nearest_mode="floor"),
        g.op("Resize", x, *to(16, 16), mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
        g.op("Resize", g.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), *to(16, 16), mode="linear",
             coordinate_transformation_mode="align_corners"),
        g.op("Resize", x, *to(16, 16), mode="cubic", cubic_coeff_a=-0.75),
    ]
    small = g.op("Resize", g.op("Concat", *parts, axis=1), "", g.const([1, 1, 0.4, 0.6]), mode="nearest")
    return [g.head(small, 16)]


def upsample_opset9(g):
    x = g.op("Upsample", g.conv("input", 3, 4), g.const([1, 1, 2, 3]), mode="nearest")
    return [g.head(g.op("Upsample", g.relu(g.conv(x, 4, 4)), g.const([1, 1, 1.5, 1]), mode="linear"), 4)]


def transposed_convolutions(g):
    x = g.op("ConvTranspose", "input", g.weight(3, 8, 2, 2), g.vector(8), strides=[2, 2])
    x = g.op("ConvTranspose", g.relu(x), g.weight(8, 6, 3, 3), strides=[2, 1], pads=[1, 1, 1, 1], output_padding=[1, 0])
    x = g.op("ConvTranspose", g.relu(x), g.weight(6, 2, 3, 4), g.vector(4), group=2, strides=[1, 3], dilations=[2, 1],
             pads=[1, 0, 2, 1])
    x = g.op("ConvTranspose", g.relu(x), g.weight(4, 4, 5, 5), strides=[2, 2], auto_pad="SAME_UPPER")
    return [g.head(x, 4)]


def one_dimension(g):
    x = g.op("Conv", "input", g.weight(8, 3, 5), g.vector(8), strides=[2], pads=[2, 2])
    x = g.relu(g.bn(x, 8))
    x = g.relu(g.bn(g.op("Conv", x, g.weight(8, 1, 3), group=8, dilations=[2], pads=[2, 2]), 8))
    x = g.op("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 1])
    x = g.op("AveragePool", g.op("ConvTranspose", x, g.weight(8, 6, 4), g.vector(6), strides=[2], pads=[1, 1]),
             kernel_shape=[2], strides=[2])
    x = g.op("Flatten", g.op("Concat", g.op("GlobalAveragePool", x), g.op("GlobalMaxPool", x), axis=1))
    return [g.op("Gemm", x, g.weight(12, 5), g.vector(5))]


IMAGE = {"input": (1, 3, 8, 8)}
GENERAL_GRAPHS = [
    ("functions", 14, IMAGE, functions),
    ("extremes", 16, IMAGE, extremes),
    ("reductions", 13, IMAGE, reductions),
    ("log-softmax-opset11", 11, IMAGE, log_softmax_opset11),
    ("normalisations", 17, IMAGE, normalisations),
    ("layer-norm-spelled-out", 13, IMAGE, layer_norm_spelled_out),
    ("attention", 20, IMAGE, attention),
    ("matrix-products", 13, IMAGE, matrix_products),
    ("convnext-block", 20, IMAGE, convnext_block),
    ("indices", 13, IMAGE, indices),
    ("pads", 13, IMAGE, pads),
    ("blocks", 13, IMAGE, blocks),
    ("resizing", 13, IMAGE, resizing),
    ("upsample-opset9", 9, IMAGE, upsample_opset9),
    ("transposed-convolutions", 11, IMAGE, transposed_convolutions),
    ("one-dimension", 13, {"input": (1, 3, 40)}, one_dimension),
]
