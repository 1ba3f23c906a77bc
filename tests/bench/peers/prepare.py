"""Makes one network's files for every engine from the same seeded weights. Run by bench.py as a separate process.

    prepare.py ARCH BATCH FOLDER

FOLDER gets net.pth, net.onnx, net.pt (traced and frozen), net.xml + .bin (OpenVINO), net.mnn, net.param + .bin (ncnn),
input.npy, expected.npy (logits in float64) and done.json. A conversion that fails is noted in done.json, not fatal.
"""

import copy
import json
import os
import subprocess
import sys
import traceback

import numpy as np
import torch

import networks
from networks import SEED, reference_net


def write_torch(net, x, folder):
    net = copy.deepcopy(net).to(memory_format=torch.channels_last)
    traced = torch.jit.trace(net, x.contiguous(memory_format=torch.channels_last))
    torch.jit.freeze(traced).save(os.path.join(folder, "net.pt"))


def write_openvino(net, x, folder):
    import openvino

    model = openvino.convert_model(os.path.join(folder, "net.onnx"))
    openvino.save_model(model, os.path.join(folder, "net.xml"), compress_to_fp16=False)


def write_mnn(net, x, folder):
    # Not the `mnnconvert` script, which installs a logging package with pip and reports each use to a server.
    arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", "net.mnn", "--bizCode", "bench"]
    code = "import sys, _tools; _tools.mnnconvert(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    if not os.path.exists(os.path.join(folder, "net.mnn")):
        raise RuntimeError("the converter wrote nothing")


def write_ncnn(net, x, folder):
    tool = os.path.join(os.path.dirname(sys.executable), "pnnx")
    torch.jit.trace(net, x).save(os.path.join(folder, "for_pnnx.pt"))
    shape = "[" + ",".join(map(str, x.shape)) + "]"
    command = [tool, "for_pnnx.pt", "inputshape=" + shape, "fp16=0", "ncnnparam=net.param", "ncnnbin=net.ncnn.bin"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main():
    arch, batch, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    os.makedirs(folder, exist_ok=True)
    net = networks.randomise(arch, networks.build(arch))
    image = networks.input_shape(arch)
    parameters, macs = reference_net.count(net, image)
    shape = (batch, *image)
    values = np.random.RandomState(SEED).standard_normal(shape).astype(np.float32)
    x = torch.from_numpy(values)
    with torch.no_grad():
        expected = copy.deepcopy(net).double()(x.double()).numpy()
        plain = net(x).numpy()
    error = float(np.abs(plain - expected).max() / np.abs(expected).max())
    np.save(os.path.join(folder, "input.npy"), values)
    np.save(os.path.join(folder, "expected.npy"), expected)
    torch.save(net.state_dict(), os.path.join(folder, "net.pth"))
    opset = 17 if networks.is_torchvision(arch) else 13
    reference_net.export_onnx(net, x, os.path.join(folder, "net.onnx"), opset)
    failed = {}
    for write in (write_torch, write_openvino, write_mnn, write_ncnn):
        try:
            with torch.no_grad():
                write(net, x, folder)
        except Exception as problem:  # one engine is missing, the others go on
            traceback.print_exc()
            failed[write.__name__[6:]] = str(problem)
    done = {"arch": arch, "batch": batch, "parameters": parameters, "macs": macs, "seed": SEED,
            "float32_error": error, "failed": failed}
    with open(os.path.join(folder, "done.json"), "w") as f:
        json.dump(done, f, indent=1)
    print(f"{arch}: {parameters} parameters, {macs} MACs, PyTorch float32 off float64 by {error:.1e}")


if __name__ == "__main__":
    main()
