"""One measurement of one peer's int8 network, in a process of its own.

    worker.py onnxruntime|openvino MODEL THREADS RUNS HOLD

Prints the latencies as JSON, in ms. With HOLD = 1 Linux refuses this process the permission for the tiles of AMX, so that
libraries take what comes next, AVX-512 VNNI.
"""

import ctypes
import errno
import json
import struct
import sys
import time

import numpy as np


def refuse_tiles():
    """A filter of system calls: arch_prctl(ARCH_REQ_XCOMP_PERM) fails, everything else is as it was (x86-64)."""
    load, jump_if_equal, leave = 0x20, 0x15, 0x06
    number, first_argument = 0, 16  # offsets within seccomp_data
    arch_prctl, request_permission = 158, 0x1023
    allow, fail = 0x7FFF0000, 0x00050000 | errno.EPERM
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in [
        (load, 0, 0, number), (jump_if_equal, 0, 3, arch_prctl),
        (load, 0, 0, first_argument), (jump_if_equal, 0, 1, request_permission),
        (leave, 0, 0, fail), (leave, 0, 0, allow)])
    memory = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(memory)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_filter, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_filter, filter_mode, header, 0, 0):
        sys.exit(f"the filter of system calls was refused: errno {ctypes.get_errno()}")


def data_for(shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def onnxruntime(path, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = session.get_inputs()[0]
    binding = session.io_binding()
    binding.bind_cpu_input(x.name, data_for([d if isinstance(d, int) else 1 for d in x.shape]))
    binding.bind_output(session.get_outputs()[0].name)
    return lambda: session.run_with_iobinding(binding)


def openvino(path, threads):
    import openvino as ov

    core = ov.Core()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    request = core.compile_model(path, "CPU", options).create_infer_request()
    request.set_input_tensor(ov.Tensor(data_for([int(d) for d in request.get_input_tensor().shape])))
    return request.infer


def main():
    engine, path, threads, runs, hold = sys.argv[1:]
    if hold == "1":
        refuse_tiles()
    run = {"onnxruntime": onnxruntime, "openvino": openvino}[engine](path, int(threads))
    times = []
    for i in range(int(runs) + 10):
        start = time.perf_counter()
        run()
        if i >= 10:
            times.append((time.perf_counter() - start) * 1e3)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
