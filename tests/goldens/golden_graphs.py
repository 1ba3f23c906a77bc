"""Small hand-built ONNX graphs, one per corner of the operators that classifiers use.

Each builder takes a GraphMaker and returns the names of its outputs. `GRAPHS` lists (name, opset, inputs, builder). Every
graph is a short classifier-like chain, so that an engine meets the operator between the neighbours it has in real files.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from general_graphs import GENERAL_GRAPHS
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 20: 9}
INT64_MAX = np.iinfo(np.int64).max


class GraphMaker:
    """Collects nodes and initializers; hands out value names; draws weights from one seeded stream."""

    def __init__(self, name, opset, inputs, seed):
        self.name, self.opset, self.inputs = name, opset, dict(inputs)
        self.rng = np.random.RandomState(seed)
        self.nodes, self.initializers = [], []
        self.typed_data = False  # True: float_data / int64_data instead of raw bytes
        self.serial = 0

    def _fresh(self, stem):
        self.serial += 1
        return f"{stem}_{self.serial}"

    def const(self, values, dtype=np.float32, node=False):
        """An initializer, or with node=True the output of a Constant node."""
        array = np.asarray(values, dtype)
        name = self._fresh("const")
        if self.typed_data and not node:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor = helper.make_tensor(name, kind, array.shape, array.flatten().tolist())
        else:
            tensor = numpy_helper.from_array(array, name)
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], name=f"Constant_{name}", value=tensor))
        else:
            self.initializers.append(tensor)
        return name

    def ints(self, *values, node=False):
        return self.const(values, np.int64, node)

    def weight(self, *shape, gain=1.5):
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return self.const(self.rng.standard_normal(shape) * math.sqrt(gain / fan_in))

    def vector(self, n, scale=0.3):
        return self.const(self.rng.standard_normal(n) * scale)

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [self._fresh(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=self._fresh(kind), **attributes))
        return names[0] if outputs == 1 else names

    # -- the usual companions

    def conv(self, x, c_in, c_out, kernel=3, group=1, bias=True, **attributes):
        kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        inputs = [x, self.weight(c_out, c_in // group, kh, kw)] + ([self.vector(c_out)] if bias else [])
        if group != 1:
            attributes["group"] = group
        if "auto_pad" not in attributes and "pads" not in attributes:
            attributes["pads"] = [kh // 2, kw // 2, kh // 2, kw // 2]
        return self.op("Conv", *inputs, **attributes)

    def bn(self, x, c, **attributes):
        rng = self.rng
        scale = self.const(rng.uniform(0.6, 1.4, c) * np.where(rng.uniform(size=c) < 0.2, -1, 1))
        return self.op("BatchNormalization", x, scale, self.vector(c), self.vector(c),
                       self.const(rng.uniform(0.5, 2, c)), **attributes)

    def relu(self, x):
        return self.op("Relu", x)

    def head(self, x, c, classes=5):
        x = self.op("Flatten", self.op("GlobalAveragePool", x))
        return self.op("Gemm", x, self.weight(classes, c), self.vector(classes), transB=1)

    def model(self, outputs, output_shapes):
        declared = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.inputs.items()]
        if self.opset < 9:  # IR 3: every initializer is also a graph input
            declared += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.initializers]
        results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(outputs, output_shapes)]
        graph = helper.make_graph(self.nodes, self.name, declared, results, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)],
                                  ir_version=IR_VERSION[self.opset], producer_name="sparsenet-goldens")
        if None not in output_shapes:  # otherwise it is a draft, run once to determine them
            onnx.checker.check_model(model)
        return model


# ------------------------------------------------------------------------------------------------------ convolutions


def conv_groups_dilation_pads(g):
    x = g.relu(g.conv("input", 3, 8, pads=[0, 1, 2, 1]))
    x = g.relu(g.conv(x, 8, 12, group=4, dilations=[2, 2], pads=[2, 2, 2, 2], bias=False))
    x = g.relu(g.conv(x, 12, 8, (1, 5), strides=[2, 1]))
    x = g.conv(x, 8, 8, (3, 1), dilations=[2, 1], pads=[1, 0, 0, 0])
    return [g.head(g.relu(x), 8)]


def conv_depthwise(g):
    x = g.relu(g.conv("input", 3, 6, strides=[2, 2]))
    x = g.bn(g.conv(x, 6, 6, group=6, bias=False), 6)
    x = g.relu(g.conv(x, 6, 10, 1))
    x = g.conv(x, 10, 20, 5, group=10, strides=[2, 2])  # two outputs per channel
    return [g.head(g.relu(x), 20)]


def conv_auto_pad(g):
    x = g.relu(g.conv("input", 3, 4, auto_pad="SAME_UPPER", strides=[2, 2]))
    x = g.relu(g.conv(x, 4, 6, (4, 3), auto_pad="SAME_LOWER", strides=[1, 2]))
    x = g.relu(g.conv(x, 6, 6, 2, auto_pad="SAME_UPPER"))
    x = g.conv(x, 6, 8, 2, auto_pad="VALID")
    return [g.head(x, 8)]


def batchnorm_in_odd_places(g):
    x = g.bn("input", 3, epsilon=1e-3)  # before any convolution, whose padding must stay zero
    x = g.conv(x, 3, 8)
    x = g.bn(x, 8, epsilon=1e-4)
    a = g.relu(x)
    b = g.bn(a, 8)  # after the ReLU
    x = g.op("Add", g.bn(g.conv(b, 8, 8), 8), a)
    return [g.head(g.relu(g.bn(x, 8)), 8)]


# ------------------------------------------------------------------------------------------------------- activations


def clip_attributes_ir3(g):
    x = g.op("Clip", g.conv("input", 3, 6), min=0.0, max=6.0)
    x = g.op("Clip", g.conv(x, 6, 6), max=0.5)
    x = g.op("Clip", g.bn(x, 6), min=-0.25)
    return [g.head(x, 6)]


def clip_inputs(g):
    low, high = g.const(0.0), g.const(6.0, node=True)
    x = g.op("Clip", g.conv("input", 3, 6), low, high)
    x = g.op("Clip", g.conv(x, 6, 6), "", g.const(0.5))
    x = g.op("Clip", g.conv(x, 6, 6), g.const(-0.25, node=True))
    return [g.head(x, 6)]


def activations(g):
    x = g.conv("input", 3, 8)
    parts = [
        g.op("LeakyRelu", x, alpha=0.1),
        g.op("LeakyRelu", g.conv(x, 8, 4)),
        g.op("Sigmoid", g.conv(x, 8, 4)),
        g.op("Tanh", g.conv(x, 8, 4)),
        g.op("HardSigmoid", x),
        g.op("HardSigmoid", g.conv(x, 8, 4), alpha=1 / 6, beta=0.5),
        g.op("HardSwish", g.conv(x, 8, 4)),
    ]
    x = g.op("Concat", *parts, axis=1)
    return [g.head(g.relu(g.conv(x, 36, 6, 1)), 6)]


def smooth_activations(g):
    x = g.conv("input", 3, 8)
    parts = [
        g.op("Elu", x, alpha=0.7),
        g.op("Elu", g.conv(x, 8, 4)),
        g.op("Softplus", x),
        g.op("Mish", g.conv(x, 8, 4)),
        g.op("Gelu", x),
        g.op("Gelu", g.conv(x, 8, 4), approximate="none"),
        g.op("Gelu", g.conv(x, 8, 4), approximate="tanh"),
        g.op("Erf", x),
    ]
    x = g.op("Concat", *parts, axis=1)
    return [g.head(g.relu(g.conv(x, 48, 6, 1)), 6)]


def activations_spelled_out(g):
    """As exporters write those that the opset lacks, in the orders that have been seen."""
    one, half, two, three = g.const(1.0), g.const(0.5), g.const(2.0), g.const(3.0)
    cubic, root = g.const(0.044715), g.const(math.sqrt(2 / math.pi))

    def gelu_of(x, inner):
        return g.op("Mul", g.op("Mul", x, g.op("Add", inner, one)), half)

    x = g.conv("input", 3, 8)
    silu = g.op("Mul", x, g.op("Sigmoid", x))
    y = g.conv(silu, 8, 8)
    quick = g.op("Mul", g.op("Sigmoid", g.op("Mul", y, g.const(1.702))), y)
    y = g.conv(quick, 8, 8)
    mish = g.op("Mul", y, g.op("Tanh", g.op("Softplus", y)))
    y = g.conv(mish, 8, 8)
    gelu = gelu_of(y, g.op("Erf", g.op("Div", y, g.const(math.sqrt(2)))))
    y = g.conv(gelu, 8, 8)
    halved = g.op("Mul", y, half)
    gelu2 = g.op("Mul", halved, g.op("Add", one, g.op("Erf", g.op("Mul", y, g.const(math.sqrt(0.5))))))
    y = g.conv(gelu2, 8, 8)
    cube = g.op("Mul", cubic, g.op("Mul", y, g.op("Mul", y, y)))
    gelu_tanh = gelu_of(y, g.op("Tanh", g.op("Mul", root, g.op("Add", y, cube))))
    y = g.conv(gelu_tanh, 8, 8)
    cube = g.op("Mul", g.op("Pow", y, three), cubic)
    gelu_tanh = g.op("Mul", half, g.op("Mul", y, g.op("Add", g.op("Tanh", g.op("Mul", g.op("Add", y, cube), root)), one)))
    y = g.conv(gelu_tanh, 8, 8)
    # Alike, but not these: they stay several nodes.
    wide = gelu_of(y, g.op("Erf", y))
    twice = g.op("Mul", two, g.op("Mul", y, g.op("Sigmoid", g.op("Pow", y, two))))
    return [g.head(g.op("Concat", wide, twice, axis=1), 16)]


def softmax_opset11(g):
    x = g.conv("input", 3, 4, strides=[2, 2])
    x = g.op("Softmax", x)  # axis 1 means all of C x H x W together
    x = g.op("Flatten", x)
    return [g.op("Softmax", g.op("Gemm", x, g.weight(5, 64, gain=600), g.vector(5), transB=1), axis=1)]


def softmax_opset13(g):
    x = g.conv("input", 3, 4, strides=[2, 2])
    x = g.op("Softmax", x, axis=1)  # over the channels of each pixel
    x = g.op("Flatten", x)
    return [g.op("Softmax", g.op("Gemm", x, g.weight(5, 64, gain=40), g.vector(5), transB=1))]


# -------------------------------------------------------------------------------------- concat, split, slice and pad


def concat_split_opset11(g):
    x = g.relu(g.conv("input", 3, 10))
    a, b, c = g.op("Split", x, outputs=3, axis=1, split=[2, 5, 3])
    b = g.relu(g.conv(b, 5, 4))
    x = g.op("Concat", c, b, a, axis=1)
    d, e, f = g.op("Split", x, outputs=3, axis=1)  # equal parts
    x = g.op("Concat", f, "input", d, e, f, axis=1)  # one part twice, and the graph's input
    return [g.head(g.relu(g.bn(x, 15)), 15)]


def concat_split_opset13(g):
    x = g.relu(g.conv("input", 3, 10))
    a, b, c = g.op("Split", x, g.ints(2, 5, 3), outputs=3, axis=1)
    b = g.relu(g.conv(b, 5, 4))
    x = g.op("Concat", c, b, a, axis=-3)
    d, e, f = g.op("Split", x, outputs=3, axis=-3)
    x = g.op("Concat", f, d, e, f, axis=1)
    top, bottom = g.op("Split", x, g.ints(3, 5, node=True), outputs=2, axis=2)  # rows
    x = g.op("Concat", bottom, top, axis=2)
    return [g.head(g.relu(g.conv(x, 12, 6)), 6)]


def dense_block_two_readers(g):
    """Concats of concats, each read by a batch norm and a convolution of its own, as in DenseNet."""
    x0 = g.relu(g.conv("input", 3, 8))
    x1 = g.conv(g.relu(g.bn(x0, 8)), 8, 4)
    c1 = g.op("Concat", x0, x1, axis=1)  # oldest first, as torchvision writes it
    x2 = g.conv(g.relu(g.bn(c1, 12)), 12, 4)
    c2 = g.op("Concat", c1, x2, axis=1)
    x3 = g.conv(g.relu(g.bn(c2, 16)), 16, 4)
    c3 = g.op("Concat", x3, c2, axis=1)
    x = g.op("AveragePool", g.conv(g.relu(g.bn(c3, 20)), 20, 10, 1), kernel_shape=[2, 2], strides=[2, 2])
    direct = g.conv(c3, 20, 10, 1, strides=[2, 2])  # reads the concat with no affine in between
    return [g.head(g.relu(g.bn(g.op("Add", x, direct), 10)), 10)]


def slice_attributes(g):
    x = g.relu(g.conv("input", 3, 10))
    a = g.op("Slice", x, axes=[1], starts=[0], ends=[4])
    b = g.op("Slice", x, axes=[1], starts=[-6], ends=[INT64_MAX])
    b = g.relu(g.conv(b, 6, 6))
    c = g.op("Slice", g.op("Concat", b, a, axis=1), axes=[1, 2, 3], starts=[2, 1, 0], ends=[9, -1, 5])
    return [g.head(g.conv(c, 7, 6), 6)]


def slice_inputs_option_a(g):
    """The parameter-free shortcut of CIFAR ResNets: every second pixel, then zero channels around."""
    x = g.relu(g.conv("input", 3, 8))
    y = g.bn(g.conv(x, 8, 16, strides=[2, 2], bias=False), 16)
    s = g.op("Slice", x, g.ints(0), g.ints(INT64_MAX), g.ints(2), g.ints(2))
    s = g.op("Slice", s, g.ints(0, node=True), g.ints(INT64_MAX, node=True), g.ints(-1, node=True),
             g.ints(2, node=True))
    s = g.op("Pad", s, g.ints(0, 4, 0, 0, 0, 4, 0, 0), g.const(0.0), mode="constant")
    x = g.relu(g.op("Add", y, s))
    x = g.op("Slice", x, g.ints(1, 0), g.ints(13, 4), g.ints(1, 3))
    return [g.head(x, 12)]


def pad_attributes(g):
    x = g.op("Pad", "input", pads=[0, 0, 1, 2, 0, 0, 3, 0], mode="constant")
    x = g.relu(g.conv(x, 3, 6, pads=[0, 0, 0, 0]))
    x = g.op("Pad", x, pads=[0, 1, 0, 0, 0, 2, 1, 1], mode="constant", value=0.75)
    x = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return [g.head(x, 9)]


def pad_inputs(g):
    x = g.op("Pad", "input", g.ints(0, 0, 1, 1, 0, 0, 1, 1))
    x = g.relu(g.conv(x, 3, 6, pads=[0, 0, 0, 0], strides=[2, 2]))
    x = g.op("Pad", x, g.ints(0, 0, 0, 1, 0, 0, 1, 0, node=True), g.const(-0.5), mode="constant")
    x = g.op("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1])
    return [g.head(x, 6)]


# ------------------------------------------------------------------------------------------- arithmetic and constants


def arithmetic_broadcast(g):
    x = g.op("Div", g.op("Sub", "input", g.const([[[0.4]], [[0.3]], [[0.2]]])), g.const([[[[0.5]], [[0.6]], [[0.7]]]]))
    x = g.conv(x, 3, 6)
    x = g.op("Mul", g.op("Add", x, g.const(0.25)), g.const([1.5]))
    gate = g.op("Sigmoid", g.op("GlobalAveragePool", x))
    y = g.op("Mul", gate, x)  # the small operand first
    z = g.op("Sub", g.const(1.0), y)  # constant minus tensor
    w = g.op("Div", y, g.op("Add", g.op("Mul", z, z), g.const(1.0)))
    plane = g.op("Sigmoid", g.conv(w, 6, 1))  # [1, 1, H, W]
    x = g.op("Mul", g.op("Sub", w, z), plane)
    x = g.op("Add", x, g.const(g.rng.standard_normal((1, 6, 8, 8)) * 0.2))
    return [g.head(g.op("Mul", x, x), 6)]


def constants_identity_dropout(g):
    kernel = g.const(g.rng.standard_normal((6, 3, 3, 3)) * 0.25, node=True)
    x = g.op("Conv", g.op("Identity", "input"), kernel, g.op("Identity", g.vector(6)), pads=[1, 1, 1, 1])
    x = g.op("Dropout", g.op("Identity", g.relu(x)), g.const(0.5), g.const(False, np.bool_))
    x = g.conv(x, 6, 6, 1)
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    x = g.op("Dropout", x)
    return [g.op("Identity", g.op("Gemm", x, g.weight(6, 5), g.const(0.1, node=True)))]


def typed_data_and_old_dropout(g):
    g.typed_data = True
    x = g.relu(g.bn(g.conv("input", 3, 6), 6))
    x = g.op("Reshape", g.op("GlobalAveragePool", x), g.ints(0, -1))
    return [g.op("Gemm", g.op("Dropout", x, ratio=0.4), g.weight(5, 6), g.vector(5), transB=1)]


# ------------------------------------------------------------------------------------------------ pooling, reductions


def max_pool(g):
    x = g.conv("input", 3, 6)  # no ReLU: padding must count as minus infinity, not as zero
    x = g.op("MaxPool", g.op("Sub", x, g.const(3.0)), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = g.op("MaxPool", x, kernel_shape=[2, 3], strides=[1, 1], pads=[0, 1, 1, 1])
    x = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    x = g.op("MaxPool", x, kernel_shape=[2, 2], dilations=[1, 2], pads=[0, 1, 1, 1])
    return [g.head(x, 6)]


def average_pool(g):
    x = g.conv("input", 3, 6)
    a = g.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b = g.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    c = g.op("AveragePool", x, kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1], count_include_pad=0)
    d = g.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER")
    x = g.op("Concat", a, b, c, d, axis=1)
    x = g.op("AveragePool", g.conv(x, 24, 6, 1), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    return [g.head(x, 6)]


def reduce_mean_attributes(g):
    x = g.relu(g.conv("input", 3, 6))
    gate = g.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    x = g.op("Mul", x, g.op("Sigmoid", g.conv(gate, 6, 6, 1)))
    x = g.op("ReduceMean", x, axes=[-1, -2], keepdims=0)
    return [g.op("Gemm", x, g.weight(5, 6), g.vector(5), transB=1)]


def reduce_mean_inputs(g):
    x = g.relu(g.conv("input", 3, 6))
    gate = g.op("ReduceMean", x, g.ints(-2, -1))
    x = g.op("Mul", x, g.op("Sigmoid", g.conv(gate, 6, 6, 1)))
    x = g.op("ReduceMean", x, g.ints(2, 3), keepdims=0)
    return [g.op("Gemm", x, g.weight(5, 6), g.vector(5), transB=1)]


# -------------------------------------------------------------------------------------- matrix products, shape changes


def gemm_forms(g):
    x = g.relu(g.conv("input", 3, 4, strides=[2, 2]))
    x = g.op("Flatten", x)  # [1, 64], channel-major: C, then H, then W
    x = g.relu(g.op("Gemm", x, g.weight(12, 64), g.vector(12), transB=1))
    x = g.relu(g.op("Gemm", x, g.weight(12, 10, gain=12), g.const(g.rng.standard_normal((1, 10))), alpha=0.5, beta=2.0))
    x = g.op("Gemm", x, g.weight(10, 8), alpha=1.25)  # no C
    return [g.op("Gemm", x, g.weight(8, 5), g.const(0.5))]


def matmul_after_flatten(g):
    x = g.op("MaxPool", g.relu(g.conv("input", 3, 6)), kernel_shape=[2, 2], strides=[2, 2])
    x = g.op("Flatten", x, axis=1)
    x = g.relu(g.op("Add", g.op("MatMul", x, g.weight(96, 8, gain=12)), g.vector(8)))
    return [g.op("Add", g.vector(5), g.op("MatMul", x, g.weight(8, 5)))]


def shape_changes_opset11(g):
    x = g.relu(g.conv("input", 3, 6, strides=[2, 2]))
    x = g.op("Reshape", x, g.ints(1, 3, 2, 4, 4))
    x = g.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = g.op("Reshape", x, g.ints(0, 6, 4, -1))  # 0 keeps that dimension
    x = g.op("GlobalAveragePool", g.conv(x, 6, 8))
    x = g.op("Squeeze", x, axes=[2, 3])
    x = g.relu(g.op("Gemm", x, g.weight(6, 8), g.vector(6), transB=1))
    x = g.op("Unsqueeze", x, axes=[2, 3])
    return [g.op("Squeeze", g.conv(x, 6, 5, 1), axes=[-1, -2])]


def shape_changes_opset13(g):
    x = g.relu(g.conv("input", 3, 6, strides=[2, 2]))
    x = g.op("GlobalAveragePool", g.conv(x, 6, 8))
    x = g.op("Squeeze", x, g.ints(-2, -1))
    x = g.relu(g.op("Gemm", x, g.weight(6, 8), g.vector(6), transB=1))
    x = g.op("Unsqueeze", x, g.ints(2, 3, node=True))
    return [g.op("Reshape", g.conv(x, 6, 5, 1), g.ints(1, -1, node=True))]


def nhwc_input(g):
    """As converters from TensorFlow write it: NHWC outside, NCHW around the convolutions, a mean over both axes."""
    x = g.op("Transpose", "input", perm=[0, 3, 1, 2])
    x = g.relu(g.conv(x, 3, 6, auto_pad="SAME_UPPER", strides=[2, 2]))
    x = g.relu(g.conv(x, 6, 8))
    x = g.op("Transpose", x, perm=[0, 2, 3, 1])
    flat = g.op("Reshape", x, g.ints(1, -1))  # row-major with channels last
    x = g.op("ReduceMean", x, axes=[1, 2], keepdims=0)
    logits = g.op("Add", g.op("MatMul", x, g.weight(8, 5, gain=8)), g.vector(5))
    return [g.op("Softmax", g.op("Add", logits, g.op("MatMul", flat, g.weight(128, 5, gain=3))))]


def two_inputs_two_outputs(g):
    a = g.relu(g.conv("left", 3, 6))
    b = g.relu(g.conv("right", 2, 6, strides=[2, 2]))
    a = g.op("AveragePool", a, kernel_shape=[2, 2], strides=[2, 2])
    features = g.relu(g.op("Add", a, b))
    return [g.head(features, 6), features]


# ------------------------------------------------------------------------------------------------------ tiny networks


def tiny_mobilenet(g):
    def hard_swish_spelled_out(x):
        return g.op("Div", g.op("Mul", x, g.op("Clip", g.op("Add", x, g.const(3.0)), g.const(0.0), g.const(6.0))),
                    g.const(6.0))

    def squeeze_excite(x, c):
        s = g.relu(g.conv(g.op("GlobalAveragePool", x), c, 4, 1))
        return g.op("Mul", x, g.op("HardSigmoid", g.conv(s, 4, c, 1), alpha=1 / 6, beta=0.5))

    def unit(x, c_in, wide, c_out, stride, act, gated):
        y = act(g.bn(g.conv(x, c_in, wide, 1, bias=False), wide))
        y = act(g.bn(g.conv(y, wide, wide, 3, group=wide, strides=[stride, stride], bias=False), wide))
        if gated:
            y = squeeze_excite(y, wide)
        y = g.bn(g.conv(y, wide, c_out, 1, bias=False), c_out)
        return g.op("Add", x, y) if stride == 1 and c_in == c_out else y

    zero, six = g.const(0.0), g.const(6.0)
    relu6 = lambda x: g.op("Clip", x, zero, six)
    hard_swish = lambda x: g.op("HardSwish", x)
    x = hard_swish(g.bn(g.conv("input", 3, 8, strides=[2, 2], bias=False), 8))
    x = unit(x, 8, 16, 8, 1, relu6, False)
    x = unit(x, 8, 24, 12, 2, hard_swish, True)
    x = unit(x, 12, 24, 12, 1, hard_swish_spelled_out, True)
    x = hard_swish(g.bn(g.conv(x, 12, 32, 1, bias=False), 32))
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    x = hard_swish(g.op("Gemm", x, g.weight(24, 32), g.vector(24), transB=1))
    return [g.op("Gemm", x, g.weight(10, 24), g.vector(10), transB=1)]


def tiny_resnet(g):
    def unit(x, c_in, c_out, stride):
        y = g.relu(g.bn(g.conv(x, c_in, c_out, strides=[stride, stride], bias=False), c_out))
        y = g.bn(g.conv(y, c_out, c_out, bias=False), c_out)
        if stride != 1 or c_in != c_out:
            x = g.bn(g.conv(x, c_in, c_out, 1, strides=[stride, stride], bias=False), c_out)
        return g.relu(g.op("Add", y, x))

    x = g.relu(g.bn(g.conv("input", 3, 8, 7, strides=[2, 2], bias=False), 8))
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = unit(x, 8, 8, 1)
    x = unit(x, 8, 12, 2)
    x = unit(x, 12, 16, 2)
    return [g.head(x, 16, 10)]


def tiny_shufflenet(g):
    def shuffle(x, c, size):
        x = g.op("Reshape", x, g.ints(1, 2, c // 2, size, size))
        return g.op("Reshape", g.op("Transpose", x, perm=[0, 2, 1, 3, 4]), g.ints(1, -1, size, size))

    x = g.relu(g.conv("input", 3, 8))
    y = shuffle(g.relu(g.conv(x, 8, 16, 1, group=2)), 16, 16)  # first form: grouped convolutions, concat with a pool
    y = g.conv(g.bn(g.conv(y, 16, 16, group=16, strides=[2, 2], bias=False), 16), 16, 8, 1, group=2)
    pool = g.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.relu(g.op("Concat", pool, y, axis=1))
    for _ in range(2):  # second form: half of the channels bypass the unit
        keep, work = g.op("Split", x, outputs=2, axis=1)
        work = g.relu(g.conv(work, 8, 8, 1))
        work = g.relu(g.conv(g.conv(work, 8, 8, group=8), 8, 8, 1))
        x = shuffle(g.op("Concat", keep, work, axis=1), 16, 8)
    return [g.head(x, 16, 10)]


IMAGE = {"input": (1, 3, 8, 8)}
GRAPHS = [
    ("conv-groups-dilation-pads", 11, IMAGE, conv_groups_dilation_pads),
    ("conv-depthwise", 13, {"input": (1, 3, 16, 16)}, conv_depthwise),
    ("conv-auto-pad", 11, {"input": (1, 3, 9, 12)}, conv_auto_pad),
    ("batchnorm-in-odd-places", 15, IMAGE, batchnorm_in_odd_places),
    ("clip-attributes-ir3", 8, IMAGE, clip_attributes_ir3),
    ("clip-inputs", 11, IMAGE, clip_inputs),
    ("activations", 14, IMAGE, activations),
    ("smooth-activations", 20, IMAGE, smooth_activations),
    ("activations-spelled-out", 14, IMAGE, activations_spelled_out),
    ("softmax-opset11", 11, IMAGE, softmax_opset11),
    ("softmax-opset13", 13, IMAGE, softmax_opset13),
    ("concat-split-opset11", 11, IMAGE, concat_split_opset11),
    ("concat-split-opset13", 13, IMAGE, concat_split_opset13),
    ("dense-block-two-readers", 13, IMAGE, dense_block_two_readers),
    ("slice-attributes", 9, IMAGE, slice_attributes),
    ("slice-inputs-option-a", 11, IMAGE, slice_inputs_option_a),
    ("pad-attributes", 9, IMAGE, pad_attributes),
    ("pad-inputs", 13, IMAGE, pad_inputs),
    ("arithmetic-broadcast", 13, IMAGE, arithmetic_broadcast),
    ("constants-identity-dropout", 13, IMAGE, constants_identity_dropout),
    ("typed-data-and-old-dropout", 9, IMAGE, typed_data_and_old_dropout),
    ("max-pool", 11, {"input": (1, 3, 18, 22)}, max_pool),
    ("average-pool", 11, {"input": (1, 3, 10, 10)}, average_pool),
    ("reduce-mean-attributes", 13, IMAGE, reduce_mean_attributes),
    ("reduce-mean-inputs", 18, IMAGE, reduce_mean_inputs),
    ("gemm-forms", 13, IMAGE, gemm_forms),
    ("matmul-after-flatten", 13, IMAGE, matmul_after_flatten),
    ("shape-changes-opset11", 11, IMAGE, shape_changes_opset11),
    ("shape-changes-opset13", 13, IMAGE, shape_changes_opset13),
    ("nhwc-input", 13, {"input": (1, 8, 8, 3)}, nhwc_input),
    ("two-inputs-two-outputs", 13, {"left": (1, 3, 8, 8), "right": (1, 2, 8, 8)}, two_inputs_two_outputs),
    ("tiny-mobilenet", 14, {"input": (1, 3, 16, 16)}, tiny_mobilenet),
    ("tiny-resnet", 13, {"input": (1, 3, 32, 32)}, tiny_resnet),
    ("tiny-shufflenet", 13, {"input": (1, 3, 16, 16)}, tiny_shufflenet),
] + GENERAL_GRAPHS
