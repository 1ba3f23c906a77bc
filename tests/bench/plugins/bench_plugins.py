#!/usr/bin/env python3
"""Latency of networks on plugins beside the portable kernels, and what the plugins move.

For each network and batch, rounds alternate between the backends, so that a change of the machine's speed meets all of
them; the medians of the rounds' medians are printed, as a Markdown table. `run` leaves out copying in and out. Launches
and bytes are those of one run, from `sparsenet profile`; "least" is every step's inputs, parameters and outputs once.

    tests/bench/plugins/bench_plugins.py --backends opencl --batches 1
    tests/bench/plugins/bench_plugins.py --backends cuda --precisions f32 f16 --batches 1 16 256 --networks a.snet b.snet
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
USUAL = ["sparsenet-abc-v0", "sparsenet-abc-v1", "sparsenet-abc-v4", "densenet-bc-100-12", "resnet20"]


def sparsenet(program, *arguments):
    done = subprocess.run([program, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/bin/sparsenet")
    parser.add_argument("--networks", nargs="+", default=USUAL, help="names of architectures, or .snet files")
    parser.add_argument("--backends", nargs="+", default=["opencl"])
    parser.add_argument("--precisions", nargs="+", default=["f32"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    print("| network | batch | backend | ms | ms, run alone | x portable | launches | steps | MB moved | least MB |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            model = pathlib.Path(network)
            if model.suffix != ".snet":
                model = pathlib.Path(folder) / f"{network}.snet"
                subprocess.run([options.program, "create", network, "-o", model], check=True, capture_output=True)
            for batch in options.batches:
                ways = [("portable", "f32")] + [(b, p) for b in options.backends for p in options.precisions]
                whole = {way: [] for way in ways}
                alone = {way: [] for way in ways}
                for _ in range(options.rounds):
                    for way in ways:
                        found = sparsenet(options.program, "bench", model, "--backend", way[0], "--precision", way[1],
                                          "--batch", batch, "--runs", options.runs, "--warmup", 3)
                        whole[way].append(found["latency_ms"]["p50"])
                        alone[way].append(found["run_ms"]["p50"])
                portable = statistics.median(whole[ways[0]])
                for way in ways:
                    ms = statistics.median(whole[way])
                    moved = ["", "", "", ""]
                    if way != ways[0]:
                        p = sparsenet(options.program, "profile", model, "--backend", way[0], "--precision", way[1],
                                      "--batch", batch, "--runs", 3)
                        megabytes = (p["bytes_read"] + p["bytes_written"]) / 1e6
                        moved = [p["launches"], len(p["steps"]), f"{megabytes:.2f}", f"{p['least_bytes'] / 1e6:.2f}"]
                    print(f"| {model.stem} | {batch} | {way[0]} {way[1]} | {ms:.3f} | "
                          f"{statistics.median(alone[way]):.3f} | {ms / portable:.1f} | "
                          + " | ".join(map(str, moved)) + " |", flush=True)


if __name__ == "__main__":
    main()
