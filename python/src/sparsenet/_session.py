"""Sessions: networks that are ready to run."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._errors import Error
from ._info import Memory, Profile, ProfiledStep, TensorSpec
from ._show import Svg, bytes_text
from ._values import encoded, whole

if TYPE_CHECKING:
    from ._model import Model


def tensor_specs(entries: list[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(*entry) for entry in entries)


class Session:
    """A network planned for one batch size and bound to one backend; made by :meth:`Model.session`.

    All memory is allocated when it is made. Threads: several threads may call one session, which runs for one of them
    at a time; sessions are independent of each other and of their model, which may be deleted. The GIL is released
    while it computes. After ``os.fork()`` the child may go on using sessions, except those of plugins.

    Attributes:
        inputs, outputs: a :class:`TensorSpec` for each, with the session's batch.
        memory: the bytes that it has allocated.
        backend, precision, batch: as requested.
        threads: how many it uses.
        images_at_once: how many images of a batch are computed at once.
        stored_plan: whether it uses a plan from the model's file.
    """

    def __init__(self, model: Model, core: _core.Session, backend: str, precision: str, batch: int) -> None:
        self._core = core
        self._call = core.call
        self._name = model.name
        self.backend = backend
        self.precision = precision
        self.batch = batch
        self.inputs = tensor_specs(core.inputs)
        self.outputs = tensor_specs(core.outputs)
        m = core.memory
        self.memory = Memory(m.arena_bytes, m.lower_bound_bytes, m.scratch_bytes, m.weights_bytes, m.total_bytes)
        self.threads = core.threads
        self.images_at_once = core.images_at_once
        self.stored_plan = core.stored_plan

    def __call__(self, x: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Runs a network that has one input and one output.

        Args:
            x: the input in its own shape (images: NCHW) and type. float32 in C order is read as it is; other floating
                point types and orders are copied first. Tensors of other frameworks are taken through DLPack.
            out: where the output goes: a C-contiguous array of its shape and type. None: a new array.

        Returns:
            The output, with the batch in front.

        Raises:
            Error: x or out has another shape, or a type that cannot be meant (such as uint8 pixels).
        """
        return self._call(x, out)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Runs any network.

        Args:
            inputs: an array for each input, by name; as for calling the session.

        Returns:
            A new array for each output, by name.

        Raises:
            Error: an input is missing, unknown, or does not fit.
        """
        if not isinstance(inputs, Mapping):
            raise Error("expected a dict of names and arrays: run({'input': x}); session(x) takes one array alone")
        names = [spec.name for spec in self.inputs]
        unknown = [name for name in inputs if name not in names]
        missing = [name for name in names if name not in inputs]
        if unknown or missing:
            raise Error(
                f"expected the inputs {', '.join(map(repr, names))}, found {', '.join(map(repr, inputs)) or 'none'}"
            )
        arrays = self._core.run([inputs[name] for name in names], False)
        return {spec.name: array for spec, array in zip(self.outputs, arrays)}

    def profile(self, runs: int = 20, warmup: int = 3, x: Any = None) -> Profile:
        """Measures every step.

        Args:
            runs: how often the network is run; the time of a step is its median.
            warmup: runs before the measured ones.
            x: the input, or a list of inputs; None: random numbers.
        """
        runs, warmup = whole(runs, "runs", 1), whole(warmup, "warmup", 0)
        if x is None:
            random = np.random.default_rng(1)
            x = [random.uniform(-1, 1, spec.shape).astype(spec.type) for spec in self.inputs]
        elif len(self.inputs) == 1 and not isinstance(x, list):
            x = [x]
        times: list[list[float]] = []
        for run in range(-warmup, runs):
            self._core.run(x, True)
            if run >= 0:
                times.append([step.milliseconds for step in self._core.steps])
        steps = tuple(
            ProfiledStep(
                step.name,
                step.op,
                step.kernel,
                step.backend,
                statistics.median(run[i] for run in times),
                step.macs,
                step.is_copy,
            )
            for i, step in enumerate(self._core.steps)
        )
        return Profile(steps, runs)

    def plan_svg(self, path: str | os.PathLike[str] | None = None) -> Svg:
        """A drawing of the memory plan: steps from left to right, addresses upwards, a box for every buffer.

        Args:
            path: where it is also written to; None: nowhere.
        """
        drawing = Svg(self._core.plan_svg(encoded(self._name)))
        if path is not None:
            drawing.save(path)
        return drawing

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps of the plan, in order: name, op, kernel, backend, macs, is_copy, and why a step is not on a plugin."""
        keys = ("name", "op", "kernel", "backend", "macs", "is_copy", "reason")
        return [{key: getattr(step, key) for key in keys} for step in self._core.steps]

    def __repr__(self) -> str:
        ports = ", ".join(f"{t.name} {list(t.shape)}" for t in self.inputs)
        ends = ", ".join(f"{t.name} {list(t.shape)}" for t in self.outputs)
        return (
            f"<sparsenet.Session of {self._name}: {ports} -> {ends}; {self.backend}, {self.precision}, "
            f"{self.threads} thread{'s' if self.threads != 1 else ''}, {bytes_text(self.memory.total_bytes)}>"
        )
