"""Networks straight from the objects of PyTorch and Keras."""

from __future__ import annotations

import inspect
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from ._convert import convert
from ._errors import Error

if TYPE_CHECKING:
    from ._model import Model


def from_torch(module: Any, example: Any, *, tolerance: float = 1e-4, **options: Any) -> Model:
    """Converts a module of PyTorch: exports it through torch.onnx and imports that.

    The model's outputs for the example are compared with those of the module itself, and kept in the model as a test
    vector, so that ``verify()`` can repeat the comparison on a device.

    Args:
        module: a torch.nn.Module; it is exported in evaluation mode and left in the mode in which it was.
        example: an input tensor, or a tuple of them, with a batch of 1.
        tolerance: the largest difference, relative to the largest number of an output.
        options: arguments of :func:`convert`: labels, mean, std, output, ...

    Raises:
        ConversionError: the module has an operator that the engine lacks, or the outputs differ.
    """
    import torch

    inputs = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            expected = module(*inputs)
        results = list(expected) if isinstance(expected, (tuple, list)) else [expected]
        if not all(isinstance(tensor, torch.Tensor) for tensor in results):
            raise Error(f"{type(module).__name__}: expected a module that returns a tensor or a tuple of tensors")
        names = [f"input{i}" if i else "input" for i in range(len(inputs))]
        ends = [f"output{i}" if i else "output" for i in range(len(results))]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"{type(module).__name__}.onnx")
            _export(torch, module, inputs, path, names, ends)
            files = []
            for kind, tensors in (("in", inputs), ("out", results)):
                for index, tensor in enumerate(tensors):
                    files.append(os.path.join(folder, f"{kind}{index}.npy"))
                    np.save(files[-1], tensor.detach().cpu().numpy())
            options.setdefault("name", type(module).__name__)
            model = convert(path, check=[",".join(files)], tolerance=tolerance, **options)
    finally:
        for part, mode in modes:
            part.training = mode
    return model


def _export(torch: Any, module: Any, inputs: tuple[Any, ...], path: str, names: list[str], ends: list[str]) -> None:
    options: dict[str, Any] = {"input_names": names, "output_names": ends}
    # Newer versions export through torch.export by default, for which they need the package onnxscript.
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    try:
        torch.onnx.export(module, inputs, path, **options)
    except Exception as error:
        # The exporter's own message, which names the operator; its class differs from version to version.
        raise Error(f"torch.onnx cannot export {type(module).__name__}: {error}", "unsupported") from error


def from_keras(model: Any, *, arch: str = "", tolerance: float = 1e-4, **options: Any) -> Model:
    """Converts a model of Keras.

    Without ``arch`` the whole network is taken: with TensorFlow through a .tflite file, with other backends of Keras 3
    through ONNX, which ``model.export`` writes. With ``arch`` only its weights are, and go into that network. The
    model's outputs for a random input are compared with those of Keras, except with ``arch``.

    Args:
        model: a keras.Model; images are channels last or first.
        arch: a network of :func:`create`.
        tolerance: the largest difference, relative to the largest number of an output.
        options: arguments of :func:`convert`: labels, mean, std, output, ...
    """
    options.setdefault("name", model.name)
    with tempfile.TemporaryDirectory() as folder:
        if arch:
            path = os.path.join(folder, f"{model.name}.weights.h5")
            model.save_weights(path)
            return convert(path, arch=arch, **options)
        shape = [1, *model.inputs[0].shape[1:]] if len(model.inputs) == 1 else []
        if not shape or None in shape:
            raise Error("from_keras: expected a model with one input of a known size, apart from the batch")
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        results = model(x)
        outputs = [np.asarray(t) for t in (results if isinstance(results, (list, tuple)) else [results])]
        files = [os.path.join(folder, f"{i}.npy") for i in range(1 + len(outputs))]
        for file, array in zip(files, [x, *outputs]):
            np.save(file, array)
        path = _export_keras(model, folder)
        return convert(path, check=[",".join(files)], tolerance=tolerance, **options)


def _export_keras(model: Any, folder: str) -> str:
    import importlib.util

    backend = "tensorflow"
    try:
        import keras

        backend = keras.backend.backend()
    except (ImportError, AttributeError):
        pass
    if backend == "tensorflow" and importlib.util.find_spec("tensorflow") is not None:
        import tensorflow

        path = os.path.join(folder, f"{model.name}.tflite")
        data = tensorflow.lite.TFLiteConverter.from_keras_model(model).convert()
        with open(path, "wb") as file:
            file.write(data)
        return path
    path = os.path.join(folder, f"{model.name}.onnx")
    try:
        model.export(path, format="onnx", verbose=False)
    except Exception as error:
        raise Error(f"Keras cannot export {model.name} as ONNX: {error}", "unsupported") from error
    return path
