#!/usr/bin/env python3
"""Writes the golden files in data/: whole networks with known weights, inputs and logits, and small ONNX graphs.

    python make_goldens.py [--out DIR] [--only NAME]

Needs numpy, torch, onnx, onnxruntime, onnxscript and safetensors (tests/bench/peers/setup.sh installs them all). The
same package versions give the same bytes; manifest.json names the versions used and lists every case.

Weights and inputs come from seeded NumPy streams. Expected logits of networks are computed by PyTorch in float64, those
of hand-built graphs by ONNX Runtime with its optimisations off and checked against the onnx package's own evaluator.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import shutil
import sys
from collections import OrderedDict

import numpy as np
import onnx
import onnxruntime
import torch

import reference_net
import weight_files
from golden_graphs import GRAPHS, GraphMaker

TOLERANCE = 1e-4  # largest |difference| allowed, relative to the largest |expected| value


def seed_of(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def relative_error(got, expected):
    return float(np.abs(np.asarray(got, np.float64) - expected).max() / np.abs(expected).max())


# ---------------------------------------------------------------------------------- networks given by ARCH and weights


def as_module_checkpoint(state):
    """A checkpoint as old training scripts with DataParallel wrote it: names with `module.`, and other things beside the weights."""
    prefixed = OrderedDict(("module." + n, t) for n, t in state.items())
    return {"state_dict": prefixed, "best_prec1": 91.5}


def write_npz(path, state):
    weight_files.save_npz(path, state)


def write_npz_deflated(path, state):
    fortran = [n for n, t in state.items() if n == "fc.weight" or (n.endswith("conv1.weight") and t.dim() == 4)]
    weight_files.save_npz(path, state, compressed=True, fortran=fortran)


def write_safetensors_half(path, state):
    halves = ((n, t.half() if t.is_floating_point() else t) for n, t in state.items())
    weight_files.save_safetensors(path, OrderedDict(halves))


def write_zip_training_checkpoint(path, state):
    checkpoint = as_module_checkpoint(state)
    checkpoint["epoch"] = 3
    momentum = {i: {"momentum_buffer": torch.full((4, 2), 0.5 * i)} for i in range(2)}
    group = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "dampening": 0, "foreach": None, "params": [0, 1]}
    checkpoint["optimizer"] = {"state": momentum, "param_groups": [group]}
    weight_files.save_torch_zip(path, checkpoint)


def write_zip_channels_last(path, state):
    """Convolution weights with channels-last strides, parameters as nn.Parameter."""
    out = OrderedDict()
    for name, tensor in state.items():
        if tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        learnt = name.endswith((".weight", ".bias"))
        out[name] = torch.nn.Parameter(tensor.clone()) if learnt else tensor
    weight_files.save_torch_zip(path, out)


def write_zip_one_storage(path, state):
    """All float tensors are views into one flat storage."""
    floats = [n for n, t in state.items() if t.is_floating_point()]
    flat = torch.cat([state[n].reshape(-1) for n in floats])
    out, at = OrderedDict(state), 0
    for name in floats:
        size = state[name].numel()
        out[name] = flat[at : at + size].view(state[name].shape)
        at += size
    weight_files.save_torch_zip(path, out)


def write_zip_foreign_names(path, state):
    """Other module names in the same order, as in an independent implementation."""
    modules = {}
    out = OrderedDict()
    for name, tensor in state.items():
        module, leaf = name.rsplit(".", 1)
        index = modules.setdefault(module, len(modules))
        out[f"features.{index}.{leaf}"] = tensor
    weight_files.save_torch_zip(path, out)


def write_safetensors_downsample(path, state):
    """The names that torchvision's ResNets have, in a format without an order."""
    renamed = ((n.replace(".shortcut.", ".downsample.").replace("linear.", "fc."), t) for n, t in state.items())
    weight_files.save_safetensors(path, OrderedDict(renamed))


def write_legacy_module(path, state):
    weight_files.save_torch_legacy(path, as_module_checkpoint(state))


# name, ARCH, file ending, format's name, writer, then the ONNX exports of the same network: (opset, kind of export)
NETS = [
    ("basic", "sparsenet-basic:blocks=2-3-4,k=5,path=3", "npz", "npz", write_npz, [(17, "plain")]),
    ("bc", "sparsenet-bc:blocks=3-4-5,k=5,path=4,keep=2-2", "safetensors", "safetensors",
     weight_files.save_safetensors, [(9, "plain")]),
    ("abc", "sparsenet-abc:blocks=2-2-3,k=5,path=3", "pth", "torch-zip", weight_files.save_torch_zip,
     [(13, "plain"), (20, "dynamo")]),
    ("abc-se", "sparsenet-abc:blocks=1-1-2,k=9,path=2,attention=se", "pth", "torch-zip-checkpoint",
     write_zip_training_checkpoint, []),
    ("abc-none", "sparsenet-abc:blocks=2-3-4,k=4,path=3,attention=none", "npz", "npz-deflated-fortran",
     write_npz_deflated, []),
    ("abc-nopre", "sparsenet-abc:blocks=1-2-2,k=4,path=2,pre-relu=0", "pth", "torch-zip-channels-last",
     write_zip_channels_last, []),
    ("keep-4-0", "sparsenet-bc:blocks=3-5-6,k=3,path=4,keep=4-0", "pth", "torch-zip-one-storage",
     write_zip_one_storage, []),
    ("keep-0-4", "sparsenet-abc:blocks=3-5-6,k=3,path=4,keep=0-4", "safetensors", "safetensors-f16",
     write_safetensors_half, []),
    ("keep-3-1", "sparsenet-basic:blocks=3-5-6,k=3,path=4,keep=3-1", "pth", "torch-zip-foreign-names",
     write_zip_foreign_names, []),
    ("path-1", "sparsenet-abc:blocks=1-3,k=5,path=1,classes=3", "npz", "npz", write_npz, []),
    ("preset-with-keys", "sparsenet-abc-v0:k=3,keep=3-4,bn-eps=1e-3,classes=100", "safetensors", "safetensors",
     weight_files.save_safetensors, []),
    ("densenet", "densenet-bc-16-6", "pth", "torch-legacy", weight_files.save_torch_legacy, [(13, "dynamic-batch")]),
    ("resnet8-conv", "resnet8:shortcut=conv", "safetensors", "safetensors-downsample", write_safetensors_downsample, []),
    ("resnet20", "resnet20", "th", "torch-legacy-module", write_legacy_module, []),
    ("imagenet-stem", "sparsenet-bc:blocks=2-2-3-2,k=3,path=3,classes=7,stem=imagenet", "npz", "npz", write_npz,
     [(13, "plain")]),
]


def export_dynamo(net, example, path):
    """The exporter that newer torch uses by default, with the weights in a second file as it leaves them there.

    Its notes about our source files are removed."""
    names = dict(input_names=["input"], output_names=["logits"])
    model = torch.onnx.export(net, (example,), **names, dynamo=True, verbose=False).model_proto
    del model.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output,
                 *model.graph.initializer, model.graph):
        part.ClearField("doc_string")
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    data = os.path.basename(path) + ".data"
    if os.path.exists(path + ".data"):
        os.remove(path + ".data")  # onnx.save appends
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=256)
    os.chmod(path + ".data", 0o644)


def make_nets(out, only):
    cases, inputs = [], {}

    def input_file(shape):
        """Batches of one shape share a stream, so a batch of 1 is the first image of a batch of 2."""
        name = "input-" + "x".join(map(str, shape)) + ".npy"
        if name not in inputs:
            values = np.random.RandomState(seed_of("images")).standard_normal(shape).astype(np.float32)
            np.save(os.path.join(out, "nets", name), values)
            inputs[name] = values
        return "nets/" + name, inputs[name]

    for name, arch, ending, form, write, exports in NETS:
        if only and name != only:
            continue
        net = reference_net.randomise(reference_net.build(arch), seed_of(name))
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.num_batches_tracked.fill_(42)
        if form.endswith("f16"):
            net.half().float()
        image = (3, 64, 64) if "imagenet" in arch else net.arch.input_shape
        exact = copy.deepcopy(net).double()
        with torch.no_grad():
            stem = os.path.join(out, "nets", name)
            state = OrderedDict((n, t.clone()) for n, t in net.state_dict().items())
            write(f"{stem}.{ending}", state)
            file, x = input_file((1 if "imagenet" in arch else 2, *image))
            logits = exact(torch.from_numpy(x).double()).numpy()
            single = relative_error(net(torch.from_numpy(x)).numpy(), logits)
        assert single < TOLERANCE / 10, f"{name}: float32 is off by {single:.1e}; choose milder weights"
        np.save(f"{stem}.logits.npy", logits.astype(np.float32))
        parameters, macs = reference_net.count(net, image)
        common = {"arch": arch, "parameters": parameters, "macs": macs, "tolerance": TOLERANCE}
        cases.append({
            "name": name, "kind": "weights", "format": form, "model": f"nets/{name}.{ending}", **common,
            "inputs": [{"name": "input", "file": file, "shape": list(x.shape)}],
            "outputs": [{"name": "logits", "file": f"nets/{name}.logits.npy", "shape": list(logits.shape)}],
        })
        for opset, how in exports:
            case = f"{name}-opset{opset}" + ("" if how == "plain" else f"-{how}")
            path = os.path.join(out, "nets", case + ".onnx")
            batch = x.shape[0] if how == "dynamic-batch" else 1
            file_b, x_b = input_file((batch, *image))
            expected = logits[:batch].astype(np.float32)
            if how == "dynamo":
                export_dynamo(net, torch.from_numpy(x_b), path)
            else:
                reference_net.export_onnx(net, torch.from_numpy(x_b), path, opset, how == "dynamic-batch")
            found = onnx.load(path).opset_import[0].version
            assert found == opset, f"{case}: the exporter chose opset {found}"
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            error = relative_error(session.run(None, {"input": x_b})[0], expected)
            assert error < TOLERANCE / 5, f"{case}: ONNX Runtime is off by {error:.1e}"
            np.save(os.path.join(out, "nets", case + ".logits.npy"), expected)
            cases.append({
                "name": case, "kind": "onnx", "format": "onnx-external-data" if how == "dynamo" else "onnx",
                "opset": opset, "model": f"nets/{case}.onnx", **common,
                "inputs": [{"name": "input", "file": file_b, "shape": list(x_b.shape)}],
                "outputs": [{"name": "logits", "file": f"nets/{case}.logits.npy", "shape": list(expected.shape)}],
            })
        print(f"{name}: max |logit| {np.abs(logits).max():.2f}, float32 off by {single:.1e}")
    return cases


# ------------------------------------------------------------------------------------------------- hand-built graphs


def run_plainly(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def second_opinion(model, feeds):
    """Results of the onnx package's evaluator, or a sentence if it does not know an old operator version."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):  # its own implementation uses batch statistics below opset 14
        op_domain = ""

        def _run(self, x, scale, bias, mean, var, epsilon=None, momentum=None, training_mode=None, spatial=None):
            scale, bias, mean, var = (v.reshape(-1, 1, 1) for v in (scale, bias, mean, var))
            return ((x - mean) / np.sqrt(var + epsilon) * scale + bias,)

    class Softmax(OpRun):  # its own implementation lacks the old flattening form
        op_domain = ""

        def _run(self, x, axis=None):
            axis = 1 if axis in (None, -1) else axis  # it passes us the newer default
            rows = x.reshape(int(np.prod(x.shape[:axis])), -1)
            rows = np.exp(rows - rows.max(1, keepdims=True))
            return ((rows / rows.sum(1, keepdims=True)).reshape(x.shape),)

    class LogSoftmax(Softmax):
        def _run(self, x, axis=None):
            return (np.log(super()._run(x, axis)[0]),)

    class LRN(OpRun):  # its own implementation stops at as many channels as there are images
        op_domain = ""

        def _run(self, x, alpha=None, beta=None, bias=None, size=None):
            before, after = (size - 1) // 2, size // 2
            squares = np.pad(x * x, ((0, 0), (before, after), (0, 0), (0, 0)))
            total = sum(squares[:, i:i + x.shape[1]] for i in range(size))
            return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)

    own = [BatchNormalization, LRN] + ([Softmax, LogSoftmax] if model.opset_import[0].version < 13 else [])
    try:
        return ReferenceEvaluator(model, new_ops=own).run(None, feeds)
    except Exception as error:  # whatever it lacks: it is only a second opinion
        return [f"{type(error).__name__}: {error}".splitlines()[0]]


def make_graphs(out, only):
    cases = []
    for name, opset, shapes, builder in GRAPHS:
        if only and name != only:
            continue
        maker = GraphMaker(name, opset, shapes, seed_of(name))
        outputs = builder(maker)
        rng = np.random.RandomState(seed_of(name + "/input"))
        feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
        draft = maker.model(outputs, [None] * len(outputs))
        results = run_plainly(draft, feeds)
        model = maker.model(outputs, [r.shape for r in results])
        onnx.save(model, os.path.join(out, "graphs", name + ".onnx"))
        note = ""
        for result, other in zip(results, second_opinion(model, feeds)):
            if isinstance(other, str):
                note = f" (no second opinion: {other})"
                continue
            error = relative_error(other, result)
            note = f", evaluators differ by {error:.1e}"
            assert error < TOLERANCE / 5, f"{name}{note}"
        case = {"name": name, "kind": "onnx", "format": "onnx", "opset": opset, "model": f"graphs/{name}.onnx",
                "tolerance": TOLERANCE, "inputs": [], "outputs": []}
        for label, values in feeds.items():
            file = f"graphs/{name}.{label}.npy"
            np.save(os.path.join(out, file), values)
            case["inputs"].append({"name": label, "file": file, "shape": list(values.shape)})
        for index, (label, values) in enumerate(zip(outputs, results)):
            file = f"graphs/{name}.out{index}.npy"
            np.save(os.path.join(out, file), values)
            case["outputs"].append({"name": label, "file": file, "shape": list(values.shape)})
        cases.append(case)
        print(f"{name}: {len(model.graph.node)} nodes, max |out| {np.abs(results[0]).max():.2f}{note}")
    return cases


def main() -> int:
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.join(here, "data"))
    parser.add_argument("--only", help="make one case only (leaves the manifest and the other files alone)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for folder in ("nets", "graphs"):
        path = os.path.join(args.out, folder)
        if not args.only:
            shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, exist_ok=True)
    cases = make_nets(args.out, args.only) + make_graphs(args.out, args.only)
    if args.only:
        return 0 if cases else 1
    manifest = {
        "format": 1,
        "made_with": {m.__name__: m.__version__.split("+")[0] for m in (np, torch, onnx, onnxruntime)},
        "cases": cases,
    }
    with open(os.path.join(args.out, "manifest.json"), "w") as f:
        json.dump(manifest, f, indent=1)
        f.write("\n")
    total = sum(os.path.getsize(os.path.join(d, n)) for d, _, files in os.walk(args.out) for n in files)
    print(f"{len(cases)} cases, {total / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
