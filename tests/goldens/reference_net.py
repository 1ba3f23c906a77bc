#!/usr/bin/env python3
"""The PyTorch reference form of the networks that the engine builds from an ARCH string.

This file defines what a state dict *means*: the engine's builders and its converter must give the same logits for the
same tensors. It favours plainness over speed. Runs on Python >= 3.9 with torch >= 1.13.

    python reference_net.py --self-check [--weights A.pth --cifar10 DIR --logits L.npy]
    python reference_net.py --describe ARCH

How a SparseNet is read here
----------------------------
State of a block: a list of groups, newest first. Each layer reads their concatenation in that order, puts its new k-wide
group at the front, and if the list then holds more than path + 1 groups the (N+2)-th newest one leaves (keep=F-N).
DenseNet is the same network with an unlimited path.

Between blocks, c channels go into the transition. With m = (c - 2k) / k, `basic` gives c channels back, seen by the next
block as m groups of k and then one of 2k, the oldest; `bc` and `abc` give ceil(m / 2) groups of k and then one of 2k.

Two choices the paper leaves open, fixed here:
* SE attention (attention=se) is h * sigmoid(fc2(relu(fc1(avgpool(h))))) with ceil(k / 8) hidden units. fc1 and fc2 are
  1x1 convolutions with bias, so their weights are [out, in, 1, 1].
* pre-relu=0 takes away the ReLU between bn0 and conv0 of bc and abc layers. basic layers have no such ReLU to lose.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

PRESETS = {  # name -> blocks, k, path
    "v0": ((4, 6, 8), 8, 7),
    "v1": ((8, 12, 16), 16, 14),
    "v2": ((12, 18, 24), 20, 22),
    "v3": ((16, 24, 32), 24, 30),
    "v4": ((20, 30, 40), 26, 38),
}


@dataclass
class Arch:
    """One parsed ARCH string. `path` is None if no group is ever dropped (DenseNet)."""

    family: str  # "basic", "bc", "abc" or "resnet"
    blocks: Tuple[int, ...] = (8, 12, 16)
    k: int = 16
    path: Optional[int] = 14
    keep_far: int = 7
    keep_near: int = 7
    attention: str = "none"
    pre_relu: bool = True
    classes: int = 10
    stem: str = "cifar"
    shortcut: str = "pad"  # "pad" (option A of the ResNet paper) or "conv" (option B)
    bn_eps: float = 1e-5
    input_shape: Tuple[int, int, int] = field(default=(3, 32, 32))


def parse_arch(text: str) -> Arch:
    """Reads an ARCH string such as `sparsenet-abc-v0:keep=3-4,bn-eps=1e-3`. Raises ValueError on anything unknown."""
    name, _, tail = text.partition(":")
    options = {}
    for item in filter(None, tail.split(",")):
        key, equals, value = item.partition("=")
        if not equals or key in options:
            raise ValueError(f"{text!r}: bad or repeated option {item!r}")
        options[key] = value

    words = name.split("-")
    if name.startswith("resnet") and name[6:].isdigit():
        depth = int(name[6:])
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"{text!r}: depth must be 6n + 2, 8 or more")
        arch = Arch("resnet", blocks=((depth - 2) // 6,) * 3, path=None)
    elif words[0] == "sparsenet" and len(words) in (2, 3) and words[1] in ("basic", "bc", "abc"):
        preset = words[2] if len(words) == 3 else "v1"
        if preset not in PRESETS:
            raise ValueError(f"{text!r}: no preset {preset!r}")
        blocks, k, path = PRESETS[preset]
        arch = Arch(words[1], blocks, k, path, attention="paper" if words[1] == "abc" else "none")
    elif words[0] == "densenet" and len(words) == 4 and words[1] == "bc":
        layers, left = divmod(int(words[2]) - 4, 6)
        if left or layers < 1:
            raise ValueError(f"{text!r}: depth must be 6n + 4")
        arch = Arch("bc", (layers,) * 3, int(words[3]), path=None)
    else:
        raise ValueError(f"{text!r}: unknown architecture {name!r}")

    sparse_keys = {"blocks", "k", "path", "keep", "attention", "pre-relu", "stem"}
    allowed = {"classes", "bn-eps"} | (sparse_keys if words[0] == "sparsenet" else set())
    allowed |= {"shortcut"} if arch.family == "resnet" else set()
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise ValueError(f"{text!r}: unknown options {unknown}")

    if "blocks" in options:
        arch.blocks = tuple(int(n) for n in options["blocks"].split("-"))
    arch.k = int(options.get("k", arch.k))
    if "path" in options:
        arch.path = int(options["path"])
    if "keep" in options:
        far, near = (int(n) for n in options["keep"].split("-"))
        if "path" in options and far + near != arch.path:
            raise ValueError(f"{text!r}: keep={far}-{near} does not add up to path={arch.path}")
        arch.path, arch.keep_far, arch.keep_near = far + near, far, near
    elif arch.path is not None:
        arch.keep_near = math.ceil(arch.path / 2)
        arch.keep_far = arch.path - arch.keep_near
    arch.attention = options.get("attention", arch.attention)
    arch.pre_relu = options.get("pre-relu", "1") == "1"
    arch.classes = int(options.get("classes", arch.classes))
    arch.stem = options.get("stem", arch.stem)
    arch.shortcut = options.get("shortcut", arch.shortcut)
    arch.bn_eps = float(options.get("bn-eps", arch.bn_eps))
    if arch.attention not in ("paper", "se", "none") or arch.stem not in ("cifar", "imagenet"):
        raise ValueError(f"{text!r}: bad attention or stem")
    if arch.shortcut not in ("pad", "conv"):
        raise ValueError(f"{text!r}: bad shortcut")
    if arch.stem == "imagenet":
        arch.input_shape = (3, 224, 224)
    return arch


# --------------------------------------------------------------------------------------------- SparseNet and DenseNet


class PaperAttention(nn.Module):
    """h + h * f, where f comes from the pooled groups g and their first transform e; e stands first in concat(e, g)."""

    def __init__(self, k: int, eps: float):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(k, eps)
        self.conv1 = nn.Conv2d(k, k, 1)
        self.bn2 = nn.BatchNorm2d(2 * k, eps)
        self.conv2 = nn.Conv2d(2 * k, k, 1)

    def forward(self, h):
        g = F.adaptive_avg_pool2d(h, 1)
        e = self.conv1(F.relu(self.bn1(g)))
        f = torch.sigmoid(self.conv2(F.relu(self.bn2(torch.cat([e, g], 1)))))
        return h + h * f


class SqueezeExcite(nn.Module):
    """h * s with the usual two-layer gate, ceil(k / 8) hidden units."""

    def __init__(self, k: int):
        super().__init__()
        hidden = math.ceil(k / 8)
        self.fc1 = nn.Conv2d(k, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, k, 1)

    def forward(self, h):
        s = torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(h, 1)))))
        return h * s


class Layer(nn.Module):
    """Makes one k-wide group from `width` channels."""

    def __init__(self, arch: Arch, width: int):
        super().__init__()
        k = arch.k
        self.bottleneck = arch.family != "basic"
        self.pre_relu = arch.pre_relu
        if self.bottleneck:
            self.bn0 = nn.BatchNorm2d(width, arch.bn_eps)
            self.conv0 = nn.Conv2d(width, 4 * k, 1)
            width = 4 * k
        self.bn1 = nn.BatchNorm2d(width, arch.bn_eps)
        self.conv1 = nn.Conv2d(width, k, 3, padding=1)
        if arch.attention == "paper":
            self.att = PaperAttention(k, arch.bn_eps)
        elif arch.attention == "se":
            self.att = SqueezeExcite(k)
        else:
            self.att = None

    def forward(self, x):
        if self.bottleneck:
            x = self.bn0(x)
            x = self.conv0(F.relu(x) if self.pre_relu else x)
        h = self.conv1(F.relu(self.bn1(x)))
        return h if self.att is None else self.att(h)


class Block(nn.Module):
    """`widths` are the incoming groups' channels, newest first; `out_widths` those that are left at the end."""

    def __init__(self, arch: Arch, layers: int, widths: List[int]):
        super().__init__()
        self.in_widths = list(widths)
        self.limit = None if arch.path is None else arch.path + 1
        self.victim = arch.keep_near + 1  # its position, counted from the newest
        self.layers = nn.ModuleList()
        widths = list(widths)
        for _ in range(layers):
            self.layers.append(Layer(arch, sum(widths)))
            self._push(widths, arch.k)
        self.out_widths = widths

    def _push(self, groups, new):
        groups.insert(0, new)
        if self.limit is not None and len(groups) > self.limit:
            del groups[self.victim]

    def forward(self, x):
        groups = list(torch.split(x, self.in_widths, 1)) if len(self.in_widths) > 1 else [x]
        for layer in self.layers:
            self._push(groups, layer(torch.cat(groups, 1) if len(groups) > 1 else groups[0]))
        return torch.cat(groups, 1)


class SparseNet(nn.Module):
    def __init__(self, arch: Arch):
        super().__init__()
        k = arch.k
        if arch.stem == "imagenet":
            self.stem = nn.Conv2d(3, 2 * k, 7, stride=2, padding=3)
        else:
            self.stem = nn.Conv2d(3, 2 * k, 3, padding=1)
        self.pool_stem = arch.stem == "imagenet"
        self.block_count = len(arch.blocks)
        widths = [2 * k]
        for index, layers in enumerate(arch.blocks):
            block = Block(arch, layers, widths)
            setattr(self, f"block{index}", block)
            channels = sum(block.out_widths)
            if index + 1 < self.block_count:
                groups, odd = divmod(channels - 2 * k, k)
                if odd or groups < 0:
                    raise ValueError(f"block {index} leaves {channels} channels, too few for a transition")
                if arch.family != "basic":
                    groups = math.ceil(groups / 2)
                widths = [k] * groups + [2 * k]
                transition = nn.Sequential(
                    nn.BatchNorm2d(channels, arch.bn_eps),
                    nn.ReLU(),
                    nn.Conv2d(channels, sum(widths), 1),
                    nn.AvgPool2d(2),
                )
                setattr(self, f"trans{index}", transition)
        self.bn = nn.BatchNorm2d(channels, arch.bn_eps)
        self.fc = nn.Linear(channels, arch.classes)

    def forward(self, x):
        x = F.relu(self.stem(x))
        if self.pool_stem:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        for index in range(self.block_count):
            x = getattr(self, f"block{index}")(x)
            if index + 1 < self.block_count:
                x = getattr(self, f"trans{index}")(x)
        x = F.adaptive_avg_pool2d(F.relu(self.bn(x)), 1)
        return self.fc(torch.flatten(x, 1))


# ------------------------------------------------------------------------------------------------- ResNet, CIFAR form


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions. Where the width doubles, the shortcut takes every second pixel and pads zero channels,
    half of them below and half above (option A), or is a strided 1x1 convolution with batch norm (option B)."""

    def __init__(self, width_in: int, width: int, eps: float, shortcut: str):
        super().__init__()
        self.grows = width != width_in
        self.margin = (width - width_in) // 2
        self.conv1 = nn.Conv2d(width_in, width, 3, stride=2 if self.grows else 1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.shortcut = None
        if self.grows and shortcut == "conv":
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride=2, bias=False),
                                          nn.BatchNorm2d(width, eps))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.grows:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.margin, self.margin))
        return F.relu(x + y)


class CifarResNet(nn.Module):
    def __init__(self, arch: Arch):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16, arch.bn_eps)
        width_in = 16
        for stage, units in enumerate(arch.blocks):
            width = 16 << stage
            chain = []
            for _ in range(units):
                chain.append(ResidualUnit(width_in, width, arch.bn_eps, arch.shortcut))
                width_in = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*chain))
        self.linear = nn.Linear(64, arch.classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


# ------------------------------------------------------------------------------------------------------------ helpers


def build(arch_text: str) -> nn.Module:
    """The network of an ARCH string, in evaluation mode, with PyTorch's own initial weights."""
    arch = parse_arch(arch_text)
    net = CifarResNet(arch) if arch.family == "resnet" else SparseNet(arch)
    net.arch = arch
    return net.eval()


def randomise(net: nn.Module, seed: int) -> nn.Module:
    """Fills every parameter and running statistic from one seeded stream, the same on every torch version.

    Convolutions keep the signal's size; batch norms get means, variances in [0.5, 2], scales (some negative) and shifts
    that all matter, so that a mistake in folding or in channel order shows in the logits.
    """
    rng = np.random.RandomState(seed)

    def put(tensor, values):
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.asarray(values, np.float32).reshape(tuple(tensor.shape))))

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            put(module.weight, rng.standard_normal(tuple(module.weight.shape)) * math.sqrt(1.5 / fan_in))
            if module.bias is not None:
                put(module.bias, rng.standard_normal(tuple(module.bias.shape)) * 0.2)
        elif isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            sign = np.where(rng.uniform(size=n) < 0.15, -1.0, 1.0)
            put(module.weight, rng.uniform(0.6, 1.4, n) * sign)
            put(module.bias, rng.standard_normal(n) * 0.3)
            put(module.running_mean, rng.standard_normal(n) * 0.3)
            put(module.running_var, rng.uniform(0.5, 2.0, n))
    return net


def count(net: nn.Module, input_shape: Optional[Tuple[int, ...]] = None) -> Tuple[int, int]:
    """Parameters (running statistics left out) and the MACs of one image's convolutions and fully connected layers."""
    macs = 0

    def add(module, _inputs, output):
        nonlocal macs
        macs += output[0].numel() * module.weight[0].numel()

    hooks = [m.register_forward_hook(add) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        net(torch.zeros(1, *(input_shape or net.arch.input_shape)))
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in net.parameters()), macs


def export_onnx(net: nn.Module, example, path: str, opset: int = 13, dynamic_batch: bool = False) -> None:
    """Exports with the tracing exporter, which every supported torch has, under the names `input` and `logits`."""
    import inspect
    import warnings

    options = dict(opset_version=opset, input_names=["input"], output_names=["logits"])
    if dynamic_batch:
        options["dynamic_axes"] = {"input": {0: "batch"}, "logits": {0: "batch"}}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (example,), path, **options)


def read_cifar10(path: str, images: int):
    """The first `images` records of an official CIFAR-10 binary: pixels [n, 3, 32, 32] 0..255 float32, labels [n]."""
    records = np.fromfile(path, np.uint8, count=images * 3073).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32), records[:, 0].astype(np.int64)


# --------------------------------------------------------------------------------------------------------- self-check

TABLE = {  # (parameters, MACs), SPARSENET.md and the CIFAR ResNets' well-known sizes
    "sparsenet-basic-v0": (88642, 22119120),
    "sparsenet-bc-v0": (82346, 24363728),
    "sparsenet-abc-v0": (86954, 24367184),
    "sparsenet-basic-v1": (1197194, 286296576),
    "sparsenet-bc-v1": (828442, 236292608),
    "sparsenet-abc-v1": (860698, 236320256),
    "sparsenet-basic-v2": (4115570, 952304320),
    "sparsenet-bc-v2": (2439510, 665277120),
    "sparsenet-abc-v2": (2512950, 665341920),
    "sparsenet-basic-v3": (10413994, 2369920512),
    "sparsenet-bc-v3": (5641090, 1492999680),
    "sparsenet-abc-v3": (5779330, 1493124096),
    "sparsenet-basic-v4": (18972730, 4271951008),
    "sparsenet-bc-v4": (9693096, 2507645088),
    "sparsenet-abc-v4": (9894336, 2507827608),
    "densenet-bc-100-12": (806602, 295726608),
    "resnet20": (269722, None),
    "resnet32": (464154, None),
    "resnet44": (658586, None),
    "resnet56": (853018, None),
    "resnet110": (1727962, None),
}
CIFAR10_MEAN = (125.3, 123.0, 113.9)
CIFAR10_STD = (63.0, 62.1, 66.7)


def self_check(weights: Optional[str], cifar10: Optional[str], logits: Optional[str]) -> int:
    wrong = 0
    for name, (parameters, macs) in TABLE.items():
        found = count(build(name))
        good = found[0] == parameters and macs in (None, found[1])
        wrong += not good
        print(f"{'ok  ' if good else 'WRONG'} {name}: {found[0]} parameters, {found[1]} MACs")
    if weights:
        net = build("sparsenet-abc-v0")
        net.load_state_dict(torch.load(weights, map_location="cpu"))
        expected = np.load(logits)
        pixels, labels = read_cifar10(f"{cifar10}/test_batch.bin", len(expected))
        mean = np.array(CIFAR10_MEAN, np.float32).reshape(3, 1, 1)
        std = np.array(CIFAR10_STD, np.float32).reshape(3, 1, 1)
        with torch.no_grad():
            got = net(torch.from_numpy((pixels - mean) / std)).numpy()
        error = np.abs(got - expected).max() / np.abs(expected).max()
        good = error < 1e-5
        wrong += not good
        right = int((got.argmax(1) == labels).sum())
        print(f"{'ok  ' if good else 'WRONG'} {weights}: relative error {error:.2e}, {right} of {len(labels)} right")
    print("self-check:", "all as expected" if not wrong else f"{wrong} differ")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-check", action="store_true", help="compare sizes (and logits) with the known ones")
    parser.add_argument("--weights", help="a trained sparsenet-abc-v0 state dict (.pth)")
    parser.add_argument("--cifar10", help="folder of the official CIFAR-10 binaries")
    parser.add_argument("--logits", help=".npy of the expected logits of the first test images")
    parser.add_argument("--describe", metavar="ARCH", help="print the tensors of an architecture")
    args = parser.parse_args()
    if args.describe:
        net = build(args.describe)
        for name, tensor in net.state_dict().items():
            print(name, tuple(tensor.shape))
        print("%d parameters, %d MACs" % count(net))
        return 0
    if args.self_check:
        if args.weights and not (args.cifar10 and args.logits):
            parser.error("--weights also needs --cifar10 and --logits")
        return self_check(args.weights, args.cifar10, args.logits)
    parser.print_help()
    return 2


if __name__ == "__main__":
    sys.exit(main())
