#!/usr/bin/env python3
"""Writes data/integers: what TensorFlow Lite Micro's reference kernels compute with MLPerf Tiny's int8 networks.

    python3 -m venv tflm && tflm/bin/pip install tflite-micro
    tflm/bin/python tests/goldens/make_integer_goldens.py [SHARED]

SHARED is the folder of shared models and data (default: the one beside the project's). Made with tflite_micro
0.dev20261023182759 and numpy 2.4.6, on x86-64; the same files come out of every run. Takes some minutes. The tests need
none of this software.

    resnet8.npy  int8 [10000, 10]: the outputs for CIFAR-10's test images, in their order; inputs are pixels - 128
    kws.npy      int8 [1000, 12]: the outputs for generated inputs
    ad.npy       uint8 [1000, 8]: the outputs' checksums, little-endian, for generated inputs

Generated inputs are one stream of bytes, see generated(). A checksum is FNV-1a with 64 bits.
"""
import pathlib
import sys

import numpy as np
import tflite_micro
from tflite_micro.python.tflite_micro import runtime

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "data" / "integers"
COUNT = 1000


def generated(count):
    """Bytes of a linear congruential generator: the upper 8 of 32 bits."""
    state, out = 1, bytearray()
    for _ in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(state >> 24)
    return np.frombuffer(bytes(out), np.int8)


def checksum(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def images(file):
    records = np.fromfile(file, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return (pixels.astype(np.int16) - 128).astype(np.int8)


def outputs(model, inputs):
    interpreter = runtime.Interpreter.from_file(str(model))
    found = []
    for x in inputs:
        interpreter.set_input(x[None], 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0)[0].copy())
    return np.array(found)


def main():
    shared = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[2] / "shared"
    models = shared / "models"
    OUT.mkdir(parents=True, exist_ok=True)
    print("tflite_micro", tflite_micro.__version__, "numpy", np.__version__)

    inputs = generated(COUNT * 49 * 10).reshape(COUNT, 49, 10, 1)
    np.save(OUT / "kws.npy", outputs(models / "mlperf-tiny-kws" / "kws_ref_model.tflite", inputs))
    inputs = generated(COUNT * 640).reshape(COUNT, 640)
    found = outputs(models / "mlperf-tiny-ad" / "ad01_int8.tflite", inputs)
    sums = np.array([checksum(y.tobytes()) for y in found], "<u8")
    np.save(OUT / "ad.npy", sums.view(np.uint8).reshape(COUNT, 8))

    inputs = images(shared / "data" / "cifar10" / "test_batch.bin")
    np.save(OUT / "resnet8.npy", outputs(models / "mlperf-tiny-resnet8" / "pretrainedResnet_quant.tflite", inputs))


if __name__ == "__main__":
    main()
