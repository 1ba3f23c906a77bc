#!/usr/bin/env python3
"""Compares training with PyTorch: images per second and peak resident memory, fp32, the same network, data and recipe.

    bench_train.py [--archs A,B] [--engines X,Y] [--rounds N] [--steps N] [--batch N] [--threads N] [--bin DIR] [--out DIR]

Every measurement is a separate process. A round measures every engine once, and rounds follow each other, so that
other load on the machine affects all of them; the table has the medians. Writes results.json and results.md.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.path[:0] = [os.path.join(HERE, "..", "peers"), os.path.join(HERE, "..", "..", "goldens", "train")]

from bench import cpu_name, wait_for_quiet  # noqa: E402
import train_data  # noqa: E402

VENV = os.path.expanduser("~/.cache/sparsenet-peers/bin/python")
ENGINES = {  # name -> interpreter, environment, options of torch_worker.py; ours is run through its command line
    "ours": None,
    "torch-debian": ("/usr/bin/python3", {"ATEN_CPU_CAPABILITY": "avx512"}, []),
    "torch-pip": (VENV, {}, []),
    "torch-pip-compiled": (VENV, {}, ["--compile"]),
}


class Failure(Exception):
    pass


def run(command, environment):
    done = subprocess.run(command, env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Failure(lines[-1][:200])
    return json.loads(done.stdout.strip().splitlines()[-1] if "torch" in command[1] else done.stdout)


def measure_torch(name, arch, data, args):
    python, environment, options = ENGINES[name]
    if not os.path.exists(python):
        raise Failure(f"no {python}")
    command = [python, os.path.join(HERE, "torch_worker.py"), arch, *data, "--batch", str(args.batch), "--threads",
               str(args.threads), "--warmup", str(args.warmup), "--steps", str(args.steps), *options]
    return run(command, dict(environment, OMP_NUM_THREADS=str(args.threads)))


def measure_ours(arch, data, args, folder):
    """Two epochs; the second counts, as PyTorch's steps after its warm-up do."""
    tool = os.path.join(args.bin, "sparsenet")
    if not os.path.exists(tool):
        raise Failure(f"no {tool}")
    command = [tool, "train", arch, "--data", f"npy:{data[0]},{data[1]}", "-o", os.path.join(folder, "trained.snet"),
               "--epochs", "2", "--batch", str(args.batch), "--threads", str(args.threads), "--augment", "none",
               "--schedule", "constant", "--lr", "0.1", "--seed", "1", "--json"]
    found = run(command, {})
    memory = found["memory"]
    return {"version": "", "images_per_second": found["epochs"][-1]["images_per_second"],
            "start_rss_bytes": memory["start_rss_bytes"], "peak_rss_bytes": memory["peak_rss_bytes"],
            "arena_bytes": memory["arena_bytes"]}


def table(results, archs, engines, args):
    lines = [f"Batch {args.batch}, {args.threads} threads, {cpu_name()}, {datetime.date.today()}; medians of "
             f"{args.rounds} rounds of {args.steps} steps.", "",
             "| network | engine | images/s (lowest, highest) | peak RSS, MB | of it before the first step |",
             "| --- | --- | --- | --- | --- |"]
    for arch in archs:
        for engine in engines:
            good = [r for r in results if r["arch"] == arch and r["engine"] == engine and "error" not in r]
            if not good:
                errors = [r["error"] for r in results if r["arch"] == arch and r["engine"] == engine]
                lines.append(f"| {arch} | {engine} | {errors[0] if errors else 'not measured'} | | |")
                continue
            speed = [r["images_per_second"] for r in good]
            peak = statistics.median(r["peak_rss_bytes"] for r in good) / 1e6
            start = statistics.median(r["start_rss_bytes"] for r in good) / 1e6
            version = f" {good[0]['version']}" if good[0]["version"] else ""
            lines.append(f"| {arch} | {engine}{version} | {statistics.median(speed):.1f} ({min(speed):.1f}, "
                         f"{max(speed):.1f}) | {peak:.0f} | {start:.0f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", default="sparsenet-abc-v1,sparsenet-abc-v0")
    parser.add_argument("--engines", default=",".join(ENGINES), help="of " + ", ".join(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2, help="steps of PyTorch that do not count")
    parser.add_argument("--steps", type=int, default=10, help="steps that count; for ours, the length of an epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quiet", type=float, default=30, help="seconds to wait for an idle machine, each time")
    parser.add_argument("--bin", default=os.path.join(REPOSITORY, "build", "release", "bin"))
    parser.add_argument("--out", default=os.path.expanduser("~/.cache/sparsenet-train-bench"))
    args = parser.parse_args()
    engines, archs = args.engines.split(","), args.archs.split(",")
    unknown = [e for e in engines if e not in ENGINES]
    if unknown:
        parser.error(f"unknown engine {unknown[0]}; known: {', '.join(ENGINES)}")
    os.makedirs(args.out, exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        count = args.steps * args.batch
        data = [os.path.join(folder, "images.npy"), os.path.join(folder, "labels.npy")]
        np.save(data[0], train_data.images(count, 10))
        np.save(data[1], train_data.labels(count, 10).astype(np.int32))
        for number in range(args.rounds):
            for arch in archs:
                for engine in engines:
                    load = wait_for_quiet(args.quiet)
                    try:
                        if engine == "ours":
                            found = measure_ours(arch, data, args, folder)
                        else:
                            found = measure_torch(engine, arch, data, args)
                    except Failure as failure:
                        found = {"error": str(failure)}
                    results.append(dict(found, arch=arch, engine=engine, round=number, load_before=load))
                    said = found.get("error") or f"{found['images_per_second']:.1f} images/s"
                    print(f"round {number + 1}, {arch}, {engine}: {said} (load before: {load})", flush=True)
    with open(os.path.join(args.out, "results.json"), "w") as f:
        json.dump(results, f, indent=1)
    text = table(results, archs, engines, args)
    with open(os.path.join(args.out, "results.md"), "w") as f:
        f.write(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
