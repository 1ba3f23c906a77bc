"""Types: the package and its examples pass mypy --strict, and everything public is documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sparsenet as sn
from conftest import SOURCE
from sparsenet import _core

PACKAGE = Path(sn.__file__).parent


def test_mypy_is_content(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    assert (PACKAGE / "py.typed").exists() and (PACKAGE / "_core.pyi").exists()
    examples = sorted((SOURCE / "python" / "examples").glob("*.py"))
    assert examples
    (tmp_path / "mypy.ini").write_text("[mypy]\n")
    words = ["--strict", "--cache-dir", str(tmp_path), "--no-error-summary"]
    for name in ("sklearn", "torch", "torchvision", "keras", "tensorflow", "h5py", "PIL", "onnx"):
        (tmp_path / "mypy.ini").open("a").write(
            f"[mypy-{name}.*]\nignore_missing_imports = True\nfollow_imports = skip\n"
        )
    words += ["--config-file", str(tmp_path / "mypy.ini")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words, str(PACKAGE), *map(str, examples)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_public_is_documented() -> None:
    missing = []
    for name in sn.__all__:
        if name == "SparseNetClassifier":
            continue
        part = getattr(sn, name)
        if not inspect.getdoc(part):
            missing.append(name)
        for key, value in vars(part).items() if inspect.isclass(part) else ():
            documented = callable(value) or isinstance(value, property)
            if not key.startswith("_") and documented and not inspect.getdoc(value):
                missing.append(f"{name}.{key}")
    assert not missing


def test_the_stub_is_that_of_the_module() -> None:
    tree = ast.parse((PACKAGE / "_core.pyi").read_text())

    def names(body: list[ast.stmt]) -> set[str]:
        found = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        found |= {
            node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        return {name for name in found if not name.startswith("_")}

    assert names(tree.body) == {name for name in dir(_core) if not name.startswith("_")}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            part = getattr(_core, node.name)
            assert names(node.body) == {name for name in dir(part) if not name.startswith("_")}, node.name
