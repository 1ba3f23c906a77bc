#!/usr/bin/env python3
"""Measures how far float32 inference is from float64, for the engine and its peers, on deep networks with seeded weights.

    accuracy.py [--networks A,B] [--engines X,Y] [--inputs N] [--threads N] [--bin DIR] [--out DIR] [--limit RATIO]

Every network runs on the same N seeded inputs, one image at a time. The error of an engine is the root mean square of
its outputs' differences from PyTorch's in float64, over all inputs, relative to the largest float64 output. The table
goes to stdout and to results.md, all numbers to results.json in DIR. Exits with 1 if the engine's default backend is
further from float64 than RATIO times ONNX Runtime on any network.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "goldens"))
import reference_net  # noqa: E402

SEED = 20180415


def torchvision_network(name):
    import torchvision

    options = {"init_weights": False, "aux_logits": False} if name == "inception_v3" else {}
    return getattr(torchvision.models, name)(weights=None, **options), 299 if name == "inception_v3" else 224


def timm_network(name):
    import timm

    return timm.create_model(name, pretrained=False), 224


def own_network(name):
    return reference_net.build(name), 32


NETWORKS = {  # name -> how it is made; the weights are seeded
    "inception_v3": torchvision_network,
    "dla34": timm_network,
    "wide_resnet50_2": torchvision_network,
    "resnet50": torchvision_network,
    "sparsenet-abc-v4": own_network,
}


def calibrate(net, side):
    """Sets the running statistics of batch normalisation to those of a seeded batch, as training would.

    Without it the signal of a deep network with seeded weights fades towards a constant that no rounding error moves.
    """
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # use the plain average
    net.train()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    with torch.no_grad():
        net(torch.from_numpy(np.random.RandomState(SEED + 1).standard_normal((8, 3, side, side)).astype(np.float32)))
    net.eval()


def prepare(name, folder, count, binaries):
    """Writes net.onnx, net.snet, inputs.npy and expected.npy (float64) unless they exist from an earlier run."""
    os.makedirs(folder, exist_ok=True)
    paths = {key: os.path.join(folder, key) for key in ("net.onnx", "net.snet", "inputs.npy", "expected.npy", "torch.npy")}
    if not os.path.exists(paths["torch.npy"]) or len(np.load(paths["inputs.npy"], mmap_mode="r")) != count:
        torch.manual_seed(SEED)
        net, side = NETWORKS[name](name)
        calibrate(reference_net.randomise(net, SEED), side)
        inputs = np.random.RandomState(SEED).standard_normal((count, 3, side, side)).astype(np.float32)
        x = torch.from_numpy(inputs)
        reference_net.export_onnx(net, x[:1], paths["net.onnx"])
        with torch.no_grad():
            plain = np.concatenate([net(image[None]).numpy() for image in x])
            double = copy.deepcopy(net).double()
            expected = np.concatenate([double(image[None].double()).numpy() for image in x])
        np.save(paths["inputs.npy"], inputs)
        np.save(paths["expected.npy"], expected)
        np.save(paths["torch.npy"], plain)
    converted = subprocess.run(
        [os.path.join(binaries, "sparsenet-convert"), paths["net.onnx"], "-o", paths["net.snet"]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if converted.returncode:
        raise SystemExit(f"{name}: {converted.stdout.strip()}")
    return paths


def run_onnxruntime(paths, inputs, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(paths["net.onnx"], options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {feed: image[None]})[0] for image in inputs])


def run_openvino(paths, inputs, threads):
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = core.compile_model(core.read_model(paths["net.onnx"]), "CPU", settings)
    return np.concatenate([model(image[None])[0] for image in inputs])


def run_ours(paths, inputs, threads, backend, binaries):
    folder = os.path.dirname(paths["net.snet"])
    one, out = os.path.join(folder, "one.npy"), os.path.join(folder, "out.npy")
    found = []
    for image in inputs:  # one image at a time: uses the kernels that a classifier on a device runs
        np.save(one, image[None])
        subprocess.run([os.path.join(binaries, "sparsenet"), "run", paths["net.snet"], "--input", one, "--output", out,
                        "--backend", backend, "--threads", str(threads)], check=True, stdout=subprocess.DEVNULL)
        found.append(np.load(out))
    return np.concatenate(found)


def outputs_of(engine, paths, threads, binaries):
    inputs = np.load(paths["inputs.npy"])
    if engine == "torch":
        return np.load(paths["torch.npy"])
    if engine == "onnxruntime":
        return run_onnxruntime(paths, inputs, threads)
    if engine == "openvino":
        return run_openvino(paths, inputs, threads)
    return run_ours(paths, inputs, threads, engine[5:] or "auto", binaries)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--engines", default="ours,ours-onednn,onnxruntime,torch",
                        help="ours, ours-BACKEND, onnxruntime, openvino, torch")
    parser.add_argument("--inputs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bin", default=os.path.join(REPOSITORY, "build", "release", "bin"))
    parser.add_argument("--out", default=os.path.expanduser("~/.cache/sparsenet-accuracy"))
    parser.add_argument("--limit", type=float, default=2.5)
    arguments = parser.parse_args()
    networks, engines = arguments.networks.split(","), arguments.engines.split(",")
    for name in networks:
        if name not in NETWORKS:
            parser.error(f"unknown network '{name}': expected some of {', '.join(NETWORKS)}")

    results, failed = {}, []
    ratio = "ours" in engines and "onnxruntime" in engines
    lines = ["| network | " + " | ".join(engines) + (" | ours / onnxruntime |" if ratio else " |")]
    lines.append("| --- |" + " --- |" * (len(engines) + ratio))
    for name in networks:
        paths = prepare(name, os.path.join(arguments.out, name), arguments.inputs, arguments.bin)
        expected = np.load(paths["expected.npy"])
        largest = np.abs(expected).max()
        row = {}
        for engine in engines:
            off = outputs_of(engine, paths, arguments.threads, arguments.bin) - expected
            row[engine] = {"rms": float(np.sqrt((off ** 2).mean()) / largest), "max": float(np.abs(off).max() / largest)}
        cells = [f"{row[engine]['rms']:.2e}" for engine in engines]
        if ratio:
            factor = row["ours"]["rms"] / row["onnxruntime"]["rms"]
            cells.append(f"{factor:.2f}")
            if factor > arguments.limit:
                failed.append(f"{name}: {factor:.2f} times ONNX Runtime's error, at most {arguments.limit} is wanted")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
        results[name] = row
    text = "\n".join(lines)
    print("\n" + text)
    with open(os.path.join(arguments.out, "results.md"), "w") as f:
        f.write(text + "\n")
    with open(os.path.join(arguments.out, "results.json"), "w") as f:
        json.dump({"seed": SEED, "inputs": arguments.inputs, "threads": arguments.threads, "networks": results}, f, indent=1)
    for line in failed:
        print("error: " + line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
