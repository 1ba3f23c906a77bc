"""`python -m sparsenet`: the same programs, with their exit codes and signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sparsenet as sn


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "sparsenet", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def test_version_and_help() -> None:
    assert run("--version").stdout == f"sparsenet {sn.__version__}\n"
    assert "sparsenet classify" in run("--help").stdout
    assert "sparsenet-convert" in run("convert", "--help").stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["frobnicate"], 2, "unknown command 'frobnicate'"),
        (["info"], 2, "error: "),
        (["info", "nowhere.snet"], 1, "error: nowhere.snet"),
        (["convert", "nowhere.onnx", "-o", "x.snet"], 1, "nowhere.onnx"),
        (["convert"], 2, "error: "),
    ],
)
def test_failures(words: list[str], code: int, text: str, tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == code and text in done.stderr and not list(tmp_path.iterdir())


def test_from_one_program_to_the_other(tmp_path: Path, samples: list[Path]) -> None:
    assert run("create", "resnet20", "-o", "a.snet", cwd=tmp_path).returncode == 0
    done = run("convert", "a.snet", "-o", "b.snet", "--plan", "portable-f32", cwd=tmp_path)
    assert done.returncode == 0 and "portable-f32" in done.stdout
    assert run("classify", "b.snet", samples[0], cwd=tmp_path).stdout.startswith(str(samples[0]))


def test_output_that_is_cut_off(trained_path: Path) -> None:
    process = subprocess.Popen(
        f"{sys.executable} -m sparsenet profile {trained_path} --runs 1 | head -n 1", shell=True, stderr=subprocess.PIPE
    )
    assert process.communicate(timeout=60)[1] == b""


def test_signals_end_a_command(trained_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sparsenet", "bench", str(trained_path), "--runs", "10000000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
