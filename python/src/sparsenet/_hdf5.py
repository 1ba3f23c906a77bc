"""Reads the HDF5 files of Keras with the package h5py.

libhdf5 may crash on damaged files. It therefore reads them in a process of its own, which is given the file on its
standard input and answers with a header in JSON and the elements of all datasets.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from typing import Any

_FLOATS = ("float16", "float32", "float64")


def read(
    data: bytes, attributes: list[str], series: list[str], skipped: list[str], room: int
) -> tuple[str, list[tuple[str, list[int], str, bytes]], list[tuple[str, str, list[str]]]]:
    """Returns (problem, datasets, attributes of groups), as the converter wants them; the problem is empty if none.

    `room`: the most bytes that the file's contents may take.
    """
    import importlib.util

    if importlib.util.find_spec("h5py") is None:
        return "Keras files are read by the package h5py: pip install h5py", [], []
    wanted = json.dumps(
        {"attributes": attributes, "series": series, "skipped": skipped, "room": room, "path": sys.path}
    )
    try:
        child = subprocess.run(
            [sys.executable or "python3", "-I", __file__, wanted],
            input=data,
            capture_output=True,
            timeout=60 + len(data) / 1e7,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"h5py cannot read the file: {error}", [], []
    if child.returncode != 0:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"damaged HDF5 file ({lines[-1] if lines else 'h5py ended without a word'})", [], []
    end = child.stdout.index(b"\n")
    header = json.loads(child.stdout[:end])
    datasets = []
    at = end + 1
    for path, shape, kind, size in header["datasets"]:
        datasets.append((path, shape, kind, child.stdout[at : at + size]))
        at += size
    return header["problem"], datasets, [tuple(entry) for entry in header["attributes"]]


def _walk(group: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    import h5py
    import numpy as np

    header: dict[str, Any] = {"problem": "", "datasets": [], "attributes": []}
    elements: list[bytes] = []
    series = [re.compile(re.escape(name) + r"\d+$") for name in wanted["series"]]
    seen: set[Any] = set()
    left = wanted["room"]

    def texts(value: Any) -> list[str] | None:
        values = list(value.ravel()) if isinstance(value, np.ndarray) else [value]
        out = []
        for entry in values:
            if isinstance(entry, bytes):
                entry = entry.decode("utf-8", "replace")
            if not isinstance(entry, str):
                return None
            out.append(entry)
        return out

    def visit(node: Any, path: str) -> None:
        nonlocal left
        for name, value in node.attrs.items():
            if name in wanted["attributes"] or any(pattern.match(name) for pattern in series):
                found = texts(value)
                if found is not None:
                    header["attributes"].append([path, name, found])
        for name in sorted(node.keys()):
            below = f"{path}/{name}" if path else name
            if below in wanted["skipped"]:
                continue
            link = node.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"'{below}': expected a dataset or a group, found a link to another place")
            child = node[name]
            mark = h5py.h5o.get_info(child.id).addr
            if mark in seen:
                raise ValueError(f"'{below}': is reached twice")
            seen.add(mark)
            if isinstance(child, h5py.Group):
                visit(child, below)
            elif isinstance(child, h5py.Dataset):
                kind = child.dtype.name
                if child.external:
                    raise ValueError(f"'{below}': its elements are in another file")
                if kind not in _FLOATS and child.dtype.kind not in "iu":
                    raise ValueError(f"'{below}': expected numbers, found {child.dtype}")
                left -= child.size * child.dtype.itemsize
                if left < 0:
                    raise ValueError(f"'{below}': {list(child.shape)} of {kind} is more than the memory that is left")
                data = child[()].astype(child.dtype.newbyteorder("<")).tobytes() if kind in _FLOATS else b""
                header["datasets"].append([below, list(child.shape), kind if kind in _FLOATS else "int64", len(data)])
                elements.append(data)

    try:
        visit(group, "")
    except ValueError as error:
        return {"problem": str(error), "datasets": [], "attributes": [], "elements": []}
    header["elements"] = elements
    return header


def _main() -> None:
    import resource

    wanted = json.loads(sys.argv[1])
    sys.path[:] = wanted["path"]
    import h5py

    # Whatever a damaged file makes the library ask for.
    file_bytes = sys.stdin.buffer.read()
    most = (1 << 30) + 2 * min(wanted["room"], 1 << 40) + 4 * len(file_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with h5py.File(io.BytesIO(file_bytes), "r") as file:
        result = _walk(file, wanted)
    elements = result.pop("elements")
    sys.stdout.buffer.write(json.dumps(result).encode() + b"\n")
    for data in elements:
        sys.stdout.buffer.write(data)


if __name__ == "__main__":
    _main()
