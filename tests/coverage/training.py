#!/usr/bin/env python3
"""Trains torchvision's networks for a step or more, here and in PyTorch, and compares losses and what was learnt.

    training.py [--build BUILD] [--only NAME,...] [--size 64] [--batch 16] [--steps 1] [--rate 0.001]

Every network is exported with its batch normalisations, converted, and trained with plain SGD (no momentum, no decay) on
random images. PyTorch does the same in float32 and in float64. What is compared with float64 is the loss of every step,
and by how much the steps have changed the logits of other images: a wrong gradient anywhere changes them. The error may
be three times PyTorch's own float32 error, or 1e-4 of the change where that is more. Needs torch, torchvision, onnx.
Dropout and stochastic depth are switched off, because their random numbers cannot agree. Larger steps, or several, take
ReLUs across their kinks here and not there: float32 and float64 then part ways in PyTorch, too.
"""
import argparse
import contextlib
import copy
import io
import json
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import torch
import torchvision

from common import Failed, Refused, compute, convert, first_reason, run

NETWORKS = ["mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0", "resnet18", "mobilenet_v3_small", "squeezenet1_1"]
CLASSES = 10


def network(name):
    torch.manual_seed(7)
    made = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torchvision.ops.StochasticDepth):
            module.p = 0.0
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1  # of the running statistics, as here; MobileNetV3 has 0.01
    return made


def measure_statistics(model, images):
    """BatchNorm statistics of data, so that inference does not explode."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for module in norms:
        module.momentum = None
    model.train()
    with torch.no_grad():
        model(images)
    for module, momentum in zip(norms, momenta):
        module.momentum = momentum


def export(model, size, path):
    model.eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(model, torch.zeros(1, 3, size, size), path, dynamo=False, opset_version=17,
                          training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, input_names=["input"],
                          output_names=["output"], dynamic_axes={"input": {0: "n"}, "output": {0: "n"}})


def learn(model, images, labels, rate, other, dtype):
    """(losses, logits of `other` before, and after the steps)"""
    model = copy.deepcopy(model).to(dtype)
    images, other = images.to(dtype), other.to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with torch.no_grad():
        before = model.eval()(other)
    model.train()
    losses = []
    for batch, target in zip(images, labels):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(batch), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        after = model.eval()(other)
    return np.array(losses), before.double().numpy(), after.double().numpy()


def learn_here(programs, folder, images, labels, rate, other):
    np.save(folder / "images.npy", images.reshape(-1, *images.shape[2:]).numpy())
    np.save(folder / "labels.npy", labels.reshape(-1).numpy())
    done = run([programs / "sparsenet", "train", folder / "net.snet", "--data",
                f"npy:{folder}/images.npy,{folder}/labels.npy", "-o", folder / "trained.snet", "--epochs", 1, "--batch",
                images.shape[1], "--no-shuffle", "--augment", "none", "--momentum", 0, "--weight-decay", 0, "--schedule",
                "constant", "--lr", rate, "--log-steps", "--json"], 1200)
    if done.returncode != 0:
        raise Failed("sparsenet train: " + first_reason(done.stderr))
    losses = np.array(json.loads(done.stdout)["step_losses"])
    logits = [compute(programs, folder / name, {"input": other.numpy()}, folder)["output"].astype(np.float64)
              for name in ("net.snet", "trained.snet")]
    return losses, *logits


def distance(found, exact):
    """Root mean square of the difference, as a fraction of what is exact."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact ** 2)))


def compare(name, args, programs, folder):
    model = network(name)
    generator = torch.Generator().manual_seed(3)
    shape = (3, args.size, args.size)
    images = torch.randn(args.steps, args.batch, *shape, generator=generator)
    labels = torch.randint(0, CLASSES, (args.steps, args.batch), generator=generator)
    other = torch.randn(4, *shape, generator=generator)
    measure_statistics(model, torch.randn(16, *shape, generator=generator))
    export(model, args.size, str(folder / "net.onnx"))
    convert(programs, folder / "net.onnx", folder / "net.snet")
    exact = learn(model, images, labels, args.rate, other, torch.float64)
    torchs = learn(model, images, labels, args.rate, other, torch.float32)
    ours = learn_here(programs, folder, images, labels, args.rate, other)
    change = exact[2] - exact[1]
    errors = {}
    for who, result in (("ours", ours), ("torch", torchs)):
        errors[who] = (distance(result[0], exact[0]), distance(result[2] - result[1], change))
    print(f"{name:22} loss {exact[0][0]:.4f} to {exact[0][-1]:.4f}; error of the losses {errors['ours'][0]:.1e} "
          f"(PyTorch {errors['torch'][0]:.1e}), of the change {errors['ours'][1]:.1e} ({errors['torch'][1]:.1e})",
          flush=True)
    return all(mine <= max(3 * theirs, 1e-4) for mine, theirs in zip(errors["ours"], errors["torch"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "build" / "release")
    parser.add_argument("--only", default=",".join(NETWORKS))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.001)
    args = parser.parse_args()
    wrong = 0
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            try:
                good = compare(name, args, args.build / "bin", pathlib.Path(folder))
                if not good:
                    print(f"{name:22} WRONG")
            except (Failed, Refused) as problem:
                print(f"{name:22} {type(problem).__name__.lower()}: {problem}", flush=True)
                good = False
            wrong += not good
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
