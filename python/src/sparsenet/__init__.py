"""SparseNet Engine: runs and fine-tunes convolutional networks on CPUs.

    import sparsenet as sn

    model = sn.convert("resnet.onnx", normalize="imagenet", labels="classes.txt")
    print(model.classify(["cat.jpg"], top=3))

    session = model.session(threads=1)
    y = session(x)                      # x: float32 NCHW; NumPy, or anything that speaks DLPack

docs/python.md is a tour. What is computed, and how fast, is the same as from C++ and from the command line, which this
package installs too (``sparsenet``, ``sparsenet-convert``).
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from . import _core
from ._convert import ConversionReport, convert
from ._errors import ConversionError, EngineWarning, Error
from ._frameworks import from_keras, from_torch
from ._info import (
    BackendInfo,
    Comparison,
    Device,
    Memory,
    Metadata,
    ModelInfo,
    Prediction,
    Profile,
    ProfiledStep,
    TensorSpec,
    Verification,
)
from ._model import Model, architectures, create, load, quantize
from ._session import Session
from ._show import Svg
from ._training import Epoch, History, Loss, Trainer, TrainMemory

if TYPE_CHECKING:
    from ._estimator import SparseNetClassifier

__version__: str = _core.version()

# Threads that are inside the engine when the interpreter ends must not come back to it.
atexit.register(_core.close_down)

__all__ = [
    "BackendInfo",
    "Comparison",
    "ConversionError",
    "ConversionReport",
    "Device",
    "EngineWarning",
    "Epoch",
    "Error",
    "History",
    "Loss",
    "Memory",
    "Metadata",
    "Model",
    "ModelInfo",
    "Prediction",
    "Profile",
    "ProfiledStep",
    "Session",
    "Svg",
    "TensorSpec",
    "TrainMemory",
    "Trainer",
    "Verification",
    "architectures",
    "convert",
    "create",
    "devices",
    "from_keras",
    "from_torch",
    "load",
    "quantize",
    "usable_cpus",
]


def devices() -> list[BackendInfo]:
    """All backends: those of the engine, and plugins with their devices."""
    return [
        BackendInfo(**{**entry, "devices": tuple(Device(**device) for device in entry["devices"])})
        for entry in _core.backends()
    ]


def usable_cpus() -> int:
    """How many CPUs this process may use: the default number of threads."""
    return _core.usable_cpus()


def __getattr__(name: str) -> Any:
    # scikit-learn takes half a second to import, and only this class needs it.
    if name == "SparseNetClassifier":
        try:
            from ._estimator import SparseNetClassifier
        except ImportError as error:
            raise AttributeError(
                f"SparseNetClassifier needs scikit-learn ({error}): pip install scikit-learn"
            ) from None
        return SparseNetClassifier
    raise AttributeError(f"module 'sparsenet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "SparseNetClassifier"])
