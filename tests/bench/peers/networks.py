"""The networks of the benchmark, with seeded weights: architectures of the engine's own, and `torchvision/NAME`."""

import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "goldens"))
import reference_net  # noqa: E402

SEED = 20180415
TORCHVISION = "torchvision/"


def is_torchvision(arch):
    return arch.startswith(TORCHVISION)


def build_torchvision(name):
    import torchvision

    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(SEED)
    return torchvision.models.get_model(name, weights=None, **options)


def measure_statistics(net, shape):
    """Gives batch normalisation the statistics of seeded data: with those of a fresh network, the signal fades."""
    values = np.random.RandomState(SEED + 1).standard_normal((8, *shape)).astype(np.float32)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    net.train()
    with torch.no_grad():
        net(torch.from_numpy(values))
    return net.eval()


def input_shape(arch):
    """Of one image."""
    if is_torchvision(arch):
        size = 299 if arch.endswith("inception_v3") else 224
        return (3, size, size)
    return reference_net.build(arch).arch.input_shape


def build(arch):
    """The network without its final weights; load_state_dict() or randomise() follows."""
    return build_torchvision(arch[len(TORCHVISION):]).eval() if is_torchvision(arch) else reference_net.build(arch)


def randomise(arch, net):
    if is_torchvision(arch):
        return measure_statistics(net, input_shape(arch))
    return reference_net.randomise(net, SEED)
