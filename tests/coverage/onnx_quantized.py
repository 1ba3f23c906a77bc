#!/usr/bin/env python3
"""Quantises networks with ONNX Runtime, converts the files, and compares what is computed with ONNX Runtime's results.

    onnx_quantized.py [--only PATTERN] [--build BUILD] [--shared ../shared] [--images 2000] [--keep FOLDER]

Nothing is trained. Networks: ResNet20 and sparsenet-abc-v0 with trained weights of others (folder --shared), calibrated
and tested on CIFAR-10; torchvision's resnet18 and mobilenet_v2 with random weights, on random images. Each is quantised
by onnxruntime.quantization.quantize_static, as QuantizeLinear and DequantizeLinear around float operators (qdq) and as
operators on integers (qoperator), with activations of uint8 and of int8; weights are int8, with a scale per channel.

Outputs are told apart in steps of the output's own scale: for how many the result is equal, one step off, two, more;
and the same for ONNX Runtime's own results with and without its optimisations, which replace operators by others that
round otherwise. A network with trained weights is `equal` if its first choice is ONNX Runtime's for 99 % of the
images or more; one with random weights if its outputs are on average within 5 % of their standard deviation of ONNX
Runtime's. The engine requantises with integers, ONNX Runtime in float32: results are a step off now and then, and a
step in an early layer moves all that follows.

Needs onnx, onnxruntime, torch, torchvision. The exit code is 1 if a network is wrong or fails.
"""
import argparse
import fnmatch
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np

import common
import networks

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "goldens"))

AGREEMENT = 0.99
BOUND = 0.05  # of random weights: the mean distance, as a part of the outputs' standard deviation
CALIBRATED = 64  # images
RANDOM_IMAGES = 16
CIFAR10 = {  # name: architecture, weights, mean, std (for pixels of 0..255)
    "resnet20": ("resnet20", "models/akamaster-resnet20/resnet20-12fca82f.th", (123.675, 116.28, 103.53),
                 (58.395, 57.12, 57.375)),
    "sparsenet-abc-v0": ("sparsenet-abc-v0", "models/sparsenet-abc-v0-pytorch/sparsenet-abc-v0-cifar10.pth",
                         (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
}
RANDOM = ("resnet18", "mobilenet_v2")


class Images:
    """What quantize_static calibrates with."""

    def __init__(self, images):
        self.left = [images[i:i + 16] for i in range(0, len(images), 16)]

    def get_next(self):
        return {"input": self.left.pop()} if self.left else None


def normalised(path, count, mean, std):
    import reference_net
    pixels, labels = reference_net.read_cifar10(str(path), count)
    return (pixels - np.array(mean, np.float32).reshape(3, 1, 1)) / np.array(std, np.float32).reshape(3, 1, 1), labels


def trained(name, shared, count):
    """(network, images to calibrate with, images to test with, labels)"""
    import reference_net
    import torch
    arch, weights, mean, std = CIFAR10[name]
    state = torch.load(shared / weights, map_location="cpu", weights_only=False)
    state = state.get("state_dict", state)
    network = reference_net.build(arch)
    network.load_state_dict({key.removeprefix("module."): tensor for key, tensor in state.items()})
    data = shared / "data/cifar10"
    calibration, _ = normalised(data / "data_batch_1.bin", CALIBRATED, mean, std)
    images, labels = normalised(data / "test_batch.bin", count, mean, std)
    return network.eval(), calibration, images, labels


def untrained(name):
    import torch
    network, image = networks.prepare("torchvision", name, None, 0, torch)
    generator = torch.Generator().manual_seed(14)
    images = [torch.randn((count, *image.shape[1:]), generator=generator).numpy()
              for count in (CALIBRATED, RANDOM_IMAGES)]
    return network, images[0], images[1], None


def export(network, images, path):
    import torch
    torch.onnx.export(network, (torch.from_numpy(images[:1]),), str(path), opset_version=17, input_names=["input"],
                      output_names=["output"], dynamo=False, dynamic_axes={"input": {0: "N"}, "output": {0: "N"}})


def quantise(source, target, form, type_name, calibration):
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared))
    kinds = {"uint8": quantization.QuantType.QUInt8, "int8": quantization.QuantType.QInt8}
    forms = {"qdq": quantization.QuantFormat.QDQ, "qoperator": quantization.QuantFormat.QOperator}
    quantization.quantize_static(str(prepared), str(target), Images(calibration), quant_format=forms[form],
                                 per_channel=True, activation_type=kinds[type_name],
                                 weight_type=quantization.QuantType.QInt8)


def expected_outputs(path, images, optimised=True):
    import onnxruntime
    options, levels = onnxruntime.SessionOptions(), onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    parts = [session.run(["output"], {"input": images[i:i + 100]})[0] for i in range(0, len(images), 100)]
    return np.concatenate(parts)


def output_scale(path):
    """The scale of the DequantizeLinear that makes the output; 0: there is none."""
    import onnx
    import onnx.numpy_helper
    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and "output" in node.output:
            return float(onnx.numpy_helper.to_array(tensors[node.input[1]]).ravel()[0])
    return 0.0


def histogram(found, expected, scale):
    if scale == 0:
        return "not quantised"
    steps = np.abs(np.rint((found - expected) / scale)).astype(int).ravel()
    shares = [f"{100 * np.mean(steps == n):.1f} %" for n in (0, 1, 2)] + [f"{100 * np.mean(steps > 2):.1f} %"]
    return f"{' '.join(shares)}, most {steps.max()}"


def check(programs, source, folder, form, type_name, data):
    _, calibration, images, labels = data
    quantised, model = folder / "quantised.onnx", folder / "net.snet"
    quantise(source, quantised, form, type_name, calibration)
    common.convert(programs, quantised, model)
    expected = expected_outputs(quantised, images)
    found = common.compute(programs, model, {"input": images}, folder)["output"]
    plain, scale = expected_outputs(quantised, images, optimised=False), output_scale(quantised)
    remark = (f"steps apart 0/1/2/more: {histogram(found, expected, scale)}; from ONNX Runtime without optimisations: "
              f"{histogram(found, plain, scale)}; between these two: {histogram(expected, plain, scale)}")
    if labels is None:
        distance = np.abs(found - expected).mean() / expected.std()
        return ("equal" if distance <= BOUND else "wrong"), f"{remark}; mean distance {distance:.4f} of the spread"
    choices, theirs = found.argmax(1), expected.argmax(1)
    floats = expected_outputs(source, images).argmax(1)
    same = float(np.mean(choices == theirs))
    right = [int(np.sum(c == labels)) for c in (choices, theirs, floats)]
    remark = (f"same choice {100 * same:.2f} %; right {right[0]}, ONNX Runtime {right[1]}, float {right[2]} of "
              f"{len(labels)}; {remark}")
    return ("equal" if same >= AGREEMENT else "wrong"), remark


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="cases that match this pattern, * for any text")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path("../shared"))
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--keep", type=pathlib.Path, help="folder in which the files stay")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import logging
    logging.disable(logging.WARNING)
    results = common.Results(None, False)
    for name in (*CIFAR10, *RANDOM):
        cases = [(f"{name}-{form}-{kind}", form, kind) for form in ("qdq", "qoperator") for kind in ("uint8", "int8")]
        if arguments.only:
            cases = [case for case in cases if any(fnmatch.fnmatch(case[0], pattern) for pattern in arguments.only)]
        if not cases:
            continue
        data = trained(name, arguments.shared, arguments.images) if name in CIFAR10 else untrained(name)
        for case, form, kind in cases:
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as temporary:
                folder = arguments.keep / case if arguments.keep else pathlib.Path(temporary)
                folder.mkdir(parents=True, exist_ok=True)
                export(data[0], data[2], folder / "float.onnx")
                try:
                    outcome, remark = check(arguments.build / "bin", folder / "float.onnx", folder, form, kind, data)
                except common.Refused as error:
                    outcome, remark = "refused", str(error)
                except common.Failed as error:
                    outcome, remark = "fails", str(error)
            results.add(case, outcome, remark, start)
    return results.summary()


if __name__ == "__main__":
    sys.exit(main())
