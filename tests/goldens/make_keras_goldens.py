#!/usr/bin/env python3
"""Writes data/keras: weights of one tiny network in every form that Keras has, and HDF5 files that must be refused.

    python3 -m venv keras && keras/bin/pip install tensorflow-cpu keras tf_keras h5py
    keras/bin/python tests/goldens/make_keras_goldens.py

Made with keras 3.15.1, tf_keras (Keras 2) 2.21.0, h5py 3.14.0. The files contain dates and versions, so a second run
gives the same numbers, not the same bytes. The tests need none of this software.
"""
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
import tf_keras

OUT = pathlib.Path(__file__).resolve().parent / "data" / "keras"
SEED = 20

# The network of sparsenet-basic:blocks=2,k=2,path=1,classes=3,image-size=8,bn-eps=0.001. Keras 3 allows no dots in names.
NAMES = ["stem", "block0_layers_0_bn1", "block0_layers_0_conv1", "block0_layers_1_bn1", "block0_layers_1_conv1", "bn",
         "fc"]


def build(k, names=None):
    """With Keras 3 or Keras 2 as `k`. Without names the layers get those that Keras chooses."""
    k.backend.clear_session() if k is tf_keras else k.utils.clear_session()
    left = list(names or [])
    name = lambda: {"name": left.pop(0)} if left else {}
    L = k.layers
    conv = lambda x, channels: L.Conv2D(channels, 3, padding="same", **name())(x)
    norm = lambda x: L.ReLU()(L.BatchNormalization(**name())(x))
    image = L.Input((8, 8, 3))
    x = L.ReLU()(conv(image, 4))
    first = conv(norm(x), 2)
    second = conv(norm(L.Concatenate()([first, x])), 2)
    x = L.GlobalAveragePooling2D()(norm(L.Concatenate()([second, first])))
    model = k.Model(image, L.Dense(3, **name())(x))
    random = np.random.default_rng(SEED)
    for layer in model.layers:
        # Numbers that float16 holds exactly, so that all files hold the same.
        values = [random.uniform(0.5, 1.5, w.shape) if len(w.shape) == 1 else random.normal(0, 0.3, w.shape)
                  for w in layer.get_weights()]
        layer.set_weights([v.astype(np.float16).astype(np.float32) for v in values])
    return model


def logits(model, images):
    return np.asarray(model(np.transpose(images, (0, 2, 3, 1)), training=False), dtype=np.float32)


def save_packed(path, model):
    """What h5py can do to Keras 2's form: float16 and float64, either byte order, filters, lists in parts."""
    with h5py.File(path, "w") as f:
        layers = [layer for layer in model.layers]
        half = len(layers) // 2
        f.attrs["layer_names0"] = [layer.name.encode() for layer in layers[:half]]
        f.attrs["layer_names1"] = [layer.name for layer in layers[half:]]  # texts of variable length
        f.attrs["keras_version"] = "2.15.0"
        types = ["<f2", "<f8", ">f4", ">f2", ">f8", "<f4"]
        for layer in layers:
            group = f.create_group(layer.name)
            names = [w.path for w in layer.weights]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for i, (n, value) in enumerate(zip(names, layer.get_weights())):
                kind = types[(len(n) + i) % len(types)]
                packed = {"compression": "gzip", "shuffle": True, "fletcher32": i == 0} if value.ndim > 1 else {}
                group.create_dataset(n, data=value.astype(kind), **packed)


def hostile(name, write, **options):
    (OUT / "hostile").mkdir(exist_ok=True)
    with h5py.File(OUT / "hostile" / f"{name}.h5", "w", **options) as f:
        f.attrs["layer_names"] = [b"fc"]
        group = f.create_group("fc")
        group.attrs["weight_names"] = [b"fc/kernel:0"]
        write(f, group.create_group("fc"))


def hostile_files():
    kernel = np.ones((2, 3), np.float32)

    def linked(link):
        def write(_, fc):
            fc["kernel:0"] = link
        return write

    hostile("external-link", linked(h5py.ExternalLink("/etc/hostname", "/kernel")))
    hostile("soft-link", linked(h5py.SoftLink("/fc")))

    def cycle(f, fc):
        fc["kernel:0"] = kernel
        fc["again"] = f["fc"]
    hostile("cycle", cycle)

    def external_storage(_, fc):
        fc.create_dataset("kernel:0", (2, 3), np.float32, external=[("/etc/hostname", 0, 24)])
    hostile("external-storage", external_storage)

    def virtual(f, fc):
        layout = h5py.VirtualLayout((2, 3), np.float32)
        layout[:] = h5py.VirtualSource("/etc/hostname", "kernel", (2, 3))
        fc.create_virtual_dataset("kernel:0", layout)
    hostile("virtual", virtual, libver=("earliest", "v110"))  # what older libraries can read

    def typed(data, **options):
        return lambda _, fc: fc.create_dataset("kernel:0", data=data, **options)
    hostile("compound", typed(np.zeros(2, [("a", np.float32), ("b", np.int32)])))
    hostile("texts", typed(np.array([b"one", b"two"])))
    hostile("complex", typed(np.ones(2, np.complex64)))
    hostile("filter", typed(np.ones(64, np.float32), compression="lzf"))
    hostile("scale-offset", typed(np.ones(64, np.float32), scaleoffset=2))

    # None of these holds the elements that it has room for.
    def sized(shape, **options):
        return lambda _, fc: fc.create_dataset("kernel:0", shape, np.float32, **options)
    hostile("terabyte", sized((1 << 19, 1 << 19), chunks=(64, 64)))
    hostile("gigabytes", sized((1 << 15, 1 << 15), chunks=(1 << 10, 1 << 10), compression="gzip"))
    hostile("overflow", sized((1 << 40, 1 << 40), chunks=(64, 64)))

    def deep(_, fc):
        for _ in range(40):
            fc = fc.create_group("g")
        fc["kernel:0"] = kernel
    hostile("deep", deep, libver="latest")
    hostile("missing", lambda f, fc: None)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    automatic, named, old = build(keras), build(keras, NAMES), build(tf_keras)
    expected = logits(automatic, images)
    for other in (named, old):
        assert np.abs(logits(other, images) - expected).max() < 1e-6
    np.save(OUT / "images.npy", images)
    np.save(OUT / "logits.npy", expected)
    automatic.save(OUT / "whole.keras")
    automatic.save(OUT / "whole-keras3.h5")
    automatic.save_weights(OUT / "automatic.weights.h5")
    named.save_weights(OUT / "named.weights.h5")
    old.save_weights(OUT / "keras2-weights.h5")
    save_packed(OUT / "packed.h5", automatic)
    # A whole model of Keras 2 with an optimiser's state; at this rate a step of training changes no weight.
    old.compile(tf_keras.optimizers.legacy.SGD(0.0, momentum=0.9), "mse")
    before = old.get_weights()
    for layer in old.layers:
        layer.trainable = layer.name == "dense"
    old.train_on_batch(np.zeros((1, 8, 8, 3)), np.zeros((1, 3)))
    old.set_weights(before)
    assert np.abs(logits(old, images) - expected).max() < 1e-6
    old.save(OUT / "keras2-whole.h5")
    hostile_files()
    for file in sorted(OUT.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:8d} {file.relative_to(OUT)}")


if __name__ == "__main__":
    sys.exit(main())
