#!/usr/bin/env python3
"""Compares int8 networks with those of ONNX Runtime and OpenVINO, and with our own float32, in turns.

    bench_int8.py [--work DIR] [--rounds N] [--runs N] [--threads 1,2] [--bin DIR] [--hold] [--data DATA] [NETWORK ...]

A NETWORK is a folder of tests/bench/peers's cache (`bench.py --rounds 0` makes it), such as torchvision-resnet18.b1. Its
net.onnx is quantised by ONNX Runtime (static, QDQ, per channel, unsigned activations, ranges from random inputs) and, for
OpenVINO, by NNCF (ranges from the same inputs). Our engine runs ONNX Runtime's file, converted; SparseNets are quantised
by `sparsenet quantize` with the images of --data, from net.snet. Needs Python with onnx, onnxruntime, openvino, nncf and
numpy. Every measurement is a process of its own. A cell is the fastest run of all rounds and, after the slash, the median
of the rounds' medians. --hold keeps everyone, us included, from the tiles of AMX.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
PEERS = ["onnxruntime", "openvino"]
COLUMNS = {"float32": "ours float32", "int8": "ours int8", "onnxruntime": "ONNX Runtime int8",
           "openvino": "OpenVINO NNCF int8"}


def inputs_of(path):
    """Name and shape of the network's input, and eight inputs."""
    import onnx

    source = onnx.load(path).graph.input[0]
    shape = [d.dim_value or 1 for d in source.type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    return source.name, shape, [rng.standard_normal(shape).astype(np.float32) for _ in range(8)]


def by_onnxruntime(folder):
    """The network as ONNX Runtime quantises it."""
    path = os.path.join(folder, "net.qdq.onnx")
    if os.path.exists(path):
        return path
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = os.path.join(folder, "net.prepared.onnx")
    quant_pre_process(os.path.join(folder, "net.onnx"), prepared)
    name, _, inputs = inputs_of(prepared)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.data = iter(inputs)

        def get_next(self):
            value = next(self.data, None)
            return None if value is None else {name: value}

    quantize_static(prepared, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    return path


def by_nncf(folder):
    """The network as OpenVINO's NNCF quantises it."""
    path = os.path.join(folder, "net.nncf.xml")
    if os.path.exists(path):
        return path
    import nncf
    import openvino as ov

    source = os.path.join(folder, "net.onnx")
    name, shape, inputs = inputs_of(source)
    model = ov.convert_model(source)
    model.reshape(shape)
    ov.save_model(nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs)), path, compress_to_fp16=False)
    return path


def by_us(folder, qdq, data, binary):
    """The network that our engine runs."""
    path = os.path.join(folder, "net.int8.snet")
    if os.path.exists(path):
        return path
    if os.path.basename(folder).startswith("sparsenet-"):
        command = ["sparsenet", "quantize", os.path.join(folder, "net.snet"), "--data", data, "--samples", "64"]
    else:
        command = ["sparsenet-convert", qdq]
    subprocess.run([os.path.join(binary, command[0]), *command[1:], "-o", path], check=True, stdout=subprocess.DEVNULL)
    return path


def printed(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)


def ours(binary, path, threads, runs, hold):
    environment = dict(os.environ, SPARSENET_INT8="avx512_vnni") if hold else None
    command = [os.path.join(binary, "sparsenet"), "bench", path, "--threads", str(threads), "--runs", str(runs), "--json"]
    latency = printed(command, env=environment)["latency_ms"]
    return latency["min"], latency["p50"]


def peer(engine, path, threads, runs, hold):
    times = printed([sys.executable, os.path.join(HERE, "worker.py"), engine, path, str(threads), str(runs),
                     "1" if hold else "0"])
    return min(times), statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--work", default=os.path.expanduser("~/.cache/sparsenet-peers-bench"))
    parser.add_argument("--bin", default=os.path.join(REPOSITORY, "build", "release", "bin"))
    parser.add_argument("--float-bin", help="where the float32 engine to compare with is, if not --bin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--engines", default=",".join(COLUMNS))
    parser.add_argument("--hold", action="store_true", help="nobody may use AMX")
    parser.add_argument("--data", default="", help="images that SparseNets are quantised with, such as cifar10:DIR")
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    print("| network | threads | " + " | ".join(COLUMNS[e] for e in engines) + " | of float32 | ahead of the best |")
    print("| --- " * (len(engines) + 4) + "|")
    for network in arguments.networks:
        folder = os.path.join(arguments.work, network)
        files = {"float32": os.path.join(folder, "net.snet")}
        files["onnxruntime"] = by_onnxruntime(folder)
        files["openvino"] = by_nncf(folder) if "openvino" in engines else ""
        files["int8"] = by_us(folder, files["onnxruntime"], arguments.data, arguments.bin)
        for threads in map(int, arguments.threads.split(",")):
            found = {e: [] for e in engines}
            for _ in range(arguments.rounds):
                for e in engines:
                    if e in PEERS:
                        found[e].append(peer(e, files[e], threads, arguments.runs, arguments.hold))
                    else:
                        binary = arguments.float_bin if e == "float32" and arguments.float_bin else arguments.bin
                        found[e].append(ours(binary, files[e], threads, arguments.runs, arguments.hold))
            least = {e: min(f[0] for f in found[e]) for e in engines}
            middle = {e: statistics.median(f[1] for f in found[e]) for e in engines}
            cells = [f"{least[e]:.3f} / {middle[e]:.3f}" for e in engines]
            peers = [e for e in engines if e in PEERS]

            def ratio(numerator):
                return f"{numerator(least) / least['int8']:.2f} / {numerator(middle) / middle['int8']:.2f} x"

            cells.append(ratio(lambda of: of["float32"]) if "float32" in engines else "")
            cells.append(ratio(lambda of: min(of[e] for e in peers)) if peers else "")
            print(f"| {network} | {threads} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
