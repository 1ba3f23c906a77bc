#!/usr/bin/env python3
"""Exports whole networks of torchvision and timm with random weights, converts and runs them, compares with PyTorch.

    networks.py torchvision [--only PATTERN] [--build BUILD] [--results FILE.jsonl]
    networks.py LIST.txt [--dynamo] [--only PATTERN] ...

LIST.txt names networks of timm, one per line: NAME SIZE, where SIZE is the input's (None: the network's own); lines
that begin with # are comments. Needs PyTorch, torchvision, timm, ONNX and onnxscript; nothing is downloaded.

Weights come from a fixed seed. Vectors of equal numbers (scales of residual branches that begin at zero, say) are made
random, so that every part of the network counts, and statistics of batch normalisation are measured on random images,
so that activations keep an ordinary size. The image is the smallest that the network takes, from 64 x 64 on: on yet
smaller ones statistics would be of a few numbers, and rounding would grow with every layer.

A network is `equal` if its outputs differ from PyTorch's in float64 by at most 3 times what PyTorch's own in float32
do, or by at most 1e-6 of the largest output where that is more: PyTorch's own error may be zero by chance. Each
network is one process, so that one that crashes or takes too long is one line. With --results, results are kept, and a
second run with the same file does only what is missing; --anew does all again.
"""
import argparse
import fnmatch
import pathlib
import sys
import warnings

import numpy as np

import common

FACTOR, FLOOR = 3, 1e-6
OPSET = 17
LEAST_TRIED = 224  # pixels, if a network cannot be exported for the smallest image that it takes
SIZES = [64, 96, 128, 160, 192, 224, 256, 299, 384, 518]


def torchvision_names():
    import torchvision
    return [(name, None) for name in torchvision.models.list_models(module=torchvision.models)]


def listed_names(path):
    lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return [(line[0], None if len(line) < 2 or line[1] == "None" else int(line[1])) for line in lines]


def make(source, name, size):
    """(network, sizes to try)"""
    if source == "torchvision":
        import torchvision
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        if name in ("googlenet", "inception_v3"):
            options["aux_logits"] = True
        return torchvision.models.get_model(name, weights=None, **options), SIZES
    import timm
    network = timm.create_model(name, pretrained=False)
    own = network.default_cfg["input_size"][-1] if hasattr(network, "default_cfg") else 224
    return network, [size, own] if size else [own]


def randomise(network, torch):
    """Makes every part of the network count."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() < 2 or parameter.std() > 0:
                continue
            value = float(parameter.flatten()[0])
            scale = 0.2 if parameter.dim() == 1 else 0.02
            parameter.copy_(value + scale * torch.randn(parameter.shape, generator=generator))


def measure_statistics(network, image, torch):
    """Sets the statistics of batch normalisation to those of random images."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    norms = [module for module in norms if module.track_running_stats and module.running_mean is not None]
    network.eval()
    if not norms:
        return
    for module in norms:
        module.train()
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
    with torch.no_grad():
        images = torch.randn((8, *image.shape[1:]), generator=torch.Generator().manual_seed(12))
        network(images)
    network.eval()


def prepare(source, name, size, least, torch):
    """The network, and an image of the smallest size from `least` pixels on that it takes."""
    torch.manual_seed(10)
    network, sizes = make(source, name, size)
    sizes = [pixels for pixels in sizes if pixels >= least]
    if not sizes:
        raise ValueError(f"it takes no image of {least} pixels or more")
    randomise(network, torch)
    generator = torch.Generator().manual_seed(13)
    problem = None
    for pixels in sizes:
        image = torch.randn((1, 3, pixels, pixels), generator=generator)
        try:
            with torch.no_grad():
                network.eval()(image)
            measure_statistics(network, image, torch)
            return network, image
        except (RuntimeError, ValueError, AssertionError) as error:
            problem = error
    raise problem


def outputs_of(network, image, torch):
    with torch.no_grad():
        found = network(image)
    found = found if isinstance(found, (list, tuple)) else [found]
    return [tensor.numpy() for tensor in found if isinstance(tensor, torch.Tensor)]


def export(source, name, size, dynamo, model):
    """Writes the network as `model`, and beside it, as .npz, the image and PyTorch's outputs: single.0, double.0, ...
    Returns why it could not be exported, or None."""
    warnings.filterwarnings("ignore")
    import torch
    torch.set_num_threads(1)
    # Exporters cannot write some networks for images as small as they take (adaptive pools with more outputs than inputs).
    reason = None
    for least in (0, LEAST_TRIED):
        try:
            network, image = prepare(source, name, size, least, torch)
        except ValueError:
            if reason is None:
                raise
            return reason
        arrays = {f"single.{i}": output for i, output in enumerate(outputs_of(network, image, torch))}
        try:
            torch.onnx.export(network, (image,), str(model), dynamo=dynamo, input_names=["input"],
                              **({} if dynamo else {"opset_version": OPSET}))
            break
        except Exception as error:  # whatever an exporter raises is its own
            reason = reason or str(error).strip().splitlines()[0][:160]
    else:
        return reason
    double = outputs_of(network.double(), image.double(), torch)
    arrays.update({f"double.{i}": output for i, output in enumerate(double)})
    np.savez(model.with_suffix(".npz"), image=image.numpy(), **arrays)
    return None


def check(model, programs, folder):
    """(outcome, remark)"""
    stored = folder / "net.snet"
    common.convert(programs, model, stored)
    arrays = np.load(model.with_suffix(".npz"))
    found = list(common.compute(programs, stored, {"input": arrays["image"]}, folder).values())
    expected = sum(key.startswith("double.") for key in arrays.files)
    if len(found) != expected:
        return "wrong", f"expected {expected} outputs, found {len(found)}"
    worst = (0.0, 0.0, 0.0)
    for i, ours in enumerate(found):
        exact = arrays[f"double.{i}"]
        if ours.shape != exact.shape:
            return "wrong", f"expected {exact.shape}, found {ours.shape}"
        if not np.isfinite(exact).all() or np.abs(exact).max() < 1e-12:
            return "unusable", "its outputs are zero or not finite"
        error, own = common.relative_error(ours, exact), common.relative_error(arrays[f"single.{i}"], exact)
        worst = max(worst, (error / max(FACTOR * own, FLOOR), error, own))
    remark = f"{arrays['image'].shape[-1]} pixels: error {worst[1]:.1e}, PyTorch's own {worst[2]:.1e}"
    return ("equal" if worst[0] <= 1 else "wrong"), remark


def export_and_check(arguments, folder):
    size = None if arguments.size in (None, "None") else int(arguments.size)
    model = folder / "net.onnx"
    if arguments.exports:
        place = arguments.exports / (arguments.one + (".dynamo" if arguments.dynamo else ""))
        place.mkdir(parents=True, exist_ok=True)
        model = place / "net.onnx"
    if not model.with_suffix(".npz").exists():
        reason = export(arguments.source, arguments.one, size, arguments.dynamo, model)
        if reason is not None:
            return "unexported", reason
    return check(model, (arguments.build / "bin").resolve(), folder)


def in_process(arguments, name, size):
    command = [sys.executable, __file__, arguments.source, "--one", name, "--size", str(size),
               "--build", str(arguments.build)]
    command += ["--dynamo"] if arguments.dynamo else []
    command += ["--temporary", arguments.temporary] if arguments.temporary else []
    command += ["--exports", str(arguments.exports)] if arguments.exports else []
    return common.child_result(command, arguments.timeout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="torchvision, or a file that lists networks of timm")
    parser.add_argument("--only", action="append", default=[], help="names that match this pattern, * for any text")
    parser.add_argument("--dynamo", action="store_true", help="the exporter over torch.export")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--anew", action="store_true", help="also what the file of results has already")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for one network")
    parser.add_argument("--temporary", help="folder for temporary files")
    parser.add_argument("--exports", type=pathlib.Path, help="keeps exported networks in this folder, and uses those there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return common.tell_result(lambda folder: export_and_check(arguments, folder), arguments.temporary)
    names = torchvision_names() if arguments.source == "torchvision" else listed_names(pathlib.Path(arguments.source))
    results = common.Results(arguments.results, arguments.anew)
    for name, size in names:
        if not arguments.only or any(fnmatch.fnmatch(name, pattern) for pattern in arguments.only):
            results.find(name, lambda: in_process(arguments, name, size))
    return results.summary()


if __name__ == "__main__":
    sys.exit(main())
