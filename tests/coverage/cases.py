#!/usr/bin/env python3
"""Converts small networks, runs them and compares their outputs with what another framework computed; prints a table.

    cases.py FOLDER [--build BUILD] [--only TEXT] [-- OPTIONS OF sparsenet-convert]

FOLDER holds NAME.onnx and NAME.npz: the arrays `in.X` are inputs, `out.Y` the outputs that are expected. Networks with
images [N, H, W, C] are given these: `sparsenet run` takes either order. Needs NumPy alone. The exit code is 1 if a
network is wrong; refused ones are only counted.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

TOLERANCE = 1e-4
# What users would say for these networks on the command line.
OPTIONS = {
    "dynamic_hw": ["--input-shape"],  # the shape is taken from the case's input
}


def options_of(name, arrays):
    options = []
    for option in OPTIONS.get(name, []):
        for key in arrays.files:
            if option == "--input-shape" and key.startswith("in."):
                options += [option, key[3:] + "=" + ",".join(str(size) for size in arrays[key].shape)]
    return options


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)


def first_reason(text):
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("note:")]
    return lines[1] if len(lines) > 1 and lines[0].startswith("error: ") and "problem" in lines[0] else lines[-1]


def check(case, programs, folder, extra):
    """(outcome, remark): equal, wrong, refused or fails."""
    arrays = np.load(case.with_suffix(".npz"))
    model = folder / "net.snet"
    converted = run([programs / "sparsenet-convert", case, "-o", model] + options_of(case.stem, arrays) + extra)
    if converted.returncode != 0:
        return "refused", first_reason(converted.stderr)
    info = json.loads(run([programs / "sparsenet", "info", model, "--json"]).stdout)
    names = [key[4:] for key in arrays.files if key.startswith("out.")]
    known = [output["name"] for output in info["outputs"]]
    command = [programs / "sparsenet", "run", model]
    for number, key in enumerate(key for key in arrays.files if key.startswith("in.")):
        np.save(folder / f"in{number}.npy", arrays[key].astype(np.float32))
        command += ["-i", f"{key[3:]}={folder}/in{number}.npy"]
    found = [name for name in names if name in known]
    for number, name in enumerate(found):
        command += ["-o", f"{name}={folder}/out{number}.npy"]
    ran = run(command)
    if ran.returncode != 0:
        return "fails", first_reason(ran.stderr)
    worst = 0.0
    for number, name in enumerate(found):
        expected, got = arrays["out." + name].astype(np.float64), np.load(folder / f"out{number}.npy").astype(np.float64)
        if expected.size != got.size:
            return "wrong", f"{name}: expected {expected.shape}, found {got.shape}"
        largest = max(1e-6, np.abs(expected).max(initial=0))
        worst = max(worst, np.abs(expected.ravel() - got.ravel()).max(initial=0) / largest)
    left = sorted(set(names) - set(found))
    remark = f"{worst:.1e}" + (f", without {', '.join(left)}" if left else "")
    return ("equal" if worst <= TOLERANCE and found else "wrong"), remark


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("convert", nargs="*", help="more options of sparsenet-convert, after --")
    arguments = parser.parse_args()
    counts = {}
    for case in sorted(arguments.folder.glob("*.onnx")):
        if arguments.only not in case.stem or not case.with_suffix(".npz").exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcome, remark = check(case, arguments.build / "bin", pathlib.Path(folder), arguments.convert)
        counts[outcome] = counts.get(outcome, 0) + 1
        print(f"{case.stem:24} {outcome:8} {remark}")
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())))
    return 1 if counts.get("wrong") or counts.get("fails") else 0


if __name__ == "__main__":
    sys.exit(main())
