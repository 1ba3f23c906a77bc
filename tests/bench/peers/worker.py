"""One measurement of one engine in a separate process; prints nothing, writes a JSON file.

    worker.py ENGINE FOLDER THREADS WARMUP RUNS OUT.json

Measured: import_ms (the engine's Python package), load_ms (read the model, compile or prepare it), first_run_ms, each later
run, the output's largest difference from float64 relative to the largest logit, and the peak of the resident memory, also
without what the interpreter and NumPy took before the engine was loaded.
"""

import json
import os
import sys
import time

import numpy as np


def milliseconds(start):
    return (time.perf_counter_ns() - start) / 1e6


def memory_peak():
    """Peak memory in bytes: the kernel's high-water mark of this process image, which excludes the time before exec."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


class OnnxRuntime:
    def bring_in(self):
        import onnxruntime

        self.ort = onnxruntime
        return onnxruntime.__version__

    def load(self, folder, x, threads):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = self.ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self.ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = self.ort.InferenceSession(f"{folder}/net.onnx", options, providers=["CPUExecutionProvider"])
        self.binding = session.io_binding()
        self.value = self.ort.OrtValue.ortvalue_from_numpy(x)
        self.binding.bind_ortvalue_input("input", self.value)
        self.binding.bind_output("logits")
        self.session = session

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def output(self):
        return self.binding.copy_outputs_to_cpu()[0]


class OpenVino:
    pinning = None

    def bring_in(self):
        import openvino

        self.ov = openvino
        return openvino.__version__.split("-")[0]

    def load(self, folder, x, threads):
        core = self.ov.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
        }
        if self.pinning is not None:
            settings["ENABLE_CPU_PINNING"] = self.pinning
        compiled = core.compile_model(core.read_model(f"{folder}/net.xml"), "CPU", settings)
        self.request = compiled.create_infer_request()
        self.tensor = self.ov.Tensor(x, shared_memory=True)
        self.request.set_input_tensor(self.tensor)
        self.compiled = compiled

    def run(self):
        self.request.infer()

    def output(self):
        return self.request.get_output_tensor().data.copy()


class OpenVinoUnpinned(OpenVino):
    pinning = False


class Mnn:
    precision = "high"

    def bring_in(self):
        if "MNN_PYTHONPATH" in os.environ:  # a custom build: the wheel is built without AVX-512
            sys.path.insert(0, os.environ["MNN_PYTHONPATH"])
        import MNN

        self.mnn = MNN
        return MNN.version()

    def load(self, folder, x, threads):
        mnn = self.mnn
        self.interpreter = mnn.Interpreter(f"{folder}/net.mnn")
        settings = {"backend": "CPU", "numThread": threads, "precision": self.precision}
        self.session = self.interpreter.createSession(settings)
        source = self.interpreter.getSessionInput(self.session)
        self.host = mnn.Tensor(x.shape, mnn.Halide_Type_Float, x, mnn.Tensor_DimensionType_Caffe)
        self.source = source
        self.source.copyFrom(self.host)

    def run(self):
        self.source.copyFrom(self.host)
        self.interpreter.runSession(self.session)
        self.result = self.interpreter.getSessionOutput(self.session)

    def output(self):
        shape = self.result.getShape()
        host = self.mnn.Tensor(shape, self.mnn.Halide_Type_Float, np.zeros(shape, np.float32),
                               self.mnn.Tensor_DimensionType_Caffe)
        self.result.copyToHostTensor(host)
        return np.array(host.getNumpyData(), np.float32).reshape(shape)


class MnnNormal(Mnn):
    precision = "normal"


class Ncnn:
    def bring_in(self):
        import ncnn

        self.ncnn = ncnn
        return ncnn.__version__

    def load(self, folder, x, threads):
        if x.shape[0] != 1:
            raise RuntimeError("ncnn has no batches")
        net = self.ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_vulkan_compute = False
        for switch in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
            if hasattr(net.opt, "use_" + switch):
                setattr(net.opt, "use_" + switch, False)
        if net.load_param(f"{folder}/net.param") or net.load_model(f"{folder}/net.ncnn.bin"):
            raise RuntimeError("ncnn could not load the network")
        self.net = net
        self.mat = self.ncnn.Mat(x[0]).clone()
        self.source, self.sink = net.input_names()[0], net.output_names()[0]

    def run(self):
        extractor = self.net.create_extractor()
        extractor.input(self.source, self.mat)
        status, self.result = extractor.extract(self.sink)
        if status:
            raise RuntimeError(f"ncnn returned {status}")

    def output(self):
        return np.array(self.result)[None]


class TorchEager:
    def bring_in(self):
        import torch

        self.torch = torch
        return torch.__version__.split("+")[0]

    def begin(self, threads):
        self.torch.set_num_threads(threads)
        self.torch.set_num_interop_threads(1)
        self.torch.set_grad_enabled(False)

    def load(self, folder, x, threads):
        self.begin(threads)
        import networks

        with open(f"{folder}/done.json") as f:
            net = networks.build(json.load(f)["arch"])
        net.load_state_dict(self.torch.load(f"{folder}/net.pth"))
        self.net = net.to(memory_format=self.torch.channels_last)
        self.x = self.torch.from_numpy(x).contiguous(memory_format=self.torch.channels_last)

    def run(self):
        self.result = self.net(self.x)

    def output(self):
        return self.result.numpy()


class TorchJit(TorchEager):
    """Traced and frozen, channels last. (optimize_for_inference and torch.compile were slower here when tried.)"""

    def load(self, folder, x, threads):
        self.begin(threads)
        self.net = self.torch.jit.load(f"{folder}/net.pt")
        self.x = self.torch.from_numpy(x).contiguous(memory_format=self.torch.channels_last)


ENGINES = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "openvino-unpinned": OpenVinoUnpinned,
    "mnn": Mnn,
    "mnn-normal": MnnNormal,
    "ncnn": Ncnn,
    "torch-eager": TorchEager,
    "torch-jit": TorchJit,
}


def main():
    name, folder, threads, warmup, runs, out = sys.argv[1:7]
    x = np.load(f"{folder}/input.npy")
    expected = np.load(f"{folder}/expected.npy")
    engine = ENGINES[name]()
    before = memory_peak()
    start = time.perf_counter_ns()
    version = engine.bring_in()
    import_ms = milliseconds(start)
    start = time.perf_counter_ns()
    engine.load(folder, x, int(threads))
    load_ms = milliseconds(start)
    start = time.perf_counter_ns()
    engine.run()
    first_run_ms = milliseconds(start)
    for _ in range(int(warmup)):
        engine.run()
    times = []
    for _ in range(int(runs)):
        start = time.perf_counter_ns()
        engine.run()
        times.append(milliseconds(start))
    peak = memory_peak()
    got = np.asarray(engine.output(), np.float64).reshape(expected.shape)
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    with open(out, "w") as f:
        json.dump({"version": version, "import_ms": import_ms, "load_ms": load_ms, "first_run_ms": first_run_ms,
                   "times_ms": times, "error": error, "peak_rss_bytes": peak, "rss_before_bytes": before}, f)


if __name__ == "__main__":
    main()
