#!/usr/bin/env python3
"""Converts networks of Keras Applications to TensorFlow Lite in float32, then for the engine, and compares with Keras.

    keras_tflite.py [NAME...] [--build BUILD] [--results FILE.jsonl]

Needs TensorFlow (2.21 with Keras 3.15 was used); nothing is downloaded. Weights come from a fixed seed; vectors of equal
numbers are made random, so that every part of the network counts, and statistics of batch normalisation are those of
random images. Images are of the network's own size.

A network is `equal` if its outputs differ from Keras's in float64 by at most 3 times what TensorFlow Lite's do, or by at
most 1e-6 of the largest output where that is more. Each network is one process. With --results, results are kept, and
a second run with the same file does only what is missing; --anew does all again.
"""
import argparse
import json
import pathlib
import sys

import numpy as np

import common

FACTOR, FLOOR = 3, 1e-6
NAMES = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "DenseNet121", "ResNet50", "EfficientNetB0", "NASNetMobile",
         "Xception", "InceptionV3"]


def make(name, keras):
    network = getattr(keras.applications, name)(weights=None)
    if network.input_shape[1] is None:  # images of any size
        network = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    return network


def prepare(name, keras):
    """The network with weights and statistics, and an image of bytes [1, H, W, 3], as floats."""
    keras.utils.set_random_seed(10)
    network = make(name, keras)
    random = np.random.default_rng(11)
    for weight in network.weights:
        value = np.array(weight)
        if value.size > 1 and value.std() == 0 and np.issubdtype(value.dtype, np.floating):
            weight.assign((value + 0.2 * random.standard_normal(value.shape)).astype(value.dtype))
    pixels = network.input_shape[1]
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    network(random.uniform(0, 255, (4, pixels, pixels, 3)).astype(np.float32), training=True)
    return network, random.uniform(0, 255, (1, pixels, pixels, 3)).astype(np.float32)


def in_double(name, network, image, keras):
    keras.config.set_floatx("float64")
    double = make(name, keras)
    double.set_weights([np.asarray(weight, np.float64) for weight in network.get_weights()])
    keras.config.set_floatx("float32")
    return np.asarray(double(image.astype(np.float64), training=False))


def lite_output(content, image, tensorflow):
    interpreter = tensorflow.lite.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def export(name, folder):
    """Writes net.tflite; returns the image, TensorFlow Lite's output and Keras's in float64."""
    import tensorflow
    keras = tensorflow.keras
    network, image = prepare(name, keras)
    content = tensorflow.lite.TFLiteConverter.from_keras_model(network).convert()
    (folder / "net.tflite").write_bytes(content)
    return image, lite_output(content, image, tensorflow), in_double(name, network, image, keras)


def check(arguments, folder):
    image, lite, exact = export(arguments.one, folder)
    programs = (arguments.build / "bin").resolve()
    common.convert(programs, folder / "net.tflite", folder / "net.snet")
    channels_first = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    told = common.run([programs / "sparsenet", "info", folder / "net.snet", "--json"], 600)
    entry = json.loads(told.stdout)["inputs"][0]["name"]
    ours = next(iter(common.compute(programs, folder / "net.snet", {entry: channels_first}, folder).values()))
    if ours.size != exact.size:
        return "wrong", f"expected {exact.shape}, found {ours.shape}"
    if not np.isfinite(exact).all() or exact.std() < 1e-3 * np.abs(exact).max():
        return "unusable", "its outputs are nearly the same for all classes, or not finite"
    error, own = common.relative_error(ours, exact), common.relative_error(lite, exact)
    remark = f"{image.shape[1]} pixels: error {error:.1e}, TensorFlow Lite's own {own:.1e}"
    return ("equal" if error <= max(FACTOR * own, FLOOR) else "wrong"), remark


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, help="of Keras Applications; all nine if none is given")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--anew", action="store_true", help="also what the file of results has already")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return common.tell_result(lambda folder: check(arguments, folder))
    results = common.Results(arguments.results, arguments.anew)
    for name in arguments.names:
        command = [sys.executable, __file__, "--one", name, "--build", arguments.build]
        results.find(name, lambda: common.child_result(command, 1800))
    return results.summary()


if __name__ == "__main__":
    sys.exit(main())
