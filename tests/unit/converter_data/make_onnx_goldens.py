"""Makes exporter_habits.onnx: constant chains and odd forms that exporters write, with a dynamic batch, and the results
of ONNX Runtime for it, without optimisations. Complements tests/goldens, where each operator has its own graph.

    python make_onnx_goldens.py        (needs numpy, onnx and onnxruntime)
"""

import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(7)
nodes, constants = [], []


def const(array, dtype=np.float32):
    name = f"c{len(constants)}"
    constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
    return name


def ints(*values):
    return const(values, np.int64)


def random(*shape, scale=0.5):
    return const(rng.standard_normal(shape) * scale)


def op(kind, *inputs, outputs=1, **attributes):
    names = [f"{kind}{len(nodes)}_{i}" for i in range(outputs)]
    nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{len(nodes)}", **attributes))
    return names[0] if outputs == 1 else names


# x.view(x.size(0), -1) as PyTorch writes it, with the sizes computed from the input.
x = op("Conv", "input", op("Transpose", random(3, 3, 3, 6), perm=[3, 2, 0, 1]), random(6), pads=[1, 1, 1, 1])
x = op("PRelu", x, const(np.full((6, 1, 1), 0.2)))
batch = op("Gather", op("Shape", x), const(0, np.int64), axis=0)
target = op("Concat", op("Unsqueeze", batch, ints(0)), ints(-1), axis=0)
flat = op("Reshape", x, target)
a = op("Gemm", flat, random(5, 6 * 7 * 8, scale=0.1), random(1, 5), transB=1, alpha=0.5, beta=2.0)
a = op("BatchNormalization", a, const(np.abs(rng.standard_normal(5)) + 0.5), random(5), random(5), const(np.abs(rng.standard_normal(5)) + 0.5))

# x[:, :, :n - 1] with n computed: Shape, Slice, Sub, Div, Cast.
height = op("Slice", op("Shape", x), ints(2), ints(3))
end = op("Cast", op("Cast", op("Sub", height, ints(1)), to=TensorProto.FLOAT), to=TensorProto.INT64)
b = op("Slice", x, ints(0), end, ints(2))
b = op("Sum", op("GlobalMaxPool", b), op("GlobalAveragePool", b), op("ReduceMean", b, axes=[2, 3]))
b = op("Flatten", op("Mul", b, op("Sqrt", const([[[4.0]]]))))
b = op("MatMul", b, op("Mul", random(6, 5), const(0.5)))
b = op("Add", random(5), b)

# Batch normalisation spelled out in constants, a scalar spread by ConstantOfShape, an unused branch.
c = op("Mul", op("Sub", x, random(1, 6, 1, 1)), op("Reciprocal", op("Sqrt", op("Add", const(np.full((6, 1, 1), 0.9)), const(1e-5)))))
c = op("Add", c, op("ConstantOfShape", ints(1), value=numpy_helper.from_array(np.array([0.25], np.float32))))
op("Sigmoid", c)
c = op("Clip", c, "", "")
c = op("ReduceMean", op("LeakyRelu", op("Clip", c, const(0.0), "")), axes=[-1], keepdims=0)
c = op("Flatten", op("ReduceMean", c, axes=[1], keepdims=1))
c = op("Gemm", c, random(7, 5))
logits = op("Identity", op("Add", op("Add", a, b), c))

graph = helper.make_graph(
    nodes, "exporter_habits", [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 7, 8])],
    [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["batch", 5])], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="make_onnx_goldens.py")
onnx.checker.check_model(model)
values = rng.standard_normal((2, 3, 7, 8)).astype(np.float32)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
result = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"input": values})[0]
with open(os.path.join(HERE, "exporter_habits.onnx"), "wb") as file:
    file.write(model.SerializeToString())
np.save(os.path.join(HERE, "exporter_habits.input.npy"), values)
np.save(os.path.join(HERE, "exporter_habits.out0.npy"), result.astype(np.float32))
