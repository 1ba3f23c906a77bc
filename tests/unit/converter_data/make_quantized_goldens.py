"""Makes quantized_*.onnx: one small network that quantize_static of ONNX Runtime has quantised in several forms, and
what ONNX Runtime computes with each, without optimisations: float operators between QuantizeLinear and DequantizeLinear,
or its own operators on integers.

    python make_quantized_goldens.py        (needs numpy, onnx and onnxruntime)
"""

import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(11)
nodes, constants = [], []


def const(array, dtype=np.float32):
    name = f"c{len(constants)}"
    constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
    return name


def random(*shape, scale=0.4):
    return const(rng.standard_normal(shape) * scale)


def op(kind, *inputs, **attributes):
    name = f"{kind}{len(nodes)}"
    nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(nodes)}", **attributes))
    return name


def network():
    x = op("Relu", op("Conv", "input", random(8, 3, 3, 3), random(8), pads=[1, 1, 1, 1], strides=[2, 2]))
    depthwise = op("Clip", op("Conv", x, random(8, 1, 3, 3), random(8), pads=[1, 1, 1, 1], group=8), const(0), const(6))
    x = op("Relu", op("Add", op("Conv", depthwise, random(8, 8, 1, 1), random(8)), x))
    gate = op("Sigmoid", op("Conv", op("GlobalAveragePool", x), random(8, 8, 1, 1), random(8)))
    x = op("Concat", op("Mul", x, gate), op("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), axis=1)
    x = op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = op("LeakyRelu", op("Conv", x, random(6, 16, 3, 3, scale=0.15), random(6)), alpha=0.1)
    x = op("Flatten", x)
    x = op("Gemm", x, random(6 * 2 * 2, 5), random(5))
    nodes[-1].output[0] = "output"
    shape = ["N", 3, 16, 16]
    graph = helper.make_graph(nodes, "quantized", [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 5])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Images:
    def __init__(self):
        self.left = [rng.standard_normal((8, 3, 16, 16)).astype(np.float32) for _ in range(4)]

    def get_next(self):
        return {"input": self.left.pop()} if self.left else None


def main():
    images = rng.standard_normal((4, 3, 16, 16)).astype(np.float16).astype(np.float32)
    np.save(os.path.join(HERE, "quantized.input.npy"), images)
    types = {"uint8": quantization.QuantType.QUInt8, "int8": quantization.QuantType.QInt8}
    forms = {"qdq": quantization.QuantFormat.QDQ, "qoperator": quantization.QuantFormat.QOperator}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "net.onnx")
        onnx.save(network(), source)
        for name, form, kind, per_channel in (("qdq_uint8", "qdq", "uint8", True), ("qdq_int8", "qdq", "int8", False),
                                              ("qoperator_uint8", "qoperator", "uint8", True),
                                              ("qoperator_int8", "qoperator", "int8", False)):
            target = os.path.join(HERE, f"quantized_{name}.onnx")
            quantization.quantize_static(source, target, Images(), quant_format=forms[form], per_channel=per_channel,
                                         activation_type=types[kind], weight_type=quantization.QuantType.QInt8)
            session = onnxruntime.InferenceSession(target, options, providers=["CPUExecutionProvider"])
            np.save(os.path.join(HERE, f"quantized_{name}.out0.npy"), session.run(None, {"input": images})[0])


if __name__ == "__main__":
    main()
