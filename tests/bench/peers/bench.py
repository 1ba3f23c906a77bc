#!/usr/bin/env python3
"""Compares the engine's speed with that of its peers, on the same weights and the same input.

    bench.py [--archs A,B] [--threads 1,2] [--rounds N] [--runs N] [--batch N] [--engines X,Y] [--out DIR]

Run it with the Python of setup.sh's environment. It writes results.json and results.md to DIR.

Every measurement is a separate process, so that no two engines' thread pools share one. A round measures every engine
once, and rounds follow each other, so that other load on the machine affects all of them. A cell of the table is the
fastest run of all rounds and, after the slash, the median of the rounds' medians.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
DEFAULT_ARCHS = "sparsenet-abc-v1,sparsenet-abc-v4,densenet-bc-100-12"
PEERS = {  # row of the table -> the ways of running it, of which the best counts
    "ONNX Runtime": ["onnxruntime"],
    "OpenVINO": ["openvino", "openvino-unpinned"],
    "MNN": ["mnn", "mnn-normal"],
    "ncnn": ["ncnn"],
    "PyTorch": ["torch-eager", "torch-jit"],
}
DEFAULT_ENGINES = "ours,onnxruntime,openvino,openvino-unpinned,mnn,ncnn,torch-eager,torch-jit"
ACCURATE = 1e-4  # an engine that differs more from float64 did not run in fp32, and its time does not count


def busy_cpus(seconds):
    """Measures for a moment how many CPUs the machine keeps busy."""

    def read():
        with open("/proc/stat") as f:
            values = [int(v) for v in f.readline().split()[1:9]]
        return values[3] + values[4], sum(values)

    idle_0, total_0 = read()
    time.sleep(seconds)
    idle_1, total_1 = read()
    return (1 - (idle_1 - idle_0) / max(1, total_1 - total_0)) * os.cpu_count()


def wait_for_quiet(patience):
    """Waits until the machine is quiet, for at most `patience` seconds; returns the last load."""
    end = time.monotonic() + patience
    load = busy_cpus(0.4)
    while load > 0.3 and time.monotonic() < end:
        load = busy_cpus(0.4)
    return round(load, 2)


def runs_for(macs, runs, batch):
    """Fewer runs of the slow networks."""
    return max(10, min(runs, int(runs * 4e8 / (macs * batch))))


class Failure(Exception):
    pass


def measure_peer(name, folder, threads, warmup, runs):
    out = os.path.join(tempfile.gettempdir(), f"peer-{os.getpid()}.json")
    command = [sys.executable, os.path.join(HERE, "worker.py"), name, folder, str(threads), str(warmup), str(runs), out]
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        lines = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        raise Failure(lines[-1])
    with open(out) as f:
        result = json.load(f)
    os.remove(out)
    times = result.pop("times_ms")
    result["min_ms"], result["median_ms"] = min(times), statistics.median(times)
    return result


class Ours:
    """The engine through its own command line. Variants are its backends: `ours` is auto, `ours-onednn`, and so on."""

    def __init__(self, folder):
        self.folder = folder
        self.errors = {}

    def tool(self, *arguments):
        command = [os.path.join(self.folder, arguments[0]), *arguments[1:]]
        if not os.access(command[0], os.X_OK):
            raise Failure(f"{arguments[0]} is not built")
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Failure((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0])
        return done.stdout

    def prepare(self, arch, folder):
        source = [f"{folder}/net.pth", "--arch", arch]
        if arch.startswith("torchvision/"):
            source = [f"{folder}/net.onnx"]
        self.tool("sparsenet-convert", *source, "-o", f"{folder}/net.snet")

    def measure(self, name, folder, threads, batch, warmup, runs):
        model = f"{folder}/net.snet"
        if not os.path.exists(model):
            raise Failure("the weights were not converted")
        options = ["--threads", str(threads), "--backend", name[5:] or "auto"]
        key = (name, folder, threads)
        if key not in self.errors:
            out = f"{folder}/ours.npy"
            self.tool("sparsenet", "run", model, "--input", f"{folder}/input.npy", "--output", out, *options)
            expected = np.load(f"{folder}/expected.npy")
            self.errors[key] = float(np.abs(np.load(out) - expected).max() / np.abs(expected).max())
        counts = ["--batch", str(batch), "--warmup", str(warmup), "--runs", str(runs)]
        found = json.loads(self.tool("sparsenet", "bench", model, *counts, "--json", *options))
        return {
            "version": found.get("backend", ""), "import_ms": 0.0, "load_ms": found["load_ms"],
            "first_run_ms": found["first_run_ms"], "error": self.errors[key],
            "peak_rss_bytes": found["peak_rss_bytes"], "rss_before_bytes": 0,
            "min_ms": found["latency_ms"]["min"], "median_ms": found["latency_ms"]["p50"],
        }


def summarise(rounds):
    return {
        "min_ms": min(r["min_ms"] for r in rounds),
        "median_ms": statistics.median(r["median_ms"] for r in rounds),
        "error": max(r["error"] for r in rounds),
        "import_ms": min(r["import_ms"] for r in rounds),
        "start_ms": min(r["load_ms"] + r["first_run_ms"] for r in rounds),
        "peak_rss_bytes": min(r["peak_rss_bytes"] for r in rounds),
        "own_rss_bytes": min(r["peak_rss_bytes"] - r["rss_before_bytes"] for r in rounds),
        "version": rounds[0]["version"],
    }


def table(results, archs, threads, engines, batch):
    """One Markdown table. Accurate variants only; the best of a row's variants in each column."""
    rows = {"SparseNet Engine" + e[4:].replace("-", ", "): [e] for e in engines if e.startswith("ours")}
    rows.update({row: [v for v in variants if v in engines] for row, variants in PEERS.items()})
    columns = [(a, t) for a in archs for t in threads]
    lines = ["| engine | " + " | ".join(f"{a}, {t} thread{'s' * (t > 1)}" for a, t in columns)
             + f" | largest error | start, ms ({archs[0]}) | peak RSS, MB ({archs[0]}) |"]
    lines.append("| --- |" + " --- |" * (len(columns) + 3))
    best = {}
    cells = {}
    for row, variants in rows.items():
        for column in columns:
            found = [results[(column[0], v, column[1])] for v in variants if (column[0], v, column[1]) in results]
            found = [f for f in found if f["error"] <= ACCURATE]
            if found:
                cells[row, column] = min(found, key=lambda f: f["min_ms"])
                if row in PEERS:
                    best[column] = min(best.get(column, 1e9), cells[row, column]["min_ms"])
    for row, variants in rows.items():
        line = []
        for column in columns:
            cell = cells.get((row, column))
            text = "-" if cell is None else f"{cell['min_ms']:.2f} / {cell['median_ms']:.2f}"
            line.append(f"**{text}**" if cell and cell["min_ms"] <= best.get(column, 0) else text)
        mine = [r for (a, v, t), r in results.items() if v in variants]
        if not mine:
            continue
        used = [cells[row, c] for c in columns if (row, c) in cells]
        first = cells.get((row, (archs[0], threads[0])))
        version = mine[0]["version"]
        line.append(f"{max(c['error'] for c in used):.0e}" if used else f"{max(r['error'] for r in mine):.0e}: not fp32")
        line.append("-" if first is None else f"{first['start_ms']:.0f}")
        memory = None if first is None else (first["peak_rss_bytes"] / 1e6, first["own_rss_bytes"] / 1e6)
        line.append("-" if memory is None else "%.0f (%.0f)" % memory)
        lines.append(f"| {row} ({version}) | " + " | ".join(line) + " |")
    note = (f"Batch {batch}, fp32, milliseconds: fastest run / median of the rounds' medians. Bold: the best peer and "
            "whatever beats it. Error: largest difference from float64, relative to the largest logit. Start: load, prepare "
            "and first run in a fresh process, without the library's own loading. Peak RSS in brackets: without what Python "
            "and NumPy held before.")
    return "\n".join(lines) + "\n\n" + note + "\n"


def cpu_name():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> int:
    cache = os.path.expanduser("~/.cache/sparsenet-peers-bench")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archs", default=DEFAULT_ARCHS)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=60, help="timed runs per measurement (fewer for large networks)")
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1)
    known = "ours, ours-BACKEND, " + ", ".join(sum(PEERS.values(), []))
    parser.add_argument("--engines", default=DEFAULT_ENGINES, help="of " + known)
    parser.add_argument("--bin", default=os.path.join(REPOSITORY, "build", "release", "bin"), help="our binaries")
    parser.add_argument("--work", default=cache, help="where converted networks are kept")
    parser.add_argument("--out", default=cache, help="where results.json and results.md go")
    parser.add_argument("--quiet", type=float, default=15, metavar="SECONDS", help="how long to wait for an idle machine")
    parser.add_argument("--fresh", action="store_true", help="make the networks' files again")
    args = parser.parse_args()
    archs, engines = args.archs.split(","), args.engines.split(",")
    threads = [int(t) for t in args.threads.split(",")]
    os.makedirs(args.work, exist_ok=True)
    os.makedirs(args.out, exist_ok=True)

    ours = Ours(args.bin)
    skipped, rounds = {}, {}
    folders, described = {}, {}
    for arch in archs:
        folder = folders[arch] = os.path.join(args.work, f"{arch.replace(':', '+').replace('/', '-')}.b{args.batch}")
        if args.fresh or not os.path.exists(f"{folder}/done.json"):
            log = subprocess.run([sys.executable, os.path.join(HERE, "prepare.py"), arch, str(args.batch), folder],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if log.returncode:
                print(log.stdout, file=sys.stderr)
                return 1
        with open(f"{folder}/done.json") as f:
            described[arch] = json.load(f)
        print(f"{arch}: {described[arch]['parameters']} parameters, {described[arch]['macs'] / 1e6:.1f} M MACs", flush=True)
        if any(e.startswith("ours") for e in engines):
            try:
                ours.prepare(arch, folder)
            except Failure as problem:
                print(f"  ours, {arch}: {problem}", flush=True)

    for index in range(args.rounds):
        for arch in archs:
            runs = runs_for(described[arch]["macs"], args.runs, args.batch)
            warmup = min(args.warmup, runs)
            for count in threads:
                for engine in engines:
                    key = (arch, engine, count)
                    if key in skipped:
                        continue
                    load = wait_for_quiet(args.quiet)
                    try:
                        if engine.startswith("ours"):
                            found = ours.measure(engine, folders[arch], count, args.batch, warmup, runs)
                        else:
                            found = measure_peer(engine, folders[arch], count, warmup, runs)
                    except Failure as problem:
                        skipped[key] = str(problem)
                        print(f"  skipped: {engine}, {arch}, {count} threads: {problem}", flush=True)
                        continue
                    found["load_before"] = load
                    rounds.setdefault(key, []).append(found)
                    print(f"  round {index + 1}: {arch}, {count} t, {engine}: {found['min_ms']:.2f} / "
                          f"{found['median_ms']:.2f} ms, error {found['error']:.1e}, load before {load}", flush=True)

    results = {key: summarise(value) for key, value in rounds.items()}
    text = table(results, archs, threads, engines, args.batch)
    document = {
        "when": datetime.date.today().isoformat(), "cpu": cpu_name(), "cpus": os.cpu_count(), "batch": args.batch,
        "networks": described,
        "results": [{"arch": a, "engine": e, "threads": t, **summary, "rounds": rounds[a, e, t]}
                    for (a, e, t), summary in results.items()],
        "skipped": [{"arch": a, "engine": e, "threads": t, "why": why} for (a, e, t), why in skipped.items()],
    }
    with open(os.path.join(args.out, "results.json"), "w") as f:
        json.dump(document, f, indent=1)
    with open(os.path.join(args.out, "results.md"), "w") as f:
        f.write(text)
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
