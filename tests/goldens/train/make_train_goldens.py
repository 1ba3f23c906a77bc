#!/usr/bin/env python3
"""Writes data/: PyTorch's results of training steps, for tests/unit/train_network_test.cpp and train_steps_test.cpp.

    python make_train_goldens.py [--out DIR] [--only NAME] [--choose]

Needs numpy and torch >= 1.13. See README.md for what the files hold and train_data.py for where parameters and images
come from.
"""

import argparse
import os
import sys

import numpy as np
import torch
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import reference_net  # noqa: E402
import train_data  # noqa: E402

BATCH = 16
ZERO = 1e-9  # a gradient with a smaller norm is zero except for rounding in float64
# Network -> which of its batches the gradients are computed for. A rectifier whose input crosses zero by rounding turns
# a pixel's gradient on or off, up to 1e-2 of a tensor's norm; in these batches this effect is smallest (--choose
# searches for them).
NETWORKS = {"sparsenet-basic-v0": 12, "sparsenet-bc-v0": 22, "sparsenet-abc-v0": 19, "densenet-bc-40-12": 57}
NETWORK_STEPS = 20
SGD = dict(optimizer="sgd", lr=0.05, momentum=0.9, nesterov=1, weight_decay=1e-4)
TINY = "sparsenet-abc:blocks=2-2,k=4,path=2"
TINY_SE = "sparsenet-abc:blocks=2-2,k=4,path=2,attention=se,pre-relu=0"
VARIANT_STEPS = 5
FAST = dict(lr=0.2)
# name -> (arch, settings other than SGD's). Each changes the losses by more than any test's tolerance.
VARIANTS = {
    "sgd": (TINY, dict(FAST)),
    "sgd-se": (TINY_SE, dict(FAST)),
    "resnet": ("resnet20", dict()),
    "momentum": (TINY, dict(FAST, nesterov=0)),
    "plain": (TINY, dict(FAST, momentum=0.0, nesterov=0)),
    "decay": (TINY, dict(FAST, weight_decay=0.3)),
    "decay-weights": (TINY, dict(FAST, weight_decay=0.25, decay_all=0)),
    "smoothing": (TINY, dict(FAST, label_smoothing=0.3)),
    "clip": (TINY, dict(FAST, clip_norm=0.1)),
    "clip-decay": (TINY, dict(FAST, clip_norm=0.1, weight_decay=0.3)),
    "accumulate": (TINY, dict(FAST, accumulate=3)),
    "accumulate-clip": (TINY, dict(FAST, accumulate=2, clip_norm=0.1, label_smoothing=0.1)),
    "adam": (TINY, dict(optimizer="adam", lr=0.01, weight_decay=0.03)),
    "adam-betas": (TINY, dict(optimizer="adam", lr=0.01, weight_decay=0.0, beta1=0.5, beta2=0.8, epsilon=1e-2)),
    "adamw": (TINY, dict(optimizer="adamw", lr=0.03, weight_decay=0.9)),
    "adamw-weights": (TINY, dict(optimizer="adamw", lr=0.03, weight_decay=0.9, decay_all=0)),
}
DEFAULTS = dict(SGD, decay_all=1, label_smoothing=0.0, clip_norm=0.0, accumulate=1, beta1=0.9, beta2=0.999, epsilon=1e-8)


def network(arch, dtype):
    net = reference_net.build(arch)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            tensor.copy_(torch.from_numpy(train_data.parameter(name, tuple(tensor.shape))))
    return net.to(dtype).train()


def data(net, images):
    classes = net.arch.classes
    pixels = train_data.images(images, classes, net.arch.input_shape)
    return torch.from_numpy(pixels).to(next(net.parameters()).dtype), torch.from_numpy(train_data.labels(images, classes))


def make_optimizer(net, s):
    """Parameters of one dimension are biases and BatchNorm's; decay_all=0 leaves them without decay."""
    decayed = [p for p in net.parameters() if s["decay_all"] or p.dim() > 1]
    others = [p for p in net.parameters() if not s["decay_all"] and p.dim() <= 1]
    groups = [dict(params=decayed, weight_decay=s["weight_decay"])]
    if others:
        groups.append(dict(params=others, weight_decay=0.0))
    if s["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=s["lr"], momentum=s["momentum"], nesterov=bool(s["nesterov"]))
    kind = torch.optim.Adam if s["optimizer"] == "adam" else torch.optim.AdamW
    return kind(groups, lr=s["lr"], betas=(s["beta1"], s["beta2"]), eps=s["epsilon"])


def train(arch, settings, steps, dtype):
    """Losses of steps * accumulate batches, and the network afterwards."""
    s = dict(DEFAULTS, **settings)
    net = network(arch, dtype)
    optimizer = make_optimizer(net, s)
    batches = steps * s["accumulate"]
    pixels, labels = data(net, batches * BATCH)
    losses = []
    for i in range(batches):
        x, y = pixels[i * BATCH : (i + 1) * BATCH], labels[i * BATCH : (i + 1) * BATCH]
        logits = net(x)
        losses.append(F.cross_entropy(logits, y).item())
        (F.cross_entropy(logits, y, label_smoothing=s["label_smoothing"]) / s["accumulate"]).backward()
        if (i + 1) % s["accumulate"] == 0:
            if s["clip_norm"]:
                torch.nn.utils.clip_grad_norm_(net.parameters(), s["clip_norm"])
            optimizer.step()
            optimizer.zero_grad()
    return losses, net


def one_batch(arch, batch, dtype, perturbed=0):
    """Loss, right answers and gradients of a batch; `perturbed` > 0: parameters changed by about 3e-7 of their values."""
    net = network(arch, dtype)
    if perturbed:
        torch.manual_seed(perturbed)
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(1 + 3e-7 * torch.randn(p.shape).to(dtype))
    pixels, labels = (t[batch * BATCH :] for t in data(net, (batch + 1) * BATCH))
    logits = net(pixels)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    correct = int((logits.argmax(1) == labels).sum())
    return loss.item(), correct, {n: p.grad.double().numpy().ravel() for n, p in net.named_parameters()}


def distance(gradients, exact):
    """Largest ||difference|| / ||exact|| of any tensor whose gradient is not zero, and its name."""
    norms = {name: np.linalg.norm(g) for name, g in exact.items()}
    return max((np.linalg.norm(gradients[n] - g) / norms[n], n) for n, g in exact.items() if norms[n] > ZERO)


def choose(arch):
    found = []
    for batch in range(3 * NETWORK_STEPS):
        exact = one_batch(arch, batch, torch.float64)[2]
        off = [distance(one_batch(arch, batch, torch.float32, p)[2], exact)[0] for p in range(6)]
        found.append((max(off), batch))
    print(arch, "batches by how far rounding moves gradients:", *(f"{b}: {e:.1e}" for e, b in sorted(found)[:5]))


def numbers(values):
    return " ".join(f"{float(v):.9g}" for v in np.asarray(values).ravel())


def header(arch, settings):
    options = dict(DEFAULTS, **settings)
    return [f"arch {arch}", f"batch {BATCH}", *(f"option {key} {value}" for key, value in options.items())]


def statistics(net):
    """Running statistics of the first, a middle and the last BatchNorm."""
    norms = [n for n, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    state = net.state_dict()
    for name in (norms[0], norms[len(norms) // 2], norms[-1]):
        for which in ("running_mean", "running_var"):
            yield f"{name}.{which}", state[f"{name}.{which}"]


def write_network(arch, out):
    batch = NETWORKS[arch]
    loss, correct, gradients = one_batch(arch, batch, torch.float64)
    loss32, _, gradients32 = one_batch(arch, batch, torch.float32)
    worst, worst_zero = distance(gradients32, gradients), 0.0
    lines = header(arch, {}) + [f"gradient-batch {batch}", f"loss {loss:.12g}", f"correct {correct}"]
    blob = []
    for name, g in gradients.items():
        norm, scale = np.linalg.norm(g), np.abs(g).max()
        if norm < ZERO:  # zero except for rounding: a bias before a BatchNorm
            lines.append(f"gradient {name} {g.size} 0 0")
            worst_zero = max(worst_zero, np.abs(gradients32[name]).max())
            continue
        half = (g / scale).astype("<f2")
        lines.append(f"gradient {name} {g.size} {scale:.9g} {norm:.9g}")
        blob.append(half.tobytes())
        assert np.linalg.norm(half.astype(np.float64) * scale - g) < 5e-4 * norm
    losses, net = train(arch, {}, NETWORK_STEPS, torch.float64)
    losses32, _ = train(arch, {}, NETWORK_STEPS, torch.float32)
    lines += [f"losses64 {len(losses)} {numbers(losses)}", f"losses32 {len(losses)} {numbers(losses32)}"]
    lines += [f"values {name} {t.numel()} {numbers(t)}" for name, t in statistics(net)]
    write(out, arch, lines, b"".join(blob))
    off = np.abs(np.subtract(losses, losses32))
    print(
        f"{arch}: loss {loss:.6f}, fp32 {loss32 - loss:+.1e}; gradients in fp32 off by {worst[0]:.1e} of {worst[1]}'s "
        f"norm, {worst_zero:.1e} where zero; steps in fp32 off by {off[:3].max():.1e}, then {off.max():.1e}; "
        f"loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    )


def write_variant(name, out):
    arch, settings = VARIANTS[name]
    losses, net = train(arch, settings, VARIANT_STEPS, torch.float64)
    losses32, net32 = train(arch, settings, VARIANT_STEPS, torch.float32)
    lines = header(arch, settings)
    lines += [f"losses64 {len(losses)} {numbers(losses)}", f"losses32 {len(losses)} {numbers(losses32)}"]
    state, state32 = net.state_dict(), net32.state_dict()
    kept = [n for n in state if n.startswith(("stem.", "conv1.", "bn.", "bn1.", "fc.", "linear."))]
    # The gradient of a bias before a BatchNorm is only rounding, which Adam scales up like any other; the running means
    # show it.
    left_out = ("num_batches_tracked", "running_mean" if settings.get("optimizer", "sgd") != "sgd" else "-")
    kept = [n for n in kept if not n.endswith(left_out)]
    lines += [f"values {n} {state[n].numel()} {numbers(state[n])}" for n in kept]
    write(out, "variant-" + name, lines, b"")
    off = max(np.abs(np.subtract(losses, losses32)))
    values = max((state[n] - state32[n].double()).abs().max().item() for n in kept)
    print(f"variant {name}: loss {losses[0]:.3f} -> {losses[-1]:.3f}; in fp32 off by {off:.1e}, values by {values:.1e}")
    return losses


def check_that_variants_differ(found):
    """The test allows 1e-4; a setting that hardly changed the losses would not be tested at all."""
    for name, losses in found.items():
        for other, others in found.items():
            same = min(len(losses), len(others))
            if name < other and VARIANTS[name][0] == VARIANTS[other][0]:
                apart = np.abs(np.subtract(losses[:same], others[:same])).max()
                assert apart > 1e-3, f"variants {name} and {other} differ by {apart:.1e} only"


def write(out, name, lines, blob):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, name + ".txt"), "w") as f:
        f.write("\n".join(lines) + "\n")
    if blob:
        with open(os.path.join(out, name + ".f16"), "wb") as f:
            f.write(blob)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=os.path.join(HERE, "data"))
    parser.add_argument("--only", help="one network or variant")
    parser.add_argument("--choose", action="store_true", help="search for the batches listed in NETWORKS; writes nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for arch in NETWORKS:
        if args.only in (None, arch):
            choose(arch) if args.choose else write_network(arch, args.out)
    if not args.choose:
        found = {name: write_variant(name, args.out) for name in VARIANTS if args.only in (None, name)}
        check_that_variants_differ(found)


if __name__ == "__main__":
    main()
