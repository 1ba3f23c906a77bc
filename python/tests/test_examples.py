"""The examples run, and print what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparsenet as sn
from conftest import SOURCE, torch_or_skip

EXAMPLES = SOURCE / "python" / "examples"


def test_fine_tuning_on_a_folder(tmp_path: Path, random: np.random.Generator) -> None:
    image = pytest.importorskip("PIL.Image")
    for channel, name in enumerate(["red", "green", "blue"]):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(40):
            pixels = random.integers(0, 100, (40, 30, 3)).astype(np.uint8)
            pixels[:, :, channel] += 120
            image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    words = [SOURCE / "models" / "sparsenet-abc-v0.snet", "photos", "tuned.snet"]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "fine_tune_folder.py", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "test error %" in done.stdout and "epoch 20 of 20" in done.stderr
    tuned = sn.load(tmp_path / "tuned.snet")
    assert tuned.labels == ("blue", "green", "red") and tuned.verify().passed
    answers = tuned.classify(sorted((tmp_path / "photos").glob("*/*.png")), top=1)
    assert np.mean([a[0].label == name for a, name in zip(answers, np.repeat(["blue", "green", "red"], 40))]) > 0.9


def test_from_torch_to_a_board(tmp_path: Path) -> None:
    torch_or_skip()
    pytest.importorskip("torchvision")
    done = subprocess.run(
        [sys.executable, EXAMPLES / "torch_to_cortex_m.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "firmware").iterdir()} == {
        "net.snet",
        "net.c",
        "net.h",
        "sparsenet_kernels.cpp",
    }
    assert sn.load(tmp_path / "firmware" / "net.snet").verify().passed


def test_the_notebook() -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    kinds = [list(output.get("data", {})) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/svg+xml" in kind for kind in kinds) == 2 and sum("text/html" in kind for kind in kinds) >= 3
