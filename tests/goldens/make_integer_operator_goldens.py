#!/usr/bin/env python3
"""Writes data/integers/operators*: TensorFlow Lite files of single operators and of small networks on int8 and uint8, and
the bytes that reference kernels compute with them.

    python3 -m venv lite && lite/bin/pip install tensorflow-cpu tflite-micro ai-edge-litert
    lite/bin/python tests/goldens/make_integer_operator_goldens.py
    lite/bin/python tests/goldens/make_integer_operator_goldens.py --sweep 100 [--bin build/release/bin]

With --sweep nothing is written: as many files of 40 operators each are made at random and converted, and every byte that
the engine computes with them is compared. Made with tensorflow-cpu 2.21.0, tflite_micro 0.dev20261023182759,
ai-edge-litert 2.3.0 and numpy 2.4.6. The tests need none of this software.

    operators.tflite    64 operators on int8, each with inputs of its own, scales and zero points at random
    mobilenet.tflite    the kind of MobileNetV3 on int8: HARD_SWISH, gates with MEAN and LOGISTIC, TANH, a Softmax
    unsigned.tflite     a network of uint8, with weights whose zero points are not 128

Beside each NAME.tflite, NAME.npy has the outputs, int8 or uint8, one row for every run: those of TensorFlow Lite Micro's
reference kernels (PyPI's tflite-micro), of uint8 those of LiteRT's reference kernels. Outputs of rank 4 are [N, C, H, W]
there; all outputs of a file follow each other. Byte i of input k in run r is (7 i + 31 k + 101 r) modulo 256 (plus i / 64
for mobilenet and unsigned), in the file's order.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from tflite_writer import TfliteWriter

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "data" / "integers"
F = np.float32
IMAGE = (1, 5, 6, 7)
ACTIVATIONS = 4  # NONE, RELU, RELU_N1_TO_1, RELU6


def generated(shape, k, run, dtype, drift=False):
    i = np.arange(int(np.prod(shape)))
    return ((7 * i + 31 * k + 101 * run + (i // 64 if drift else 0)) % 256).astype(np.uint8).view(dtype).reshape(shape)


class Operators:
    """Operators at random, each on inputs of its own."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.writer = TfliteWriter("make_integer_operator_goldens.py")
        self.inputs, self.outputs = [], []

    def scale(self, low, high, of=1.0):
        return F(of * np.exp(self.rng.uniform(low, high)))

    def zero(self):
        ends = [-128, 127, 0]
        return ends[self.rng.integers(3)] if self.rng.random() < 0.3 else int(self.rng.integers(-128, 128))

    def input(self, shape, scale, zero):
        self.inputs.append(self.writer.tensor(shape, "int8", scale, zero, name=f"in{len(self.inputs)}"))
        return self.inputs[-1]

    def output(self, shape, scale, zero):
        self.outputs.append(self.writer.tensor(shape, "int8", scale, zero, name=f"out{len(self.outputs)}"))
        return self.outputs[-1]

    def function(self, kind, options=None, **fields):
        """A function of one number, for all 256 of them."""
        shape, scale = (1, 16, 16, 1), self.scale(-6, 0)
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
        to = fixed.get(kind) or (self.scale(-2, 1, scale), self.zero())
        self.writer.op(kind, [self.input(shape, scale, self.zero())], [self.output(shape, *to)], options, **fields)

    def arithmetic(self, kind, form):
        """On two inputs, or on an input and a constant."""
        shape = (1, 16, 16, 1) if form == "number" else IMAGE
        scales = self.scale(-6, 0), self.scale(-6, 0)
        of = scales[0] * scales[1] * 100 if kind == "MUL" else max(scales)
        other_shape = {"two": IMAGE, "gate": (1, 1, 1, 7), "number": (1,), "channels": (7,), "image": IMAGE}[form]
        quantised = {"scale": scales[1], "zero": self.zero()}
        operands = [self.input(shape, scales[0], self.zero())]
        if form in ("two", "gate"):
            operands.append(self.input(other_shape, scales[1], quantised["zero"]))
        else:
            operands.append(self.writer.constant(self.rng.integers(-128, 128, other_shape), "int8", **quantised))
        if self.rng.random() < 0.4:
            operands.reverse()
        self.writer.op(kind, operands, [self.output(shape, self.scale(-1.5, 1, of), self.zero())],
                       kind.capitalize() + "Options", fusedActivationFunction=int(self.rng.integers(ACTIVATIONS)))

    def mean(self, axes, keep):
        shape = [1] + [int(d) for d in self.rng.integers(2, 9, 3)]
        positive = [a % 4 for a in axes]
        left = [1 if i in positive else d for i, d in enumerate(shape) if keep or i not in positive]
        scale = self.scale(-4, -1)
        self.writer.op("MEAN", [self.input(shape, scale, self.zero()), self.writer.constant(axes)],
                       [self.output(left, self.scale(-2, 0.5, scale), self.zero())], "ReducerOptions", keepDims=keep)

    def pad(self):
        scale, zero = self.scale(-4, -1), self.zero()
        value = self.writer.constant(self.rng.integers(-128, 128, (1,)), "int8", scale=scale, zero=zero)
        borders = self.writer.constant([[0, 0], [1, 0], [0, 2], [1, 1]])
        self.writer.op("PADV2", [self.input((1, 3, 4, 2), scale, zero), borders, value],
                       [self.output((1, 4, 6, 4), scale, zero)], "PadV2Options")

    def layer(self):
        """A fully connected layer whose weights have one scale."""
        n, m = int(self.rng.integers(1, 200)), int(self.rng.integers(1, 40))
        scale, of_weight = self.scale(-6, 0), self.scale(-6, -3)
        weight = self.writer.constant(self.rng.integers(-127, 128, (m, n)), "int8", scale=of_weight)
        bias = self.writer.constant(self.rng.integers(-5000, 5000, m), "int32", scale=F(scale * of_weight))
        to = self.scale(-1, 1, scale * of_weight * n ** 0.5 * 60)
        self.writer.op("FULLY_CONNECTED", [self.input((1, n), scale, self.zero()), weight, bias],
                       [self.output((1, m), to, self.zero())], "FullyConnectedOptions",
                       fusedActivationFunction=int(self.rng.integers(ACTIVATIONS)))

    def add(self, number):
        """One of the kinds, in turn."""
        axes = [[1, 2], [1, 2], [1], [2], [3], [1, 2, 3], [2, 3], [1, 3], [-1], [-2, -3]]
        forms = ["two", "gate", "number", "channels", "image"]
        kinds = [
            lambda: self.function("LOGISTIC"),
            lambda: self.function("TANH"),
            lambda: self.function("HARD_SWISH", "HardSwishOptions"),
            lambda: self.function("LEAKY_RELU", "LeakyReluOptions", alpha=float(self.rng.uniform(-0.3, 1.2))),
            lambda: self.function(["ELU", "RELU", "QUANTIZE"][self.rng.integers(3)]),
            lambda: self.arithmetic("ADD", forms[number // 12 % 5]),
            lambda: self.mean(axes[number // 12 % 10], bool(self.rng.integers(2))),
            lambda: self.arithmetic("SUB", forms[number // 12 % 5]),
            lambda: self.mean(axes[(number // 12 + 5) % 10], bool(self.rng.integers(2))),
            lambda: self.arithmetic("MUL", forms[number // 12 % 5]),
            self.layer,
            self.pad,
        ]
        kinds[number % len(kinds)]()

    def finish(self):
        return self.writer.finish(self.inputs, self.outputs)


def operators(seed, count):
    made = Operators(seed)
    for number in range(count):
        made.add(number)
    return made


def mobilenet():
    """Two blocks of MobileNetV3 with weights from a fixed seed, quantised by TensorFlow."""
    import tensorflow as tf
    keras = tf.keras
    keras.utils.set_random_seed(5)
    layers = keras.layers

    def gate(x, reduced, last):
        f = layers.GlobalAveragePooling2D(keepdims=True)(x)
        f = layers.Conv2D(reduced, 1, activation="relu")(f)
        return layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation=last)(f)])

    def swish(x):
        return layers.Activation("hard_silu")(layers.BatchNormalization()(x))

    image = layers.Input((24, 24, 3), batch_size=1)
    x = swish(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image))
    for last in ("sigmoid", "hard_sigmoid"):
        y = swish(layers.Conv2D(16, 1, use_bias=False)(x))
        y = swish(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
        y = gate(y, 4, last)
        x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))])
    x = layers.Activation("tanh")(layers.Conv2D(12, 3, strides=2, padding="same")(x))
    x = layers.LeakyReLU(0.1)(layers.Conv2D(16, 1)(x))
    scores = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(image, scores)
    random = np.random.default_rng(6)
    for weight in network.weights:
        value = np.array(weight)
        if value.ndim == 1:
            weight.assign(value + 0.3 * random.random(value.shape).astype(F))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([2 * random.standard_normal((1, 24, 24, 3)).astype(F)] for _ in range(40))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def unsigned():
    """A network of uint8 as TensorFlow 1 made them: one scale for all weights of a layer, any zero point."""
    rng = np.random.default_rng(7)
    w = TfliteWriter("make_integer_operator_goldens.py")

    def value(shape, scale, zero, name=None):
        return w.tensor(shape, "uint8", F(scale), zero, name=name)

    def weights(shape, scale, zero, low=0, high=256):
        return w.constant(rng.integers(low, high, shape), "uint8", scale=F(scale), zero=zero)

    def bias(count, scale):
        return w.constant(rng.integers(-2000, 2000, count), "int32", scale=F(scale))

    window = dict(padding=0, strideH=1, strideW=1)
    x = value((1, 12, 12, 3), 1 / 127.5, 128, "pixels")
    stem = value((1, 12, 12, 8), 0.02, 0)
    w.op("CONV_2D", [x, weights((8, 3, 3, 3), 0.006, 119), bias(8, 0.006 / 127.5)], [stem], "Conv2DOptions",
         fusedActivationFunction=3, **window)
    depthwise = value((1, 12, 12, 8), 0.03, 121)
    w.op("DEPTHWISE_CONV_2D", [stem, weights((1, 3, 3, 8), 0.008, 140, 12, 256), bias(8, 0.00016)], [depthwise],
         "DepthwiseConv2DOptions", depthMultiplier=1, **window)
    point = value((1, 12, 12, 8), 0.05, 133)
    w.op("CONV_2D", [depthwise, weights((8, 1, 1, 8), 0.012, 131), bias(8, 0.00036)], [point], "Conv2DOptions", **window)
    total = value((1, 12, 12, 8), 0.05, 100)
    w.op("ADD", [stem, point], [total], "AddOptions", fusedActivationFunction=1)
    pooled = value((1, 6, 6, 8), 0.05, 100)
    w.op("AVERAGE_POOL_2D", [total], [pooled], "Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2,
         filterWidth=2)
    other = value((1, 6, 6, 8), 0.05, 100)
    w.op("MAX_POOL_2D", [total], [other], "Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    both = value((1, 6, 6, 16), 0.05, 100, "both")
    w.op("CONCATENATION", [pooled, other], [both], "ConcatenationOptions", axis=3)
    scores = value((1, 10), 0.1, 90)
    w.op("FULLY_CONNECTED", [both, weights((10, 576), 0.004, 125), bias(10, 0.0002)], [scores], "FullyConnectedOptions")
    probabilities = value((1, 10), 1 / 256, 0, "probabilities")
    w.op("SOFTMAX", [scores], [probabilities], "SoftmaxOptions", beta=1.0)
    return w.finish([x], [probabilities, both])


def micro(content, run, drift):
    from tflite_micro.python.tflite_micro import runtime
    interpreter = runtime.Interpreter.from_bytes(content)
    shapes, outputs = ports(content)
    for k, shape in enumerate(shapes):
        interpreter.set_input(generated(shape, k, run, np.int8, drift), k)
    interpreter.invoke()
    return [interpreter.get_output(k) for k in range(outputs)]


def reference(content, run, drift):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for k, entry in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(entry["index"], generated(entry["shape"], k, run, np.uint8, drift))
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]


def ports(content):
    """The shapes of the inputs, and how many outputs there are."""
    from ai_edge_litert import schema_py_generated as schema
    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    return ([tuple(graph.Tensors(graph.Inputs(k)).ShapeAsNumpy()) for k in range(graph.InputsLength())],
            graph.OutputsLength())


def in_order(array):
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def write(name, content, runs, kernels, drift):
    (OUT / f"{name}.tflite").write_bytes(content)
    rows = [np.concatenate([in_order(y).ravel() for y in kernels(content, run, drift)]) for run in range(runs)]
    np.save(OUT / f"{name}.npy", np.array(rows))
    print(f"{name}.tflite: {len(content):,} bytes, {runs} runs of {len(rows[0]):,} bytes")


def engine(content, folder, programs):
    path, network = folder / "net.tflite", folder / "net.snet"
    path.write_bytes(content)
    subprocess.run([programs / "sparsenet-convert", path, "-o", network], check=True, stdout=subprocess.DEVNULL)
    shapes, outputs = ports(content)
    arguments = [programs / "sparsenet", "run", network]
    for k, shape in enumerate(shapes):
        np.save(folder / f"in{k}.npy", np.ascontiguousarray(in_order(generated(shape, k, 0, np.int8))))
        arguments += ["--input", f"in{k}={folder}/in{k}.npy"]
    for k in range(outputs):
        arguments += ["--output", f"out{k}={folder}/out{k}.npy"]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    return [np.load(folder / f"out{k}.npy") for k in range(outputs)]


def sweep(count, programs):
    compared = different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for seed in range(count):
            content = operators(1000 + seed, 40).finish()
            for expected, found in zip(micro(content, 0, False), engine(content, folder, programs)):
                compared += expected.size
                different += int((in_order(expected) != found).sum())
    print(f"{compared:,} bytes, {different} different")
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", type=int, default=0)
    parser.add_argument("--bin", type=pathlib.Path, default=HERE.parents[1] / "build" / "release" / "bin")
    arguments = parser.parse_args()
    if arguments.sweep:
        sys.exit(1 if sweep(arguments.sweep, arguments.bin) else 0)
    write("operators", operators(1, 64).finish(), 1, micro, False)
    write("mobilenet", mobilenet(), 24, micro, True)
    write("unsigned", unsigned(), 8, reference, True)


if __name__ == "__main__":
    main()
