"""Writes TensorFlow Lite files operator by operator, with the schema that PyPI's ai-edge-litert contains."""
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
}


class TfliteWriter:
    """A network: tensors are numbers, in the order of the calls."""

    def __init__(self, description):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = description
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model.subgraphs = [self.graph]
        self.codes = {}

    def tensor(self, shape, dtype="int8", scale=None, zero=0, data=None, axis=0, name=None):
        """A value, or a constant where there are `data`. `scale` and `zero` are numbers or lists, one for each index
        of `axis`."""
        t = schema.TensorT()
        t.shape = [int(d) for d in shape]
        t.type = TYPES[dtype]
        t.name = name or f"t{len(self.graph.tensors)}"
        t.buffer = 0
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(scale)]
            q.zeroPoint = [int(z) for z in np.atleast_1d(zero)]
            if len(q.zeroPoint) < len(q.scale):
                q.zeroPoint *= len(q.scale)
            q.quantizedDimension = axis
            t.quantization = q
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).astype(dtype).tobytes(), np.uint8)
            t.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def constant(self, array, dtype="int32", **quantization):
        array = np.asarray(array)
        return self.tensor(array.shape, dtype, data=array, **quantization)

    def shape(self, tensor):
        return list(self.graph.tensors[tensor].shape)

    def op(self, code, inputs, outputs, options=None, **fields):
        """`code` as in the schema ("HARD_SWISH"), `options` the name of its table, `fields` their names there."""
        number = getattr(schema.BuiltinOperator, code)
        if number not in self.codes:
            self.codes[number] = len(self.codes)
            entry = schema.OperatorCodeT()
            entry.builtinCode = number
            entry.deprecatedBuiltinCode = min(number, 127)
            entry.version = 1
            self.model.operatorCodes.append(entry)
        o = schema.OperatorT()
        o.opcodeIndex = self.codes[number]
        o.inputs, o.outputs = list(inputs), list(outputs)
        if options:
            o.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            o.builtinOptions = getattr(schema, options + "T")()
            for key, value in fields.items():
                assert hasattr(o.builtinOptions, key), (options, key)
                setattr(o.builtinOptions, key, value)
        self.graph.operators.append(o)

    def finish(self, inputs, outputs):
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
