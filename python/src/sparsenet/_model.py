"""Models: networks with their weights and what their files say about them."""

from __future__ import annotations

import copy as copying
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import byte_count, from_any
from ._errors import Error, warn
from ._images import prepare_images
from ._info import Comparison, Metadata, ModelInfo, Prediction, TensorSpec, Verification
from ._session import Session, tensor_specs
from ._values import encoded, flag, real, text, texts, whole
from ._values import path as _path

if TYPE_CHECKING:
    from ._convert import ConversionReport

_NORMALISATION_NOTES = {
    1: "the model states no mean and std, so pixels of 0..255 go into the network as they are; to state them: "
    "model.metadata = dataclasses.replace(model.metadata, mean=..., std=...), for pixels of 0..255 (0 and 1 if pixels as "
    "they are is right)",
    2: "the model's mean and std look like those for pixels of 0..1, but are applied to pixels of 0..255",
}
_METADATA = ("name", "architecture", "provenance", "license", "color_order", "resize")
_METADATA_LISTS = ("labels", "mean", "std")


class Model:
    """A network with its weights; made by :func:`load`, :func:`create`, :func:`convert` and others.

    Models may be copied (``copy.copy``: they share their weights, which nothing changes) and pickled. Threads: reading
    is safe from several at once.

    Attributes:
        report: of a model that was converted or quantised: what was done. None otherwise.
    """

    def __init__(self, core: _core.Model) -> None:
        self._core = core
        self.report: ConversionReport | dict[str, Any] | None = None
        self._sessions: dict[Any, Session] = {}

    # What it is.

    @property
    def name(self) -> str:
        """As the model states it, or else that of its file."""
        return self._core.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, as the file has them."""
        return tensor_specs(self._core.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, as the file has them."""
        return tensor_specs(self._core.outputs)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, or none."""
        return tuple(self._core.metadata.labels)

    @property
    def classes(self) -> int:
        """How many numbers the first output has for each image."""
        shape = self._core.outputs[0][2] if self._core.outputs else ()
        return int(np.prod(shape[1:], dtype=np.int64)) if shape else 0

    @property
    def metadata(self) -> Metadata:
        """What the model states about itself. To change it, assign: ``m.metadata = replace(m.metadata, labels=...)``
        with ``dataclasses.replace``.
        """
        core = self._core.metadata
        fields: dict[str, Any] = {key: getattr(core, key) for key in _METADATA}
        fields.update((key, tuple(getattr(core, key))) for key in _METADATA_LISTS)
        return Metadata(**fields)

    @metadata.setter
    def metadata(self, value: Metadata) -> None:
        labels = texts(value.labels, "labels")
        if labels and len(labels) != self.classes:
            raise Error(f"labels: expected {self.classes} names, one for each class, found {len(labels)}")
        if value.color_order not in ("RGB", "BGR", "GRAY"):
            raise Error(f"color_order: expected RGB, BGR or GRAY, found {value.color_order!r}")
        if value.resize not in ("bilinear", "bilinear-crop"):
            raise Error(f"resize: expected bilinear or bilinear-crop, found {value.resize!r}")
        core = _core.Metadata()
        for key in _METADATA:
            setattr(core, key, encoded(text(getattr(value, key), key)))
        core.labels = [encoded(label) for label in labels]
        for key in ("mean", "std"):
            numbers = getattr(value, key)
            if isinstance(numbers, str) or not isinstance(numbers, Iterable):
                raise Error(f"{key}: expected a number for each channel, found {numbers!r}")
            setattr(core, key, [real(number, key) for number in numbers])
        self._core.metadata = core
        self._sessions.clear()

    @property
    def parameters(self) -> int:
        """Elements of weights, biases, and scales and shifts of batch normalisation."""
        return self._core.parameters

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self._core.macs

    def constants(self) -> dict[str, NDArray[Any]]:
        """The weights and other constants by name: read-only arrays over the model's own memory."""
        return self._core.constants()

    def info(self, batch: int = 1, **session: Any) -> ModelInfo:
        """What the model holds and what it needs to run: the fields of ``sparsenet info --json``.

        Args:
            batch: images per run.
            session: other arguments of :meth:`session`.
        """
        made = self.session(batch=batch, **session)
        types = {array.dtype.name for array in self.constants().values()}
        output = made.outputs[0].shape if made.outputs else ()
        return ModelInfo(
            name=self.name,
            parameters=self.parameters,
            macs=self.macs,
            input_shape=made.inputs[0].shape if made.inputs else (),
            classes=int(np.prod(output, dtype=np.int64)) // batch if output else 0,
            nodes=self._core.nodes,
            steps=len(made.steps),
            copy_steps=sum(step["is_copy"] for step in made.steps),
            memory=made.memory,
            backend=made.backend,
            precision=made.precision,
            threads=made.threads,
            batch=batch,
            images_at_once=made.images_at_once,
            inputs=made.inputs,
            outputs=made.outputs,
            metadata=self.metadata,
            test_vectors=len(self._core.test_vectors()),
            plans=tuple({"target": t, "batch": b, "trains": trains} for t, b, trains in self._core.plans()),
            stored_plan=made.stored_plan,
            parameter_type=next((t for t in ("int8", "float16") if t in types), "float32"),
        )

    # What it does.

    def session(
        self,
        *,
        threads: int = 0,
        backend: str = "auto",
        batch: int = 1,
        precision: str = "f32",
        images_at_once: int = 0,
        max_memory: int | str | None = None,
        strict: bool = False,
        stored_plan: bool = True,
        optimize: bool = True,
        flush_denormals: bool = True,
        large_weights: bool = False,
        device_check: str = "outputs",
        tensor_cores: bool = False,
        tune: bool = False,
    ) -> Session:
        """Makes the network ready to run.

        Args:
            threads: 0: as many as CPUs this process may use.
            backend: ``"auto"``, ``"portable"``, ``"onednn"`` (where it was built in), ``"reference"``, or a plugin, with
                or without a device: ``"opencl"``, ``"cuda:1"``. :func:`sparsenet.devices` lists them.
            batch: images per run.
            precision: ``"f32"``, ``"bf16"`` (CPUs that have it) or ``"f16"`` (plugins).
            images_at_once: how many images of a batch are computed at once; 0: chosen for this machine's caches.
            max_memory: bytes (or ``"500M"``) beyond which the session is refused. None: for models from files far more
                than ordinary networks need, so that a damaged or hostile file cannot claim all memory.
            strict: with a plugin: no step may run on the CPU instead, and the check of the device may not fail.
            stored_plan: use the plan in the model's file, if there is one for this batch.
            optimize: False: only the passes that execution needs.
            flush_denormals: numbers below 1.2e-38 are treated as zero while the session runs.
            large_weights: keep weights in whatever form is fastest for large batches.
            device_check: with a plugin, what its first run is compared with: ``"outputs"``, ``"steps"`` or ``"off"``.
            tensor_cores: with a plugin and f16: products of float16 numbers.
            tune: with a plugin: find the fastest sizes of kernels by timing, and keep them.

        Raises:
            Error: an op, a backend or a precision that is not supported (names the node), or not enough memory.
        """
        if device_check not in ("outputs", "steps", "off"):
            raise Error(f"device_check: expected outputs, steps or off, found {device_check!r}")
        batch = whole(batch, "batch", 1, 2**31 - 1)
        limit = self._core.default_memory(batch) if max_memory is None else byte_count(max_memory, "max_memory")
        options = {
            "threads": whole(threads, "threads", 0, 2**15),
            "batch": batch,
            "images_at_once": whole(images_at_once, "images_at_once", 0),
            "max_memory": limit,
            "strict": flag(strict, "strict"),
            "stored_plan": flag(stored_plan, "stored_plan"),
            "optimize": flag(optimize, "optimize"),
            "flush_denormals": flag(flush_denormals, "flush_denormals"),
            "large_weights": flag(large_weights, "large_weights"),
            "device_check": device_check,
            "tensor_cores": flag(tensor_cores, "tensor_cores"),
            "tune": flag(tune, "tune"),
        }
        core = _core.session(self._core, text(backend, "backend"), text(precision, "precision"), options)
        return Session(self, core, backend, precision, batch)

    def predict(self, x: Any, *, batch: int = 32, **session: Any) -> NDArray[Any]:
        """Runs a network with one input and one output on any number of images.

        Args:
            x: [N, ...]: float32 inputs (normalised, as the network takes them) or uint8 images ([N, H, W, C]), which
                are resized and normalised as the model's metadata says.
            batch: images per run. The sessions are kept for the next call.
            session: other arguments of :meth:`session`.

        Returns:
            The outputs, [N, ...].
        """
        batch = whole(batch, "batch", 1, 2**31 - 1)
        array = from_any(x)
        if array.dtype.kind not in "fiub":
            raise Error(f"x: expected numbers, found {array.dtype}; classify() and preprocess() take files")
        spec = self.inputs[0]
        if array.dtype == np.uint8 and spec.type == "float32":
            array = self.preprocess(array)
        if array.ndim != len(spec.shape) or array.shape[1:] != spec.shape[1:]:
            raise Error(f"x: expected shape [N, {', '.join(map(str, spec.shape[1:]))}], found {list(array.shape)}")
        results = []
        done = 0
        while done < len(array):
            now = min(batch, len(array) - done)
            results.append(self._kept_session(now, session)(array[done : done + now]))
            done += now
        if not results:
            return np.empty((0, *self.outputs[0].shape[1:]), self.outputs[0].type)
        return np.concatenate(results) if len(results) > 1 else results[0]

    def _kept_session(self, batch: int, arguments: dict[str, Any]) -> Session:
        key = (batch, tuple(sorted(arguments.items())))
        if key not in self._sessions:
            if len(self._sessions) >= 4:  # sessions hold memory: a few batch sizes in turn are usual, many are not
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[key] = self.session(batch=batch, **arguments)
        return self._sessions[key]

    def preprocess(self, images: Any) -> NDArray[np.float32]:
        """Makes the network's input of images, as the model's metadata says: size, order of colours, mean, std.

        Args:
            images: uint8 [N, H, W, 3] (RGB), [N, H, W, 1] or [N, H, W] (grey); or a list of images of any sizes: paths
                of PNG and JPEG files, their bytes, images of PIL, and uint8 arrays [H, W, 3], [H, W, 1] or [H, W].

        Returns:
            float32 [N, C, H, W].
        """
        return prepare_images(self._core, images)

    def classify(
        self, images: Any, *, top: int = 5, labels: Sequence[str] | None = None, **session: Any
    ) -> list[list[Prediction]]:
        """Names what images show.

        Args:
            images: one image or a list; see :meth:`preprocess`.
            top: how many classes for each image, the most probable first.
            labels: names of the classes in place of the model's.
            session: arguments of :meth:`session`.

        Returns:
            A list of :class:`Prediction` for each image.
        """
        top = whole(top, "top", 1)
        if "batch" in session:
            raise Error(
                "batch: classify() runs one image at a time; predict(preprocess(images), batch=...) runs several"
            )
        names: Sequence[str] = self.labels if labels is None else texts(labels, "labels")
        if labels is not None and len(names) != self.classes:
            raise Error(f"labels: expected {self.classes} names, one for each class, found {len(names)}")
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise Error("expected a classifier with one input and one output", "invalid_model")
        if self._core.normalisation != 0:
            warn(f"{self.name}: {_NORMALISATION_NOTES[self._core.normalisation]}")
        scores = self.predict(self.preprocess(images), batch=1, **session)
        probabilities = self.probabilities(scores)
        answers = []
        for row in probabilities:
            order = np.argsort(-row, kind="stable")[:top]
            answers.append(
                [Prediction(names[i] if i < len(names) else f"class {i}", int(i), float(row[i])) for i in order]
            )
        return answers

    def probabilities(self, scores: Any) -> NDArray[np.float64]:
        """Scores [N, ...] as probabilities [N, classes]: their softmax, unless the network itself ends in one."""
        rows: NDArray[np.float64] = from_any(scores).astype(np.float64)
        rows = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
        if len(rows) == 0:
            return rows
        if not np.isfinite(rows).all():
            raise Error("the network's output holds values that are not finite", "internal")
        if self._core.ends_in_softmax:
            return rows
        e: NDArray[np.float64] = np.exp(rows - rows.max(axis=1, keepdims=True))
        e /= e.sum(axis=1, keepdims=True)
        return e

    def verify(self, **session: Any) -> Verification:
        """Runs the model's own test vectors on this machine.

        Args:
            session: arguments of :meth:`session`.

        Raises:
            Error: the model has no test vectors; ``save(test_vectors=1)`` adds some.
        """
        vectors = self._core.test_vectors()
        if not vectors:
            raise Error(f"{self.name}: holds no test vectors; save(path, test_vectors=1) adds one", "not_found")
        made = self.session(**session)
        results = []
        for index, (inputs, outputs, tolerance) in enumerate(vectors):
            if len(inputs) != len(made.inputs) or len(outputs) != len(made.outputs):
                raise Error(f"test vector {index} does not fit the network", "invalid_model")
            found = made._core.run(inputs, False)
            for spec, is_, expected in zip(made.outputs, found, outputs):
                a, b = is_.astype(np.float64), expected.astype(np.float64)
                difference = np.abs(a - b).max(initial=0.0)
                finite = bool(np.isfinite(a).all() and np.isfinite(b).all())  # a NaN must never pass
                relative = float(difference / max(1e-6, np.abs(b).max(initial=0.0))) if finite else float("inf")
                absolute = float(difference) if finite else float("inf")
                results.append(Comparison(index, spec.name, absolute, relative, tolerance, relative <= tolerance))
        return Verification(tuple(results))

    # What becomes of it.

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        plan: str | None = None,
        training_plan: bool = False,
        test_vectors: int = 0,
        precision: str | None = None,
        c_array: str | os.PathLike[str] | None = None,
        select_ops: str | os.PathLike[str] | None = None,
    ) -> None:
        """Writes the model's file; at ``path`` there is never an incomplete one.

        Args:
            path: the .snet file.
            plan: also store a plan made ahead of time, for devices: ``"portable-f32"``.
            training_plan: also store a plan for training the last layer on a device.
            test_vectors: store this many random inputs with the reference kernels' outputs, for :meth:`verify`; 0:
                those that the model has.
            precision: store the parameters as ``"f32"`` or ``"f16"``; None: as they are.
            c_array: also write the model as C source into this folder, for firmware.
            select_ops: also write the table of the kernels that the model uses into this folder, for firmware.
        """
        if plan is None and not (training_plan or test_vectors or precision or c_array or select_ops):
            self._core.save(_path(path))
            return
        from ._convert import convert

        convert(
            self,
            path,
            plan=plan,
            training_plan=training_plan,
            test_vectors=test_vectors,
            precision=precision,
            c_array=c_array,
            select_ops=select_ops,
        )

    def to_bytes(self) -> bytes:
        """The model's file as bytes; :meth:`from_bytes` reads them. The same model gives the same bytes."""
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "") -> Model:
        """The model in the bytes of a .snet file, all of which are verified; ``name`` stands for it in messages."""
        return cls(_core.from_bytes(bytes(data), encoded(text(name, "name"))))

    def replace_head(self, classes: int, *, seed: int = 0, labels: Sequence[str] = ()) -> Model:
        """A copy whose last layer is new, for other classes: He-initialised from the seed, with a zero bias."""
        model = copying.copy(self)
        model._core.replace_head(whole(classes, "classes", 1, 2**31 - 1), whole(seed, "seed", 0))
        model.metadata = replace(model.metadata, labels=tuple(texts(labels, "labels")))
        return model

    def __copy__(self) -> Model:
        model = Model(self._core.copy())
        model.report = self.report
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self.__copy__()  # weights are never changed, so that sharing them cannot be noticed

    def __reduce__(self) -> tuple[Callable[[bytes, str], Model], tuple[bytes, str]]:
        return _unpickle, (self.to_bytes(), self._core.path)

    def __repr__(self) -> str:
        ports = ", ".join(f"{t.name} {list(t.shape)}" for t in self.inputs)
        ends = ", ".join(f"{t.name} {list(t.shape)}" for t in self.outputs)
        return f"<sparsenet.Model {self.name}: {ports} -> {ends}; {self.parameters:,} parameters, {self.macs:,} MACs>"

    def _repr_html_(self) -> str:
        return self.info()._repr_html_()


def _unpickle(data: bytes, path: str) -> Model:
    return Model.from_bytes(data, path)


def load(path: str | os.PathLike[str], *, copy: bool = False) -> Model:
    """Reads a .snet file; all of it is verified before anything is used.

    Args:
        path: of the file. It stays mapped as long as its weights are in use.
        copy: read it into memory instead, for files that others may overwrite in place.

    Raises:
        Error: the file is missing, damaged, needs a newer engine, or is of another kind; the text says which, and how a
            file of another kind is converted.
    """
    return Model(_core.load(_path(path), flag(copy, "copy")))


def create(arch: str, *, classes: int | None = None, seed: int = 0, labels: Iterable[str] = ()) -> Model:
    """A new network of the SparseNet and DenseNet family, or a CIFAR ResNet, with random weights.

    Args:
        arch: ``"sparsenet-abc-v1"``, ``"densenet-bc-100-12"``, ``"resnet20"``, or spelled out as in
            docs/architectures.md; :func:`architectures` lists the short names.
        classes: how many; None: as the architecture says (10).
        seed: the same seed gives the same bits.
        labels: names of the classes.
    """
    count = None if classes is None else whole(classes, "classes", -(2**31), 2**31 - 1)
    model = Model(_core.create(text(arch, "arch"), count, whole(seed, "seed", 0)))
    names = tuple(texts(labels, "labels"))
    if names:
        model.metadata = replace(model.metadata, labels=names)
    return model


def architectures() -> list[str]:
    """The short names of networks that :func:`create` knows."""
    return _core.architectures()


def quantize(
    model: Model,
    images: Any,
    *,
    method: str = "mse",
    keep_float: Sequence[str] = (),
    threads: int = 0,
    progress: bool | Callable[[int, int], None] = False,
) -> Model:
    """Makes an int8 network of a float32 one, whose ranges are measured on images.

    Args:
        model: with one input.
        images: a hundred or more from the training data, of all classes: float32 inputs [N, C, H, W] (normalised), or
            anything that :meth:`Model.preprocess` takes.
        method: how ranges follow from the values: ``"minmax"``, ``"percentile"``, ``"kl"`` or ``"mse"``.
        keep_float: names of nodes that stay float32, with * and ?.
        threads: 0: as many as CPUs this process may use.
        progress: True shows how far it is; a function is called with the images that are done and all of them.

    Returns:
        The int8 network, which is used like the other; its ``report`` has integer_nodes, float_nodes and kept_float.
    """
    from ._progress import Progress

    float_inputs = isinstance(images, (list, tuple)) is False and from_any(images).dtype.kind == "f"
    pixels = from_any(images) if float_inputs else model.preprocess(images)
    report: dict[str, Any] = {}
    bar = Progress("calibrating", "images") if progress is True else None
    callback: Callable[[int, int], None] | None = bar.update if bar else (progress or None)  # type: ignore[assignment]
    patterns = texts(keep_float, "keep_float")
    try:
        core = model._core.quantize(
            pixels, text(method, "method"), patterns, whole(threads, "threads", 0, 2**15), callback, report
        )
    finally:
        if bar:
            bar.close()
    made = Model(core)
    made.report = report
    return made
