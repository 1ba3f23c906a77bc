"""Makes the small TensorFlow Lite networks that converter_tflite_test reads, with LiteRT's results for them.

    python make_tflite_goldens.py [--resnet8 pretrainedResnet.tflite]

Needs numpy, ai-edge-litert and flatc. Files are written through flatc from JSON, straight from the schema the converter
uses, so that each operator's options are spelled out here. The same versions give the same bytes.
"""

import argparse
import json
import os
import subprocess
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "../../../converter/schemas/tflite.fbs")
TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32"}


class Maker:
    def __init__(self, name, shape, seed):
        self.name, self.rng = name, np.random.default_rng(seed)
        self.tensors, self.buffers, self.operators, self.codes = [], [{}], [], []
        self.input = self.tensor("input", shape)

    def tensor(self, name, shape, dtype="float32", buffer=0):
        self.tensors.append({"name": name, "shape": list(shape), "type": TYPES[dtype], "buffer": buffer})
        return len(self.tensors) - 1

    def const(self, array, dtype="float32"):
        array = np.asarray(array, dtype)
        self.buffers.append({"data": list(array.tobytes())})
        return self.tensor(f"const{len(self.tensors)}", array.shape, dtype, len(self.buffers) - 1)

    def random(self, *shape, scale=0.5):
        return self.const(self.rng.standard_normal(shape) * scale)

    def shape(self, t):
        return self.tensors[t]["shape"]

    def op(self, kind, inputs, out_shapes, options_type=None, dtype="float32", code=None, **options):
        if kind not in [c["name"] for c in self.codes]:
            self.codes.append({"name": kind})
        outputs = [self.tensor(f"{kind.lower()}{len(self.tensors)}", s, dtype) for s in out_shapes]
        entry = {"opcode_index": [c["name"] for c in self.codes].index(kind), "inputs": inputs, "outputs": outputs}
        if options_type:
            entry["builtin_options_type"] = options_type
            entry["builtin_options"] = options
        self.operators.append(entry)
        return outputs[0] if len(outputs) == 1 else outputs

    @staticmethod
    def out(size, kernel, stride, padding, dilation=1):
        reach = (kernel - 1) * dilation + 1
        return -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1

    def conv(self, x, channels, kernel=3, stride=1, padding="SAME", act="NONE", dilation=1, groups=1):
        n, h, w, c = self.shape(x)
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        weight, bias = self.random(channels, kh, kw, c // groups), self.random(channels)
        return self.op("CONV_2D", [x, weight, bias],
                       [[n, self.out(h, kh, stride, padding, dilation), self.out(w, kw, stride, padding, dilation), channels]],
                       "Conv2DOptions", padding=padding, stride_w=stride, stride_h=stride, fused_activation_function=act,
                       dilation_w_factor=dilation, dilation_h_factor=dilation)

    def depthwise(self, x, multiplier, stride=1, padding="SAME", act="NONE"):
        n, h, w, c = self.shape(x)
        return self.op("DEPTHWISE_CONV_2D", [x, self.random(1, 3, 3, c * multiplier), self.random(c * multiplier)],
                       [[n, self.out(h, 3, stride, padding), self.out(w, 3, stride, padding), c * multiplier]],
                       "DepthwiseConv2DOptions", padding=padding, stride_w=stride, stride_h=stride, depth_multiplier=multiplier,
                       fused_activation_function=act)

    def pool(self, kind, x, kernel, stride, padding, act="NONE"):
        n, h, w, c = self.shape(x)
        return self.op(kind, [x], [[n, self.out(h, kernel[0], stride, padding), self.out(w, kernel[1], stride, padding), c]],
                       "Pool2DOptions", padding=padding, stride_w=stride, stride_h=stride, filter_height=kernel[0],
                       filter_width=kernel[1], fused_activation_function=act)

    def dense(self, x, outputs, act="NONE", bias=True, keep=False):
        count = int(np.prod(self.shape(x)[1:]))
        inputs = [x, self.random(outputs, count, scale=0.2), self.random(outputs) if bias else -1]
        return self.op("FULLY_CONNECTED", inputs, [[self.shape(x)[0], outputs]], "FullyConnectedOptions",
                       fused_activation_function=act, keep_num_dims=keep)

    def reshape(self, x, shape, kind="RESHAPE"):
        return self.op(kind, [x, self.const(shape, "int32")], [shape], "ReshapeOptions", new_shape=list(shape))

    def unary(self, kind, x, options_type=None, **options):
        return self.op(kind, [x], [self.shape(x)], options_type, **options)

    def binary(self, kind, a, b, act="NONE"):
        shape = list(np.broadcast_shapes(self.shape(a), self.shape(b)))
        return self.op(kind, [a, b], [shape], kind.capitalize() + "Options", fused_activation_function=act)

    def mean(self, x, axes, keep):
        shape = [1 if i in axes else s for i, s in enumerate(self.shape(x)) if keep or i not in axes]
        return self.op("MEAN", [x, self.const(axes, "int32")], [shape], "ReducerOptions", keep_dims=keep)

    def concat(self, parts, axis):
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(p)[axis] for p in parts)
        return self.op("CONCATENATION", parts, [shape], "ConcatenationOptions", axis=axis, fused_activation_function="NONE")

    def transpose(self, x, perm):
        return self.op("TRANSPOSE", [x, self.const(perm, "int32")], [[self.shape(x)[p] for p in perm]], "TransposeOptions")

    def softmax(self, x, beta=1.0):
        return self.unary("SOFTMAX", x, "SoftmaxOptions", beta=beta)

    def write(self, outputs):
        model = {
            "version": 3,
            "operator_codes": [self.code(c["name"]) for c in self.codes],
            "subgraphs": [{"tensors": self.tensors, "inputs": [self.input], "outputs": outputs, "operators": self.operators}],
            "description": "make_tflite_goldens.py",
            "buffers": self.buffers,
        }
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, self.name + ".json")
            with open(path, "w") as file:
                json.dump(model, file)
            subprocess.run(["flatc", "--binary", "-o", folder, SCHEMA, path], check=True)
            os.replace(os.path.join(folder, self.name + ".tflite"), os.path.join(HERE, self.name + ".tflite"))
        run(self.name, os.path.join(HERE, self.name + ".tflite"), self.rng.standard_normal(self.shape(self.input)))

    def code(self, name):
        with open(SCHEMA) as file:
            text = file.read().split("enum BuiltinOperator")[1].split("}")[0]
        number = int(text.split(f" {name} = ")[1].split(",")[0].split()[0])
        return {"builtin_code": name, "deprecated_builtin_code": min(number, 127), "version": 1}


def run(name, path, values):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # The plain kernels: optimised ones regroup sums. They lack ELU.
    plain = OpResolverType.BUILTIN_REF if name != "smooth_activations" else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=path, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    values = values.astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    channels_first = lambda a: np.ascontiguousarray(a.transpose(0, 3, 1, 2)) if a.ndim == 4 else a
    np.save(os.path.join(HERE, name + ".input.npy"), channels_first(values))
    for i, output in enumerate(interpreter.get_output_details()):
        np.save(os.path.join(HERE, f"{name}.out{i}.npy"), channels_first(interpreter.get_tensor(output["index"])))


def convolutions(m):
    x = m.conv(m.input, 6, stride=2, act="RELU")
    x = m.conv(x, 8, (3, 2), act="RELU6")
    x = m.depthwise(x, 2, stride=2, act="RELU_N1_TO_1")
    x = m.conv(x, 8, 3, groups=4)
    x = m.conv(x, 6, 3, dilation=2)
    x = m.conv(x, 5, 2, padding="VALID")
    return [m.softmax(m.mean(x, [1, 2], False))]


def flatten_orders(m):
    x = m.conv(m.input, 4, stride=2)
    a = m.dense(m.reshape(x, [1, int(np.prod(m.shape(x)))]), 7, act="RELU")  # flatten, then a layer
    b = m.dense(x, 7)  # the layer flattens
    flat = m.unary("RELU", m.reshape(x, [1, int(np.prod(m.shape(x)))]))  # elementwise on the flattened image
    c = m.dense(flat, 7, bias=False)
    d = m.dense(m.binary("MUL", flat, m.random(m.shape(flat)[1])), 7)  # order matters: a constant an element
    return [m.softmax(m.binary("ADD", m.binary("ADD", a, b), m.binary("ADD", c, d)), 0.5)]


def pools_and_means(m):
    x = m.conv(m.input, 6)
    a = m.pool("AVERAGE_POOL_2D", x, (3, 3), 2, "SAME")
    b = m.pool("MAX_POOL_2D", x, (3, 2), 2, "SAME", "RELU")
    c = m.pool("AVERAGE_POOL_2D", x, (2, 2), 2, "VALID")
    x = m.binary("ADD", a, b)
    gate = m.unary("LOGISTIC", m.conv(m.mean(x, [1, 2], True), 6, 1))
    x = m.binary("MUL", x, gate)
    columns = m.mean(x, [1], False)  # [1, W, C]
    deep = m.mean(x, [3], False)  # [1, H, W]
    y = m.concat([m.dense(columns, 5), m.dense(deep, 5), m.dense(c, 5)], 1)
    return [y, m.softmax(x)]


def elementwise(m):
    x = m.conv(m.input, 6)
    x = m.binary("SUB", x, m.random(6))
    x = m.binary("DIV", x, m.const(np.abs(m.rng.standard_normal((1, 1, 1, 6))) + 0.5))
    x = m.binary("ADD", m.const(0.25), x, act="RELU6")
    x = m.binary("MUL", x, m.random(1, *m.shape(x)[1:3], 1))
    parts = [
        m.unary("LEAKY_RELU", x, "LeakyReluOptions", alpha=0.2),
        m.unary("HARD_SWISH", x, "HardSwishOptions"),
        m.unary("TANH", x),
        m.op("PRELU", [m.conv(x, 6), m.const(np.full((1, 1, 6), 0.1))], [m.shape(x)]),
        m.unary("RELU6", m.conv(x, 6)),
    ]
    return [m.concat(parts, 3), m.mean(m.concat(parts, -2), [1, 2], False)]


def smooth_activations(m):
    x = m.conv(m.input, 6)
    parts = [
        m.unary("ELU", x),
        m.unary("GELU", x, "GeluOptions", approximate=False),
        m.unary("GELU", m.conv(x, 6), "GeluOptions", approximate=True),
    ]
    y = m.conv(x, 6)
    silu = m.binary("MUL", y, m.unary("LOGISTIC", y))
    return [m.concat([*parts, silu], 3), m.mean(m.conv(silu, 4), [1, 2], False)]


def data_movement(m):
    x = m.conv(m.input, 6)
    a, b = m.op("SPLIT", [m.const(3, "int32"), x], [[1, *m.shape(x)[1:3], 3]] * 2, "SplitOptions", num_splits=2)
    h, w = m.shape(x)[1:3]
    top, rest = m.op("SPLIT_V", [a, m.const([2, h - 2], "int32"), m.const(1, "int32")], [[1, 2, w, 3], [1, h - 2, w, 3]],
                     "SplitVOptions", num_splits=2)
    a = m.concat([rest, top], 1)
    x = m.concat([b, a], 3)
    x = m.op("PAD", [x, m.const([[0, 0], [1, 2], [0, 1], [1, 0]], "int32")], [[1, h + 3, w + 1, 7]], "PadOptions")
    x = m.op("STRIDED_SLICE", [x, m.const([0, 1, 0, 0], "int32"), m.const([0, -1, 0, 6], "int32"), m.const([1, 2, 1, 1], "int32")],
             [[1, (h + 2) // 2, w + 1, 6]], "StridedSliceOptions", begin_mask=1, end_mask=5)
    x = m.op("SLICE", [x, m.const([0, 0, 1, 2], "int32"), m.const([1, -1, w - 1, 4], "int32")], [[1, m.shape(x)[1], w - 1, 4]],
             "SliceOptions")
    y = m.transpose(x, [0, 2, 3, 1])  # a mean over what were the channels
    n, d1, d2, d3 = m.shape(y)
    z = m.reshape(y, [1, d1 * d2, d3])
    z = m.transpose(z, [0, 2, 1])
    z = m.reshape(z, [1, d3, d2, d1])
    s = m.op("SQUEEZE", [m.pool("AVERAGE_POOL_2D", x, m.shape(x)[1:3], 1, "VALID")], [[1, 4]], "SqueezeOptions", squeeze_dims=[1, 2])
    return [m.conv(z, 3, 1), m.dense(s, 3)]


def half_weights_and_shape_chain(m):
    half = m.const(m.rng.standard_normal((4, 3, 3, 3)) * 0.5, "float16")
    full = m.op("DEQUANTIZE", [half], [[4, 3, 3, 3]], "DequantizeOptions")
    n, h, w, _ = m.shape(m.input)
    x = m.op("CONV_2D", [m.input, full, m.random(4)], [[n, h, w, 4]], "Conv2DOptions", padding="SAME", stride_w=1, stride_h=1,
             fused_activation_function="RELU")
    shape = m.op("SHAPE", [x], [[4]], "ShapeOptions", dtype="int32", out_type="INT32")
    batch = m.op("STRIDED_SLICE", [shape, m.const([0], "int32"), m.const([1], "int32"), m.const([1], "int32")], [[]],
                 "StridedSliceOptions", dtype="int32", shrink_axis_mask=1)
    target = m.op("PACK", [batch, m.const(h * w * 4, "int32")], [[2]], "PackOptions", dtype="int32", values_count=2)
    flat = m.op("RESHAPE", [x, target], [[1, h * w * 4]], "ReshapeOptions")
    return [m.dense(flat, 5)]


NETWORKS = {
    "convolutions": ((1, 13, 16, 3), convolutions),
    "flatten_orders": ((1, 6, 8, 3), flatten_orders),
    "pools_and_means": ((1, 7, 9, 3), pools_and_means),
    "elementwise": ((1, 5, 6, 3), elementwise),
    "data_movement": ((1, 6, 7, 3), data_movement),
    "half_weights_and_shape_chain": ((1, 5, 4, 3), half_weights_and_shape_chain),
    "smooth_activations": ((1, 5, 6, 3), smooth_activations),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--resnet8")
    arguments = parser.parse_args()
    for seed, (name, (shape, build)) in enumerate(NETWORKS.items()):
        maker = Maker(name, shape, seed)
        maker.write(build(maker))
    if arguments.resnet8:
        run("resnet8", arguments.resnet8, np.random.default_rng(99).integers(0, 256, (1, 32, 32, 3)))


if __name__ == "__main__":
    main()
