#!/usr/bin/env python3
"""Compares int8 networks with ONNX Runtime's, and with our own float32, in turns.

    bench_int8.py [--work DIR] [--rounds N] [--runs N] [--threads 1,2] [--bin DIR] [NETWORK ...]

A NETWORK is a folder of tests/bench/peers's cache (`bench.py --rounds 0` makes it), such as torchvision-resnet18.b1. Its
net.onnx is quantised by ONNX Runtime (static, QDQ, per channel, unsigned activations, ranges from random inputs), and
that file runs in ONNX Runtime and, converted, in our engine. SparseNets are also quantised by `sparsenet quantize`, from
net.snet. Needs Python with onnx, onnxruntime and numpy. Every measurement is a process of its own; a cell is the fastest
run of all rounds.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(os.path.join(HERE, "..", "..", ".."))

WORKER = """
import sys, time, numpy as np, onnxruntime as ort
path, threads, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
x = session.get_inputs()[0]
data = np.random.default_rng(1).standard_normal([d if isinstance(d, int) else 1 for d in x.shape]).astype(np.float32)
binding = session.io_binding()
binding.bind_cpu_input(x.name, data)
binding.bind_output(session.get_outputs()[0].name)
best = 1e9
for i in range(runs + 10):
    start = time.perf_counter()
    session.run_with_iobinding(binding)
    if i >= 10:
        best = min(best, time.perf_counter() - start)
print(best * 1e3)
"""


def quantise(folder):
    """The network as ONNX Runtime quantises it."""
    path = os.path.join(folder, "net.qdq.onnx")
    if os.path.exists(path):
        return path
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    import onnx

    prepared = os.path.join(folder, "net.prepared.onnx")
    quant_pre_process(os.path.join(folder, "net.onnx"), prepared)
    source = onnx.load(prepared).graph.input[0]
    shape = [d.dim_value or 1 for d in source.type.tensor_type.shape.dim]

    class Reader(CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.data = iter([{source.name: rng.standard_normal(shape).astype(np.float32)} for _ in range(8)])

        def get_next(self):
            return next(self.data, None)

    quantize_static(prepared, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    return path


def ours(binary, path, threads, runs):
    out = subprocess.run([binary, "bench", path, "--threads", str(threads), "--runs", str(runs), "--json"],
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    return json.loads(out.stdout)["latency_ms"]["min"]


def onnxruntime(path, threads, runs):
    out = subprocess.run([sys.executable, "-c", WORKER, path, str(threads), str(runs)], capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    return float(out.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--work", default=os.path.expanduser("~/.cache/sparsenet-peers-bench"))
    parser.add_argument("--bin", default=os.path.join(REPOSITORY, "build", "release", "bin"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--own-int8", default="", help="NETWORK=FILE.snet,...: what `sparsenet quantize` made")
    arguments = parser.parse_args()
    own = dict(pair.split("=") for pair in arguments.own_int8.split(",") if pair)
    sparsenet = os.path.join(arguments.bin, "sparsenet")
    print("| network | threads | ours float32 | ours int8 | ONNX Runtime int8 | of float32 | ahead |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for network in arguments.networks:
        folder = os.path.join(arguments.work, network)
        qdq = quantise(folder)
        converted = own.get(network)
        if not converted:
            converted = os.path.join(folder, "net.int8.snet")
            subprocess.run([os.path.join(arguments.bin, "sparsenet-convert"), qdq, "-o", converted], check=True,
                           stdout=subprocess.DEVNULL)
        for threads in map(int, arguments.threads.split(",")):
            best = [float("inf")] * 3
            for _ in range(arguments.rounds):
                best[0] = min(best[0], ours(sparsenet, os.path.join(folder, "net.snet"), threads, arguments.runs))
                best[1] = min(best[1], ours(sparsenet, converted, threads, arguments.runs))
                best[2] = min(best[2], onnxruntime(qdq, threads, arguments.runs))
            print(f"| {network} | {threads} | {best[0]:.3f} | {best[1]:.3f} | {best[2]:.3f} "
                  f"| {best[0] / best[1]:.2f} x | {best[2] / best[1]:.2f} x |", flush=True)


if __name__ == "__main__":
    main()
