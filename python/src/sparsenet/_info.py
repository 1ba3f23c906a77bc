"""What models, sessions and trainers say about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._show import Record, bytes_text, html_table, text_table


@dataclass(frozen=True)
class TensorSpec(Record):
    """An input or an output.

    Attributes:
        name: as in the model.
        type: ``"float32"``, ``"int8"`` or ``"uint8"``.
        shape: with the batch in front; images are [N, C, H, W].
        scale, zero_point: of integers: real = scale * (integer - zero_point). None: real numbers.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None

    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": self.name, "type": self.type, "shape": list(self.shape)}
        if self.scale is not None:
            fields.update(scale=self.scale, zero_point=self.zero_point)
        return fields


@dataclass(frozen=True)
class Metadata(Record):
    """What a model states about itself.

    Attributes:
        name: of the network.
        architecture: how :func:`sparsenet.create` makes the same network; empty for an imported one.
        provenance: where the weights come from.
        license: SPDX identifier or free text.
        labels: one per class, or none.
        color_order: ``"RGB"``, ``"BGR"`` or ``"GRAY"``.
        mean, std: per channel, for pixels of 0..255: x = (pixel - mean) / std; none: 0 and 1.
        resize: how images of other sizes are resized: ``"bilinear"`` or ``"bilinear-crop"``.
    """

    name: str = ""
    architecture: str = ""
    provenance: str = ""
    license: str = ""
    labels: tuple[str, ...] = ()
    color_order: str = "RGB"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str = "bilinear"

    def to_dict(self) -> dict[str, Any]:
        fields = super().to_dict()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


@dataclass(frozen=True)
class Memory(Record):
    """Bytes that a session has allocated.

    Attributes:
        arena_bytes: activations, inputs and outputs, of the whole batch.
        lower_bound_bytes: the largest sum of live activations over the steps: no plan can need less.
        scratch_bytes: working memory of the kernels, for all threads.
        weights_bytes: constants as the kernels keep them.
        total_bytes: all of it, with the kernels' own data.
    """

    arena_bytes: int
    lower_bound_bytes: int
    scratch_bytes: int
    weights_bytes: int
    total_bytes: int

    def _rows(self) -> list[tuple[str, str]]:
        return [(key, f"{value:,} ({bytes_text(value)})") for key, value in self.to_dict().items()]


@dataclass(frozen=True)
class ModelInfo(Record):
    """What a model holds and what it needs to run.

    The fields are those of ``sparsenet info --json``, except for the path, and the placement of a plugin's steps, which
    :attr:`Session.steps` has.
    """

    name: str
    parameters: int
    macs: int
    input_shape: tuple[int, ...]
    classes: int
    nodes: int
    steps: int
    copy_steps: int
    memory: Memory
    backend: str
    precision: str
    threads: int
    batch: int
    images_at_once: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Metadata
    test_vectors: int
    plans: tuple[dict[str, Any], ...]
    stored_plan: bool
    parameter_type: str

    def to_dict(self) -> dict[str, Any]:
        fields = dict(self.__dict__)
        fields["input_shape"] = list(self.input_shape)
        fields["memory"] = self.memory.to_dict()
        for key in ("inputs", "outputs"):
            fields[key] = [tensor.to_dict() for tensor in fields[key]]
        fields["metadata"] = self.metadata.to_dict()
        fields["plans"] = list(self.plans)
        return fields

    def _rows(self) -> list[tuple[str, str]]:
        def ports(tensors: tuple[TensorSpec, ...]) -> str:
            return "; ".join(f"{t.name} {list(t.shape)} {t.type}" for t in tensors)

        rows = [
            ("name", self.name),
            ("architecture", self.metadata.architecture),
            ("provenance", self.metadata.provenance),
            ("input", ports(self.inputs)),
            ("output", ports(self.outputs)),
            ("classes", f"{self.classes:,}"),
            ("parameters", f"{self.parameters:,} ({self.parameter_type})"),
            ("MACs", f"{self.macs:,} per image"),
            ("nodes, steps", f"{self.nodes} nodes, {self.steps} steps, {self.copy_steps} of them copies"),
            ("arena", bytes_text(self.memory.arena_bytes)),
            ("scratch", bytes_text(self.memory.scratch_bytes)),
            ("weights", bytes_text(self.memory.weights_bytes)),
        ]
        return [(key, value) for key, value in rows if value]


@dataclass(frozen=True)
class ProfiledStep(Record):
    """One step of a plan; ``ms`` is the median over the runs."""

    name: str
    op: str
    kernel: str
    backend: str
    ms: float
    macs: int
    is_copy: bool = False


@dataclass(frozen=True)
class Profile(Record):
    """Where the time goes, step by step; ``runs`` is how often the network ran."""

    steps: tuple[ProfiledStep, ...]
    runs: int

    @property
    def total_ms(self) -> float:
        """Sum of the steps' medians."""
        return sum(step.ms for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        keys = ("name", "op", "kernel", "backend", "ms", "macs")
        return {
            "steps": [{key: getattr(step, key) for key in keys} for step in self.steps],
            "copy_steps": sum(step.is_copy for step in self.steps),
            "total_ms": self.total_ms,
            "runs": self.runs,
        }

    def _table(self) -> tuple[list[str], list[list[str]]]:
        total = self.total_ms or 1.0
        rows = []
        for index, step in enumerate(self.steps):
            rate = f"{2e-6 * step.macs / step.ms:.1f}" if step.macs > 0 and step.ms > 0 else ""
            rows.append(
                [
                    str(index),
                    step.name,
                    step.op,
                    step.kernel,
                    step.backend,
                    f"{step.ms:.4f}",
                    f"{100 * step.ms / total:.1f} %",
                    rate,
                ]
            )
        rows.append(["", "all", "", "", "", f"{self.total_ms:.4f}", "100.0 %", ""])
        return ["step", "name", "op", "kernel", "backend", "ms", "share", "GFLOP/s"], rows

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


@dataclass(frozen=True)
class Device(Record):
    """A device of a backend; 0 stands for unknown."""

    name: str
    vendor: str
    driver: str
    units: int
    memory_bytes: int
    max_allocation_bytes: int


@dataclass(frozen=True)
class BackendInfo(Record):
    """A backend: part of the engine (``path`` is empty) or a plugin; ``problem`` says why there is no device."""

    name: str
    version: str
    path: str
    float16: bool
    problem: str
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class Prediction(Record):
    """A class that an image may show, with its probability."""

    label: str
    index: int
    probability: float

    def __str__(self) -> str:
        return f"{self.probability:.6f}: {self.index} {self.label}"


@dataclass(frozen=True)
class Comparison(Record):
    """One output of one test vector; ``max_relative_difference`` is max |found - expected| / max |expected|."""

    vector: int
    output: str
    max_abs_difference: float
    max_relative_difference: float
    tolerance: float
    passed: bool


@dataclass(frozen=True)
class Verification(Record):
    """Whether this machine computes what the model's test vectors say."""

    results: tuple[Comparison, ...]

    @property
    def passed(self) -> bool:
        """Whether every output of every vector is within its tolerance."""
        return all(result.passed for result in self.results)

    def __bool__(self) -> bool:
        return self.passed

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "results": [result.to_dict() for result in self.results]}

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                str(r.vector),
                r.output,
                f"{r.max_abs_difference:.3e}",
                f"{r.max_relative_difference:.3e}",
                f"{r.tolerance:.3e}",
                "ok" if r.passed else "FAILED",
            ]
            for r in self.results
        ]
        return ["vector", "output", "max abs diff", "max rel diff", "tolerance", "result"], rows

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())
