"""What a call from Python costs, compared with one from C++: `session(x)` beside `sparsenet bench`, side by side.

    python tests/bench/python/bench_calls.py build/release/bin/sparsenet models/sparsenet-abc-v0.snet [--rounds 15]

Both time the same: passing in the input, running, having the output. Rounds alternate; a round is the median of its
calls, the result the median of the rounds' differences. The empty network (one ReLU of one number) shows the cost of
the call alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import sparsenet as sn


def from_python(model: sn.Model, calls: int, reuse: bool) -> float:
    session = model.session(threads=1, backend="portable")
    x = np.random.default_rng(1).uniform(-1, 1, session.inputs[0].shape).astype(np.float32)
    out = session(x) if reuse else None
    for _ in range(calls // 5):
        session(x, out)
    times = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        session(x, out)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def from_cpp(program: Path, model: Path, calls: int) -> float:
    words = [program, "bench", model, "--threads", "1", "--backend", "portable", "--warmup", str(calls // 5)]
    done = subprocess.run(
        [*map(str, words), "--runs", str(calls), "--json"], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout)["latency_ms"]["p50"]) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "one-neuron.snet")
        sn.Model(sn._core.create_perceptron(1, [], 2, 1)).save(empty)
        print(f"{'network':<28}{'C++ us':>10}{'Python us':>12}{'difference':>12}{'with out=':>12}")
        for path in [*given.models, empty]:
            model = sn.load(path)
            rows = []
            for _ in range(given.rounds):
                cpp = from_cpp(given.program, path, given.calls)
                rows.append((cpp, from_python(model, given.calls, False), from_python(model, given.calls, True)))
            cpp, python, _ = (statistics.median(column) for column in zip(*rows))
            more = statistics.median(row[1] - row[0] for row in rows)
            less = statistics.median(row[2] - row[0] for row in rows)
            print(f"{path.stem:<28}{cpp:>10.2f}{python:>12.2f}{more:>12.2f}{less:>12.2f}")


if __name__ == "__main__":
    main()
