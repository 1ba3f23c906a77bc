"""Importing networks that were trained elsewhere."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _core
from ._arrays import byte_count
from ._errors import ConversionError, Error, warn
from ._show import Record
from ._values import encoded, flag, path, real, text, texts, whole

if TYPE_CHECKING:
    from ._model import Model


@dataclass(frozen=True)
class ConversionReport(Record):
    """What happened in a conversion; ``to_dict()`` has all fields of ``sparsenet-convert --report``.

    Attributes:
        input, format, producer: the file, what it is, and what wrote it.
        problems: why it cannot be converted: one dict with ``subject`` and ``reason`` for each problem.
        notes: what was decided on the way.
        warnings: likely mistakes; each is also a Python warning.
        operators: how many of each the network has.
        tensors: where every tensor of the file went.
    """

    input: str
    format: str
    producer: str
    problems: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    operators: dict[str, int]
    tensors: tuple[dict[str, Any], ...]
    document: dict[str, Any] = field(repr=False, default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return self.document

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("input", self.input), ("format", self.format), ("producer", self.producer)]
        rows.append(("operators", ", ".join(f"{count} {op}" for op, count in self.operators.items())))
        rows += [("problem", f"{p.get('subject', '')}: {p.get('reason', '')}".lstrip(": ")) for p in self.problems]
        rows += [("note", note) for note in self.notes] + [("warning", text) for text in self.warnings]
        return [(key, value) for key, value in rows if value]


def _report(document: dict[str, Any]) -> ConversionReport:
    return ConversionReport(
        input=document.get("input", ""),
        format=document.get("format", ""),
        producer=document.get("producer", ""),
        problems=tuple(document.get("problems", [])),
        notes=tuple(document.get("notes", [])),
        warnings=tuple(document.get("warnings", [])),
        operators=dict(document.get("operators", {})),
        tensors=tuple(document.get("tensors", [])),
        document=document,
    )


def _labels(labels: Sequence[str] | str | os.PathLike[str] | None) -> list[str]:
    if labels is None:
        return []
    if not isinstance(labels, (str, os.PathLike)):
        return texts(labels, "labels")
    try:
        with open(labels, encoding="utf-8") as file:
            lines = [line.rstrip() for line in file]
    except OSError as error:
        raise Error(f"labels: {error}", "not_found") from None
    except UnicodeDecodeError as error:
        raise Error(f"labels: {os.fspath(labels)}: expected a text file: {error}") from None
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise Error(f"labels: {os.fspath(labels)}: expected one name on each line, found an empty file")
    return lines


def _numbers(value: float | Sequence[float], other: float | Sequence[float]) -> list[float]:
    if not isinstance(value, numbers.Real):
        return [real(number, "mean, std") for number in value]  # type: ignore[union-attr]
    # One number beside a list stands for all channels.
    return [real(value, "mean, std")] * (1 if isinstance(other, numbers.Real) else max(1, len(other)))  # type: ignore[arg-type]


def convert(
    source: str | os.PathLike[str] | Model,
    output: str | os.PathLike[str] | None = None,
    *,
    format: str = "auto",
    arch: str = "",
    map: str | Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    input_shape: Mapping[str, Sequence[int]] | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    pixel_scale: int = 0,
    normalize: str = "",
    name: str = "",
    license: str = "",
    precision: str | None = None,
    test_vectors: int = 0,
    check: Sequence[str] = (),
    tolerance: float = 1e-4,
    plan: str | None = None,
    training_plan: bool = False,
    c_array: str | os.PathLike[str] | None = None,
    select_ops: str | os.PathLike[str] | None = None,
    max_memory: int | str | None = None,
) -> Model:
    """Imports a network that was trained elsewhere.

    Args:
        source: an ONNX or TensorFlow Lite file, which holds a network; or weights, which need ``arch``: of PyTorch
            (.pth), safetensors, NumPy (.npz), Keras (.h5, .keras; read by the package h5py). Or a model, to which the
            options below are applied.
        output: the .snet file to write as well; None: none.
        format: ``"auto"``, ``"onnx"``, ``"tflite"``, ``"torch"``, ``"safetensors"``, ``"npz"``, ``"keras"`` or
            ``"snet"``.
        arch: the network that weights go into, as for :func:`create`.
        map: rules from names in the file to names in the network: {regular expression: name with $1}, or as
            ``sparsenet-convert --map`` takes them.
        outputs: the values of an ONNX graph that the network computes, in place of the file's outputs.
        input_shape: shapes of ONNX inputs whose sizes the file leaves open, by name.
        labels: names of the classes, or a text file with one on each line.
        mean, std: per channel, for pixels of 0..1 or 0..255, which the values tell.
        pixel_scale: 1 or 255: the largest pixel value that mean and std are for, if the values do not tell.
        normalize: mean and std by name: ``"imagenet"``, ``"cifar10"``, ``"0..1"``, ``"-1..1"`` or ``"none"``.
        name, license: kept in the model.
        precision: store the parameters as ``"f32"`` or ``"f16"``.
        test_vectors: store this many random inputs with the reference kernels' outputs.
        check: ``"IN.npy,OUT.npy"``, as often as wanted: inputs and outputs of the framework that trained the network,
            which must give the same within ``tolerance``; they are stored as test vectors.
        plan: also store a plan made ahead of time, for devices: ``"portable-f32"``.
        training_plan: also store a plan for training the last layer on a device.
        c_array: also write the model as C source into this folder, for firmware.
        select_ops: also write the table of the kernels that the model uses into this folder, for firmware.
        max_memory: bytes that the conversion may take. None: 256 MiB and 8 times the file.

    Returns:
        The model; its ``report`` says what was done.

    Raises:
        ConversionError: the file cannot be converted; ``report.problems`` has all reasons.
        Error: an argument makes no sense.
    """
    from ._model import Model

    held = source if isinstance(source, Model) else None
    names = _labels(labels)
    rules = ";".join(f"{a}={b}" for a, b in map.items()) if isinstance(map, Mapping) else (map or "")
    if test_vectors and check:
        raise Error("check stores the source framework's outputs, test_vectors the reference kernels': give one")
    if not isinstance(input_shape, (Mapping, type(None))):
        raise Error(f"input_shape: expected a dict of names and shapes, found {input_shape!r}")
    if pixel_scale not in (0, 1, 255):
        raise Error(f"pixel_scale: expected 1 or 255, found {pixel_scale}")
    options: dict[str, Any] = {
        "input": encoded(held.name or "model") if held else path(source, "source"),
        "output": path(output, "output") if output is not None else b"",
        "from": encoded(text(format, "format")),
        "arch": encoded(text(arch, "arch")),
        "map": encoded(text(rules, "map")),
        "outputs": [encoded(name) for name in texts(outputs, "outputs")],
        "input_shapes": [
            (encoded(key), [whole(size, "input_shape") for size in shape]) for key, shape in (input_shape or {}).items()
        ],
        "labels": [encoded(label) for label in names],
        "mean": _numbers(mean, std),
        "std": _numbers(std, mean),
        "pixel_scale": pixel_scale,
        "normalize": encoded(text(normalize, "normalize")),
        "name": encoded(text(name, "name")),
        "license": encoded(text(license, "license")),
        "precision": encoded(text(precision or "", "precision")),
        "test_vectors": whole(test_vectors, "test_vectors", 0, 1000),
        "check": [encoded(files) for files in texts(check, "check")],
        "tolerance": real(tolerance, "tolerance"),
        "plan": encoded(text(plan or "", "plan")),
        "training_plan": flag(training_plan, "training_plan"),
        "c_array": path(c_array, "c_array") if c_array else b"",
        "select_ops": path(select_ops, "select_ops") if select_ops else b"",
        "max_memory": byte_count(max_memory, "max_memory"),
    }
    core, document, lines = _core.convert(held._core if held else None, options)
    report = _report(json.loads(document))
    for warning in report.warnings:
        warn(warning)
    if core is None:
        count = len(report.problems)
        head = f"{os.fsdecode(options['input'])}: {count} problem{'s' if count != 1 else ''}, nothing was written"
        raise ConversionError("\n  ".join([head, *lines]), report=report)
    made = Model(core)
    made.report = report
    return made
