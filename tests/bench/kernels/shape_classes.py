#!/usr/bin/env python3
"""Compares our kernels with oneDNN's, one class of shapes at a time.

usage: shape_classes.py MODEL.snet... [--bin DIR] [--threads N] [--runs N] [--rounds N] [--steps | --kernels]

Profiles each network with the backends `portable` and `onednn` in turns and takes every step's fastest median. Steps
with the same kernel of ours and as many multiply-accumulates are one class, named after the first of them. The table
shows the classes that take at least 1 % of a network's time: milliseconds of both, and how many times as fast ours are.
--steps prints every step instead, --kernels one row per kernel.
Needs nothing but Python's standard library.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(HERE, "..", "..", "..", "build", "release", "bin")


def profile(arguments, model, backend):
    command = [os.path.join(arguments.bin, "sparsenet"), "profile", model, "--json", "--threads", str(arguments.threads),
               "--backend", backend, "--runs", str(arguments.runs), "--warmup", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"shape_classes: {model}, {backend}: {done.stderr.strip()}")
    return json.loads(done.stdout)["steps"]


def measure(arguments, model):
    """Steps of both backends, in the same order."""
    best = {}
    for _ in range(arguments.rounds):
        for backend in ("portable", "onednn"):
            steps = profile(arguments, model, backend)
            kept = best.setdefault(backend, steps)
            for step, other in zip(kept, steps):
                step["ms"] = min(step["ms"], other["ms"])
    if [s["name"] for s in best["portable"]] != [s["name"] for s in best["onednn"]]:
        sys.exit(f"shape_classes: {model}: the two backends run different steps")
    return best["portable"], best["onednn"]


def class_of(step, arguments):
    kernel = step["kernel"].split("_f32")[0]
    return step["name"] if arguments.steps else kernel if arguments.kernels else (kernel, step["macs"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--bin", default=BIN)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--kernels", action="store_true")
    arguments = parser.parse_args()
    for model in arguments.models:
        ours, onednn = measure(arguments, model)
        total = sum(s["ms"] for s in ours)
        print(f"\n{os.path.basename(model)}: {total:.2f} ms, with oneDNN {sum(s['ms'] for s in onednn):.2f} ms\n")
        print("| class | steps | ours, ms | oneDNN's, ms | ours are | GFLOP/s |\n| --- | --- | --- | --- | --- | --- |")
        rows = {}
        for mine, other in zip(ours, onednn):
            if not other["kernel"].endswith("onednn"):
                continue  # both backends run the same kernel
            label = mine["kernel"].split("_f32")[0] + ("" if arguments.kernels else " " + mine["name"])
            row = rows.setdefault(class_of(mine, arguments), [label, 0, 0.0, 0.0, 0])
            row[1] += 1
            row[2] += mine["ms"]
            row[3] += other["ms"]
            row[4] += mine["macs"]
        for label, count, mine, other, macs in sorted(rows.values(), key=lambda row: -row[2]):
            if mine >= 0.01 * total:
                speed = f"{2e-6 * macs / mine:.0f}" if macs else ""
                print(f"| {label} | {count} | {mine:.3f} | {other:.3f} | {other / mine:.2f} x | {speed} |")


if __name__ == "__main__":
    main()
