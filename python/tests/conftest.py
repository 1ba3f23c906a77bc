"""What the tests share: a small network, images, and where the sources are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsenet as sn

# Processes that tests start find the same package.
os.environ["PYTHONPATH"] = str(Path(sn.__file__).resolve().parents[1])

SOURCE = Path(__file__).resolve().parents[2]
GOLDENS = SOURCE / "tests" / "goldens" / "data"


def torch_or_skip() -> Any:
    """PyTorch; skips the test where there is none, or one that does not work with this version of NumPy."""
    torch = pytest.importorskip("torch")
    try:
        torch.zeros(1).numpy()
    except RuntimeError as error:
        pytest.skip(f"PyTorch {torch.__version__} and NumPy {np.__version__}: {error}")
    return torch


def golden_cases(kind: str) -> list[dict[str, Any]]:
    manifest = GOLDENS / "manifest.json"
    return (
        [case for case in json.loads(manifest.read_text())["cases"] if case["kind"] == kind]
        if manifest.exists()
        else []
    )


def relative_difference(found: Any, expected: Any) -> float:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    return float(np.abs(found - expected).max() / max(1e-6, np.abs(expected).max()))


@pytest.fixture(scope="session")
def trained() -> sn.Model:
    """The trained SparseNet of the repository: CIFAR-10, with labels and normalisation."""
    return sn.load(SOURCE / "models" / "sparsenet-abc-v0.snet")


@pytest.fixture(scope="session")
def trained_path() -> Path:
    return SOURCE / "models" / "sparsenet-abc-v0.snet"


@pytest.fixture(scope="session")
def samples() -> list[Path]:
    return sorted((SOURCE / "samples").glob("*.png"))


@pytest.fixture
def small() -> sn.Model:
    """A tiny network with random weights: 3 classes, images of 8 x 8."""
    return sn.create("sparsenet-abc:blocks=1-1-1,k=4,path=2,keep=1-1,image-size=8", classes=3, seed=1)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def shapes(random: np.random.Generator, count: int, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Bright squares at the left, in the middle or at the right: uint8 [N, size, size, 3] with labels 0, 1, 2."""
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, size, size, 3)).astype(np.uint8)
    for image, label in zip(images, labels):
        left = int(label) * (size // 3)
        image[2 : size - 2, left : left + size // 3] += 150
    return images, labels
