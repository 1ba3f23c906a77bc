"""Training: a trainer that takes batches, and a loop around it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import as_array, byte_count, from_any
from ._errors import Error, warn
from ._model import Model
from ._progress import Progress
from ._show import Record, Svg, html_table, text_table
from ._values import flag, real, text, whole
from ._values import path as _path

_PAD = 4  # of crop-flip, as in the paper's recipe
_TEST_BATCH = 50


class Loss(float):
    """The loss of a step (mean cross-entropy of the batch), with what else the step found.

    Attributes:
        correct: how many of the images have the largest score at their label.
        images: how many there were.
        updated: whether the parameters have changed: False while batches are accumulated.
    """

    correct: int
    images: int
    updated: bool

    def __new__(cls, value: float, correct: int, images: int, updated: bool) -> Loss:
        self = super().__new__(cls, value)
        self.correct, self.images, self.updated = correct, images, updated
        return self

    def __getnewargs__(self) -> tuple[float, int, int, bool]:  # type: ignore[override]
        return float(self), self.correct, self.images, self.updated


@dataclass(frozen=True)
class Epoch(Record):
    """One pass through the data.

    Attributes:
        epoch: counts from 1.
        train_loss: mean cross-entropy over the epoch's steps, without label smoothing and weight decay.
        train_error_percent: wrong answers in these steps.
        test_error_percent: after the epoch, on the validation data; None without such data.
        learning_rate: of the last step.
        seconds: spent in steps.
        images_per_second: in steps.
    """

    epoch: int
    train_loss: float
    train_error_percent: float
    test_error_percent: float | None
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass(frozen=True)
class TrainMemory(Record):
    """Bytes that a trainer has allocated.

    Attributes:
        arena_bytes: activations, gradients, parameters and the optimiser's state.
        parameter_bytes: part of the arena: parameters, their gradients and the optimiser's state.
        lower_bound_bytes: the largest sum of bytes that are live at the same time: no plan can need less.
        scratch_bytes: working memory of the kernels, for all threads.
        packed_bytes: weights in the kernels' own order.
        micro_batch: images that are computed at once.
        recomputed: activations that are computed a second time to save memory.
        extra_macs: what recomputing costs, as a share of one forward pass.
    """

    arena_bytes: int
    parameter_bytes: int
    lower_bound_bytes: int
    scratch_bytes: int
    packed_bytes: int
    micro_batch: int
    recomputed: int
    extra_macs: float


class History(list[Epoch]):
    """The epochs of a training, as a list; shows itself as a table and as a plot.

    Attributes:
        step_losses: the loss of every step.
    """

    def __init__(self, epochs: Sequence[Epoch] = (), step_losses: Sequence[float] = ()) -> None:
        super().__init__(epochs)
        self.step_losses = list(step_losses)

    def to_dict(self) -> dict[str, Any]:
        """The epochs and the losses of all steps as plain numbers, ready for JSON."""
        return {"epochs": [epoch.to_dict() for epoch in self], "step_losses": list(self.step_losses)}

    def plot_svg(self, path: str | os.PathLike[str] | None = None, title: str = "training") -> Svg:
        """Curves of the loss and of the errors.

        Args:
            path: where they are also written to; None: nowhere.
            title: above the curves.
        """
        losses = [(float(e.epoch), e.train_loss) for e in self]
        errors = [("train", [(float(e.epoch), e.train_error_percent) for e in self])]
        tested = [(float(e.epoch), e.test_error_percent) for e in self if e.test_error_percent is not None]
        if tested:
            errors.append(("validation", tested))
        panels = [("loss", [("train", losses)]), ("error %", errors)]
        drawing = Svg(_core.plot(title, "epoch", float(max(1, len(self))), panels))
        if path is not None:
            drawing.save(path)
        return drawing

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                str(e.epoch),
                f"{e.train_loss:.4f}",
                f"{e.train_error_percent:.2f}",
                "" if e.test_error_percent is None else f"{e.test_error_percent:.2f}",
                f"{e.learning_rate:.6g}",
                f"{e.seconds:.1f}",
                f"{e.images_per_second:.1f}",
            ]
            for e in self
        ]
        return ["epoch", "loss", "train error %", "test error %", "rate", "seconds", "images/s"], rows

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


class Trainer:
    """Trains a network, as a whole or in part.

    The model that it is given stays as it is; :attr:`model` has the trained parameters. The loss is the cross-entropy
    of the logits (a softmax at the network's end is left out of training). Memory is allocated when the trainer is made.
    The same seeds give the same bits, whatever the number of threads.

    Args:
        model: with one input and one output of logits.
        batch: images in each step.
        optimizer: ``"sgd"`` (with momentum), ``"adam"`` or ``"adamw"``.
        momentum, nesterov: of SGD.
        beta1, beta2, epsilon: of Adam and AdamW.
        weight_decay: on every trained parameter, or with decay_all=False not on biases and batch normalisation.
        label_smoothing: the target is (1 - s) one-hot + s / classes.
        clip: gradients are scaled so that their joint L2 norm is at most this; 0: off.
        accumulate: how many batches make one update.
        freeze: ``"none"``, ``"all-but-head"`` (only the last layer is trained; what is in front of it runs as in
            inference), ``"bn-and-bias"`` (only batch normalisation and biases are), or a pattern with * and ? for the
            names of parameters that stay as they are.
        memory_budget: bytes (or ``"64M"``) that activations, parameters and scratch may take; to fit, activations are
            computed twice and the batch is divided. None: no limit.
        max_memory: bytes beyond which the training is refused. None: no limit.
        threads: 0: as many as CPUs this process may use.
        backend: ``"auto"``, ``"portable"`` or ``"reference"`` (slow, for checking).

    Attributes:
        history: the epochs of :meth:`fit`.
        batch, threads, classes: as they are in use.

    Raises:
        Error: an op without a gradient (names the node), an option that makes no sense, or a budget that is too small
            (names the smallest possible one).
    """

    def __init__(
        self,
        model: Model,
        *,
        batch: int = 64,
        optimizer: str = "sgd",
        momentum: float = 0.9,
        nesterov: bool | None = None,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-4,
        decay_all: bool = True,
        label_smoothing: float = 0.0,
        clip: float = 0.0,
        accumulate: int = 1,
        freeze: str = "none",
        memory_budget: int | str | None = None,
        max_memory: int | str | None = None,
        threads: int = 0,
        backend: str = "auto",
    ) -> None:
        if not isinstance(model, Model):
            raise Error(
                f"model: expected a sparsenet.Model, found {type(model).__name__}; sparsenet.load() reads a file"
            )
        backend = text(backend, "backend")
        momentum = real(momentum, "momentum")
        if backend in ("opencl", "cuda") or backend.startswith(("opencl:", "cuda:")):
            raise Error(f"backend {backend}: training runs on the CPU (auto, portable)", "unsupported")
        self._options: dict[str, Any] = {
            "batch": whole(batch, "batch", 1, 2**31 - 1),
            "optimizer": text(optimizer, "optimizer"),
            "momentum": momentum,
            "nesterov": momentum > 0 if nesterov is None else flag(nesterov, "nesterov"),
            "beta1": real(beta1, "beta1"),
            "beta2": real(beta2, "beta2"),
            "epsilon": real(epsilon, "epsilon"),
            "weight_decay": real(weight_decay, "weight_decay"),
            "decay_all": flag(decay_all, "decay_all"),
            "label_smoothing": real(label_smoothing, "label_smoothing"),
            "clip": real(clip, "clip"),
            "accumulate": whole(accumulate, "accumulate", 1, 2**30),
            "freeze": text(freeze, "freeze"),
            "memory_budget": byte_count(memory_budget, "memory_budget"),
            "max_memory": byte_count(max_memory, "max_memory"),
            "threads": whole(threads, "threads", 0, 2**15),
            "backend": backend,
        }
        self._base = model
        self._steps = 0  # since the trainer was made
        self._core = _core.trainer(model._core, self._options)
        self.batch: int = self._options["batch"]
        self.threads: int = self._core.threads
        self.classes: int = self._core.classes
        self.history = History()
        self._state = _State()
        self._settings: list[tuple[str, str]] = []

    def step(self, images: Any, labels: Any, lr: float) -> Loss:
        """Trains on one batch.

        Args:
            images: [batch, C, H, W] float32 inputs (normalised), or uint8 images as :meth:`Model.preprocess` takes them.
            labels: [batch] integers from 0 to classes - 1.
            lr: the learning rate.

        Returns:
            The loss before the update, a float with the attributes ``correct``, ``images`` and ``updated``.

        Raises:
            Error: a label is out of range, or (``code`` is ``"not_finite"``) the loss or the gradients are not finite.
                The trainer is then as it was before the step.
        """
        x = from_any(images)
        if x.dtype == np.uint8:
            x = self._base.preprocess(x)
        y = as_array(labels, "int32", (self.batch,), "labels")
        result = Loss(*self._core.step(x, y, real(lr, "lr")))
        self._steps += 1
        return result

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int,
        lr: float | None = None,
        schedule: str = "cosine",
        warmup: int = 0,
        augment: str = "none",
        shuffle: bool = True,
        seed: int = 0,
        validation: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = False,
        callback: Callable[[Trainer, Epoch], Any] | None = None,
    ) -> History:
        """Trains for a number of epochs.

        Ctrl-C ends the training after the current step: the trainer keeps what it has learnt, the checkpoint (if there
        is one) holds it, and KeyboardInterrupt goes on to the caller.

        Args:
            X: [N, C, H, W] float32 inputs (normalised) or [N, H, W, C] uint8 images, which are resized and normalised as
                the model's metadata says. At least ``batch`` of them; in each epoch, those that do not fill a batch are
                left out (other ones every time).
            y: [N] integers from 0 to classes - 1.
            epochs: passes through the data, with those that a checkpoint has.
            lr: the learning rate; None: 0.1 for SGD and 0.001 for Adam and AdamW.
            schedule: ``"cosine"``, ``"constant"``, ``"onecycle"``, ``"paper"`` (x 0.1, 0.01, 0.002 after 150/280,
                200/280 and 250/280 of the steps) or ``"paper-svhn"``.
            warmup: epochs of linear warm-up before the schedule.
            augment: ``"none"`` or ``"crop-flip"``: a random crop of the image padded by 4, and a random horizontal flip.
            shuffle: a new order in each epoch.
            seed: of order and augmentation.
            validation: images and labels like X and y, on which the error is measured after each epoch.
            checkpoint: a file that is written at the beginning, after each epoch, and when Ctrl-C ends the training.
            resume: go on from the checkpoint, if the file exists.
            progress: show how far it is, on stderr.
            callback: called after each epoch; if it returns True, the training ends. It may go back to a checkpoint
                (:meth:`load_checkpoint`) if it does.

        Returns:
            The epochs, which are also in :attr:`history`.

        Raises:
            Error: data that does not fit, a checkpoint of another training, or a loss that is not finite.
        """
        epochs, warmup, seed = whole(epochs, "epochs", 1), whole(warmup, "warmup", 0), whole(seed, "seed", 0)
        schedule, shuffle = text(schedule, "schedule"), flag(shuffle, "shuffle")
        images, labels = self._data(X, y, "X")
        test = None
        if validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) != 2:
                raise Error("validation: expected a pair of images and labels")
            test = self._data(validation[0], validation[1], "validation")
            if len(test[0]) == 0:
                raise Error("validation: expected at least one image, found none")
        if len(images) < self.batch:
            raise Error(f"X: expected at least as many images as a batch has ({self.batch}), found {len(images)}")
        if augment not in ("none", "crop-flip"):
            raise Error(f"augment: expected none or crop-flip, found {augment!r}")
        if warmup >= epochs:
            raise Error(f"warmup: expected less than the {epochs} epochs, found {warmup}")
        if resume and checkpoint is None:
            raise Error("resume: expected a checkpoint to go on from")
        rate = (0.1 if self._options["optimizer"] == "sgd" else 0.001) if lr is None else real(lr, "lr")
        per_epoch = len(images) // self.batch
        if self._options["accumulate"] > epochs * per_epoch:
            raise Error(
                f"accumulate: an update takes {self._options['accumulate']} batches, and {epochs} epochs have "
                f"{epochs * per_epoch}; nothing would be learnt"
            )

        def rate_of(step: int) -> float:
            return _core.learning_rate(schedule, rate, epochs, per_epoch, warmup, step)

        rate_of(0)  # a schedule that does not exist is an error before anything is done
        plan = {
            "epochs": epochs,
            "lr": rate,
            "schedule": schedule,
            "warmup": warmup,
            "augment": augment,
            "shuffle": shuffle,
            "seed": seed,
            "data": _hash(images, labels),
        }
        self._begin(plan, checkpoint if resume else None)
        shown = Progress("training", "steps") if progress else None
        state = self._state
        if checkpoint is not None and state.step == 0:
            if not resume and os.path.exists(checkpoint):
                warn(f"{os.fspath(checkpoint)}: is replaced; resume=True would go on from it")
            self.save_checkpoint(checkpoint)  # a path that cannot be written to is no surprise after an hour
        with _interrupts() as interrupted:
            while len(self.history) < epochs:
                epoch = len(self.history)
                order = _core.epoch_order(len(images), seed, epoch) if shuffle else np.arange(len(images))
                while state.step < (epoch + 1) * per_epoch and not interrupted:
                    place = (state.step - epoch * per_epoch) * self.batch
                    chosen = order[place : place + self.batch]
                    self._fit_step(images, labels, chosen, rate_of(state.step), (augment, seed, epoch))
                    if shown:
                        status = f"epoch {epoch + 1}, loss {self.history.step_losses[-1]:.4f}"
                        shown.update(state.step, epochs * per_epoch, status)
                if interrupted:
                    break
                if test is not None and checkpoint is not None:
                    self.save_checkpoint(checkpoint)  # measuring takes a while
                record = self._end_epoch(per_epoch, rate_of(state.step - 1), test)
                if checkpoint is not None:
                    self.save_checkpoint(checkpoint)
                if shown:
                    shown.message(_epoch_text(record, epochs))
                if callback is not None and callback(self, record):
                    break
                if self._state is not state:
                    raise Error("callback: whoever loads a checkpoint has to end the training (return True)")
            if shown:
                shown.close()
            if interrupted:
                if checkpoint is not None:
                    self.save_checkpoint(checkpoint)
                raise KeyboardInterrupt
        return self.history

    def evaluate(self, X: Any, y: Any) -> float:
        """The share of images that the network gets wrong, in percent; arguments as for :meth:`fit`."""
        images, labels = self._data(X, y, "X")
        if len(images) == 0:
            raise Error("X: expected at least one image, found none")
        return 100.0 * self._share_of_errors(images, labels)

    @property
    def model(self) -> Model:
        """A model with the trained parameters, as they are now."""
        model = Model(self._core.model(self._base._core, True))
        note = f"trained for {self._steps} steps with the Python package of SparseNet Engine {_core.version()}"
        before = self._base.metadata.provenance
        model.metadata = replace(self._base.metadata, provenance="; ".join(filter(None, (before, note))))
        return model

    @property
    def memory(self) -> TrainMemory:
        """The bytes that it has allocated, and what a memory budget has led to."""
        return TrainMemory(**self._core.memory)

    @property
    def parameter_names(self) -> list[str]:
        """The names of all parameters, in order."""
        return [name for name, _, _, _ in self._core.parameters]

    @property
    def trained_names(self) -> list[str]:
        """The names of those that are trained."""
        return [name for name, _, trained, _ in self._core.parameters if trained]

    def parameter(self, name: str) -> NDArray[np.float32]:
        """A copy of a parameter as it is now."""
        return self._core.values(self._index(name), False)

    def gradient(self, name: str) -> NDArray[np.float32]:
        """A trained parameter's gradient in the last step, before clipping and weight decay."""
        return self._core.values(self._index(name), True)

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Writes everything that the next step depends on; at ``path`` there is never an incomplete file."""
        state, kept = self._state, _core.Checkpoint()
        kept.settings = [*self._trainer_settings(), ("steps of the trainer", str(self._steps)), *self._settings]
        kept.step, kept.loss_sum, kept.seconds = state.step, state.loss_sum, state.seconds
        kept.correct, kept.images = state.correct, state.images
        kept.has_step_losses, kept.step_losses = True, self.history.step_losses
        kept.epochs = state.records
        self._core.save(_path(path), kept)

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Goes back to what :meth:`save_checkpoint` wrote, for a trainer with the same model and options.

        Raises:
            Error: the file is damaged, or is the checkpoint of another network or of other options (names the first).
        """
        self._load(path, self._trainer_settings())

    # How it is done.

    def _load(self, path: str | os.PathLike[str], settings: list[tuple[str, str]]) -> None:
        kept = _core.load_checkpoint(_path(path))
        found = dict(kept.settings)
        try:
            # Settings of fit() that are not asked for may be anything.
            for name, value in settings:
                if found.get(name) != value:
                    raise Error(f"expected {name} {found.get(name, 'to be absent')}, found {value}")
            self._core.restore(kept)
        except Error as error:
            raise Error(f"{os.fspath(path)}: the checkpoint is of another training: {error}", error.code) from None
        self._steps = int(found.get("steps of the trainer", kept.step))
        own = {name for name, _ in self._trainer_settings()} | {"steps of the trainer"}
        self._settings = [(name, value) for name, value in kept.settings if name not in own]
        state = self._state = _State()
        state.step, state.loss_sum, state.seconds = kept.step, kept.loss_sum, kept.seconds
        state.correct, state.images, state.records = kept.correct, kept.images, list(kept.epochs)
        self.history = History([_epoch(i + 1, record) for i, record in enumerate(state.records)], kept.step_losses)

    def _trainer_settings(self) -> list[tuple[str, str]]:
        # What affects the outcome; a memory budget divides batches.
        idle = ("threads", "max_memory")
        settings = [(key, repr(value)) for key, value in self._options.items() if key not in idle]
        shapes = [(name, shape) for name, shape, _, _ in self._core.parameters]
        return [*settings, ("parameters", f"{len(shapes)} of shapes {hash_text(repr(shapes))}")]

    def _begin(self, plan: dict[str, Any], checkpoint: str | os.PathLike[str] | None) -> None:
        settings = [(key, repr(value)) for key, value in plan.items()]
        if checkpoint is not None and os.path.exists(checkpoint):
            self._load(checkpoint, [*self._trainer_settings(), *settings])
        else:
            # The parameters go on from where they are; the count of steps and epochs starts again.
            self._state = _State()
            self.history = History()
        self._settings = settings

    def _index(self, name: str) -> int:
        names = self.parameter_names
        if name not in names:
            raise Error(f"'{name}': no parameter has this name; parameter_names lists them", "not_found")
        return names.index(name)

    def _data(self, X: Any, y: Any, name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
        images = from_any(X)
        labels = as_array(y, "int32", (), f"{name}: labels")
        shape = self._core.input_shape[1:]
        if images.dtype != np.uint8:
            if images.ndim != 1 + len(shape) or images.shape[1:] != shape:
                raise Error(f"{name}: expected shape [N, {', '.join(map(str, shape))}], found {list(images.shape)}")
            images = as_array(images, "float32", images.shape, name)
        if labels.shape != (len(images),):
            raise Error(f"{name}: expected {len(images)} labels, one for each image, found shape {list(labels.shape)}")
        if len(labels) and not (0 <= int(labels.min()) and int(labels.max()) < self.classes):
            found = int(labels.min()) if labels.min() < 0 else int(labels.max())
            raise Error(f"{name}: expected labels from 0 to {self.classes - 1}, found {found}")
        return images, labels

    def _inputs(self, images: NDArray[Any]) -> NDArray[Any]:
        return self._base.preprocess(images) if images.dtype == np.uint8 else images

    def _fit_step(
        self, images: NDArray[Any], labels: NDArray[Any], chosen: NDArray[Any], rate: float, how: tuple[str, int, int]
    ) -> None:
        start = time.perf_counter()
        augment, seed, epoch = how
        x = self._inputs(images[chosen])
        if augment == "crop-flip":
            x = _core.crop_flip(x, chosen, seed, epoch, _PAD)
        try:
            loss, correct, count, _ = self._core.step(x, labels[chosen], rate)
        except Error as error:
            hint = "; a smaller lr or clip may help" if error.code == "not_finite" else ""
            raise Error(f"step {self._state.step + 1}: {error}{hint}", error.code) from None
        state = self._state
        state.step += 1
        state.loss_sum += loss
        state.correct += correct
        state.images += count
        self._steps += 1
        self.history.step_losses.append(loss)
        state.seconds += time.perf_counter() - start

    def _end_epoch(self, steps: int, rate: float, test: tuple[NDArray[Any], NDArray[Any]] | None) -> Epoch:
        state, record = self._state, _core.EpochRecord()
        record.train_loss = state.loss_sum / steps
        record.train_error = 1 - state.correct / max(1, state.images)
        record.test_error = self._share_of_errors(*test) if test is not None else -1.0
        record.learning_rate, record.seconds, record.images = rate, state.seconds, state.images
        state.records.append(record)
        state.loss_sum, state.seconds, state.correct, state.images = 0.0, 0.0, 0, 0
        self.history.append(_epoch(len(state.records), record))
        return self.history[-1]

    def _share_of_errors(self, images: NDArray[Any], labels: NDArray[Any]) -> float:
        model = Model(self._core.model(self._base._core, False))
        wrong = 0
        for first in range(0, len(images), _TEST_BATCH):
            x = self._inputs(images[first : first + _TEST_BATCH])
            scores = model.predict(x, batch=_TEST_BATCH, threads=self._options["threads"], backend="portable")
            rows = scores.reshape(len(x), -1)
            right = np.isfinite(rows).all(axis=1) & (rows.argmax(axis=1) == labels[first : first + _TEST_BATCH])
            wrong += int((~right).sum())
        return wrong / len(images)

    def __repr__(self) -> str:
        return (
            f"<sparsenet.Trainer of {self._base.name}: {self._options['optimizer']}, batch {self.batch}, "
            f"{len(self.trained_names)} of {len(self.parameter_names)} parameters trained, {self._steps} steps>"
        )


@dataclass
class _State:
    step: int = 0  # since fit() began
    records: list[Any] = field(default_factory=list)
    # Of the current epoch.
    loss_sum: float = 0.0
    seconds: float = 0.0
    correct: int = 0
    images: int = 0


class _Interrupts:
    def __init__(self) -> None:
        self.happened = False

    def __bool__(self) -> bool:
        return self.happened


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """The first Ctrl-C is noted, so that no step is cut in two; a second one raises KeyboardInterrupt at once."""
    noted = _Interrupts()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield noted
        return

    def note(number: int, frame: Any) -> None:
        noted.happened = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _epoch(number: int, record: Any) -> Epoch:
    return Epoch(
        epoch=number,
        train_loss=record.train_loss,
        train_error_percent=100 * record.train_error,
        test_error_percent=100 * record.test_error if record.test_error >= 0 else None,
        learning_rate=record.learning_rate,
        seconds=record.seconds,
        images_per_second=record.images / record.seconds if record.seconds > 0 else 0.0,
    )


def _epoch_text(record: Epoch, epochs: int) -> str:
    tested = "" if record.test_error_percent is None else f", test error {record.test_error_percent:.2f} %"
    return (
        f"epoch {record.epoch} of {epochs}: loss {record.train_loss:.4f}, train error "
        f"{record.train_error_percent:.2f} %{tested}, {record.images_per_second:.1f} images/s"
    )


def hash_text(text: str) -> str:
    return f"{_core.hash_array(np.frombuffer(text.encode(), np.uint8), 0):016x}"


def _hash(images: NDArray[Any], labels: NDArray[Any]) -> str:
    value = 0
    for array in (images, labels):
        value = _core.hash_array(np.ascontiguousarray(array).reshape(-1).view(np.uint8), value)
    return f"{value:016x}"
