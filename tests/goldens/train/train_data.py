"""Parameters, images and labels that a C++ test makes too, bit for bit, so that none of them need to be stored.

The counterpart of this file is tests/support/train_data.cpp. Every number is a 24-bit hash of a name and an index, multiplied by
or added to something exact: no sum is rounded twice, so NumPy and C++ agree however the compiler evaluates it.
"""

import math

import numpy as np

MASK = (1 << 64) - 1


def name_hash(name):
    """FNV-1a, 64 bits (G. Fowler, L. C. Noll, P. Vo)."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def bits(name, count):
    """64 bits for each index below `count`: the output function of splitmix64 at hash(name) + (index + 1) golden."""
    with np.errstate(over="ignore"):
        z = np.uint64(name_hash(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def centred(name, count):
    """Doubles in [-1, 1), multiples of 2^-23."""
    return ((bits(name, count) >> np.uint64(40)).astype(np.int64) - (1 << 23)).astype(np.float64) * 2.0**-23


def parameter(name, shape):
    """Initial values of the parameter `name`: He-like weights, a quarter of that for the last layer, BatchNorm
    scales in 0.5..1.5, small shifts and biases.

    Of tensors of one dimension `.weight` is a BatchNorm's scale and `.bias` a bias or a shift.
    """
    count = int(np.prod(shape))
    u = centred(name, count)
    if len(shape) > 1:
        u *= math.sqrt(6.0 / (count // shape[0])) * (0.25 if name in ("fc.weight", "linear.weight") else 1.0)
    elif name.endswith(".weight"):
        u = 1.0 + 0.5 * u
    else:
        u *= 0.125
    return u.astype(np.float32).reshape(shape)


def labels(count, classes):
    return (bits("labels", count) % np.uint64(classes)).astype(np.int64)


def images(count, classes, shape=(3, 32, 32)):
    """[count, C, H, W] float32: noise over a coarse pattern for the image's class, learnt in 20 steps.

    With more noise or a larger last layer, training would be chaotic: float32 rounding errors would grow beyond any bound
    that separates right from wrong.
    """
    c, h, w = shape
    noise = centred("images", count * c * h * w).reshape(count, c, h, w)
    patterns = centred("patterns", classes * c * 16).reshape(classes, c, 4, 4)
    rows, columns = np.arange(h) * 4 // h, np.arange(w) * 4 // w
    pattern = patterns[:, :, rows][:, :, :, columns]
    return (0.25 * noise + pattern[labels(count, classes)]).astype(np.float32)
