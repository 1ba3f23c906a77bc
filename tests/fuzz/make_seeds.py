#!/usr/bin/env python3
"""Writes the files that fuzzing starts from, one folder per target. Needs numpy and torch, and the release preset's programs.

    tests/fuzz/make_seeds.py OUT

What is committed in corpus/ is what `fuzz.sh --merge` keeps of these and of what fuzzing has found. Files of ONNX and
TensorFlow Lite come from the tests' own data.
"""
import io
import pathlib
import pickle
import struct
import subprocess
import sys
import zlib

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "release" / "bin"
# The same as in target_weights.cpp.
ARCHITECTURE = "sparsenet-basic:blocks=1,k=1,path=1,image-size=4,classes=2"
LONGEST = 16384

out = pathlib.Path(sys.argv[1])


def put(target, name, content):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], check=False, capture_output=True, text=True)


def pack(named):
    """See scratch.h."""
    packed = b""
    for name, content in named:
        packed += bytes([len(name)]) + name.encode() + struct.pack("<H", len(content)) + content
    return packed


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def xxh64(data):
    """The checksum of our own files, for inputs below a kilobyte or so."""
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5, mask = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5, (1 << 64) - 1
    rotate = lambda x, r: ((x << r) | (x >> (64 - r))) & mask
    mix = lambda acc, lane: rotate((acc + lane * p2) & mask, 31) * p1 & mask
    at = 0
    if len(data) >= 32:
        lanes = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        while at + 32 <= len(data):
            lanes = [mix(lanes[i], word) for i, word in enumerate(struct.unpack_from("<4Q", data, at))]
            at += 32
        total = sum(rotate(lane, r) for lane, r in zip(lanes, (1, 7, 12, 18))) & mask
        for lane in lanes:
            total = ((total ^ mix(0, lane)) * p1 + p4) & mask
    else:
        total = p5
    total = (total + len(data)) & mask
    while at + 8 <= len(data):
        total = (rotate(total ^ mix(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= len(data):
        total = (rotate(total ^ struct.unpack_from("<I", data, at)[0] * p1 & mask, 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        total = rotate(total ^ byte * p5 & mask, 11) * p1 & mask
    total = (total ^ total >> 33) * p2 & mask
    total = (total ^ total >> 29) * p3 & mask
    return total ^ total >> 32


def graphs():
    sources = list((ROOT / "tests/goldens/data/graphs").glob("*.onnx"))
    sources += list((ROOT / "tests/unit/converter_data").glob("*.onnx"))
    sources += list((ROOT / "tests/unit/converter_data").glob("*.tflite"))
    sources += list((ROOT / "tests/goldens/data/integers").glob("*.tflite"))
    for more in sys.argv[2:]:
        sources += list(pathlib.Path(more).glob("*.onnx"))
    for source in sources:
        content = source.read_bytes()
        if len(content) > LONGEST:
            continue
        put(source.suffix[1:], source.name, content)
        for kind, options in (("plan", ["--plan", "portable-f32", "--test-vectors", "1"]),
                              ("train", ["--test-vectors", "1", "--plan", "portable-f32", "--training-plan"]),
                              ("plain", [])):
            made = out / "made.snet"
            if run(BIN / "sparsenet-convert", source, "-o", made, *options).returncode != 0:
                continue
            content = made.read_bytes()
            if len(content) <= 2 * LONGEST:
                put("model", f"{source.stem}.{kind}", content)
                if kind != "plain":
                    put("device", f"{source.stem}.{kind}", content)
            made.unlink()


def head_behind_integers():
    """A body of integers with a float32 layer that a plan trains."""
    made, images, labels = out / "made.snet", out / "images.npy", out / "labels.npy"
    images.write_bytes(npy(np.random.default_rng(1).standard_normal((8, 3, 4, 4)).astype(np.float32)))
    labels.write_bytes(npy((np.arange(8) % 2).astype(np.int64)))
    steps = [["sparsenet", "create", ARCHITECTURE, "-o", made],
             ["sparsenet", "quantize", made, "--data", f"npy:{images},{labels}", "--samples", "8", "--keep-float", "fc", "-o", made],
             ["sparsenet-convert", made, "-o", made, "--test-vectors", "1", "--plan", "portable-f32", "--training-plan"]]
    for program, *arguments in steps:
        print(run(BIN / program, *arguments).stderr, end="")
    for target in ("model", "device"):
        put(target, "head-behind-integers.train", made.read_bytes())
    for file in (made, images, labels):
        file.unlink()


def state_dict():
    made = out / "made.snet"
    print(run(BIN / "sparsenet", "create", ARCHITECTURE, "-o", made).stderr, end="")
    tensors = run(BIN / "sparsenet", "info", made, "--tensors").stdout.split("\ntensors\n")[1]
    made.unlink()
    torch.manual_seed(1)
    state = {}
    for line in tensors.splitlines():
        name, shape = line.split("[")[0].strip(), line.split("[")[1].split("]")[0]
        state[name] = torch.rand([int(size) for size in shape.split(",")])
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    return state


def weights():
    state = state_dict()
    wrapped = {"state_dict": {"module." + name: tensor for name, tensor in state.items()}, "epoch": 3, "best": 0.5,
               "arch": "small", "optimizer": {"param_groups": [{"lr": 0.1, "params": [0, 1]}]}}
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    shared = dict(state)
    shared["fc.bias"] = shared["fc.weight"][0, :2]
    for name, value in (("plain", state), ("wrapped", wrapped), ("half", half), ("shared", shared)):
        for legacy in (False, True):
            stream = io.BytesIO()
            torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
            put("torch", f"{name}-{'legacy' if legacy else 'zip'}", stream.getvalue())
        for protocol in (3, 4, 5):
            stream = io.BytesIO()
            torch.save(value, stream, pickle_protocol=protocol)
            put("torch", f"{name}-zip{protocol}", stream.getvalue())
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    for name, write in (("stored", np.savez), ("compressed", np.savez_compressed)):
        stream = io.BytesIO()
        write(stream, **arrays)
        put("npz", name, stream.getvalue())
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: np.asfortranarray(a.astype(np.float64)) for name, a in arrays.items()})
    put("npz", "fortran", stream.getvalue())
    for dtype, kind in ((np.float32, "F32"), (np.float16, "F16")):
        header, data = {"__metadata__": {"format": "pt"}}, b""
        for name, array in arrays.items():
            typed = array.astype(dtype if array.dtype == np.float32 else np.int64)
            header[name] = {"dtype": kind if array.dtype == np.float32 else "I64", "shape": list(array.shape),
                            "data_offsets": [len(data), len(data) + typed.nbytes]}
            data += typed.tobytes()
        text = str(header).replace("'", '"').encode()
        put("safetensors", kind, struct.pack("<Q", len(text)) + text + data)
    # The old checkpoints of Python 2, pickled with protocol 2 and with strings as bytes.
    put("torch", "not-torch", pickle.dumps({"a": [1, 2.5, "x", None, True, (1, 2)], "b": 10**30}, protocol=2))


def arrays():
    base = np.arange(12).reshape(3, 4)
    for kind in ("f2", "<f4", ">f4", "<f8", ">f8", "i1", "u1", "<i2", ">u2", "<i4", "<u4", "<i8", ">i8", "<u8", "?"):
        put("npy", "type" + kind.strip("<>") + str(kind[0] == ">"), npy(base.astype(kind)))
    put("npy", "fortran", npy(np.asfortranarray(base.astype("<f4"))))
    put("npy", "version2", npy(base.astype("<f4"), version=(2, 0)))
    put("npy", "scalar", npy(np.float32(3)))
    put("npy", "empty", npy(np.zeros((0, 3), "<f4")))
    put("npy", "object", npy(np.array([None, 1], dtype=object), allow_pickle=True))
    put("npy", "record", npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")])))
    images = np.zeros((2, 3, 4, 4), "<f4")
    put("arrays", "floats", pack([("images.npy", npy(images)), ("labels.npy", npy(np.array([0, 1], "<i8")))]))
    put("arrays", "column", pack([("images.npy", npy(images.astype("u1"))), ("labels.npy", npy(np.ones((2, 1), "u1")))]))


def images():
    samples = {}
    for path in (ROOT / "tests/cli/data").iterdir():
        if path.suffix in (".png", ".jpg"):
            put("png" if path.suffix == ".png" else "jpeg", path.name, path.read_bytes())
            samples[path.name] = path.read_bytes()
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for depth, colour, interlaced in ((1, 0, 0), (2, 3, 0), (4, 0, 1), (8, 2, 1), (16, 6, 0), (8, 4, 0), (16, 0, 1)):
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        rows = zlib.compress(bytes(400))
        parts = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, depth, colour, 0, 0, interlaced))
        if colour == 3:
            parts += chunk(b"PLTE", bytes(range(12))) + chunk(b"tRNS", b"\0\x80")
        row = (5 * depth * channels + 7) // 8 + 1
        if not interlaced:
            rows = zlib.compress(b"".join(bytes([i % 5]) + bytes(row - 1) for i in range(4)))
        parts += chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"tEXt", b"Comment\0x")
        put("png", f"depth{depth}-colour{colour}-{interlaced}",
            b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IDAT", rows[:9]) + chunk(b"IDAT", rows[9:]) + chunk(b"IEND", b""))
    put("folder", "classes", pack([("cat/a.png", samples["rgb.png"]), ("cat/b.jpg", samples["gray.jpg"]),
                                   ("dog/c.PNG", samples["palette.png"]), ("dog/notes.txt", b"x")]))
    put("folder", "splits", pack([("train/a/1.png", samples["gray.png"]), ("test/a/1.png", samples["rgb.png"]),
                                  ("test/a/broken.png", b"\x89PNG")]))


def cifar():
    record = bytes([3]) + bytes(range(256)) * 12
    names = "\n".join(f"class{i}" for i in range(10)).encode()
    hundred = "\n".join(f"c{i}" for i in range(100)).encode()
    put("cifar", "ten", pack([("test_batch.bin", record), ("batches.meta.txt", names)]))
    put("cifar", "unpacked", pack([("cifar-10-batches-bin/test_batch.bin", record)]))
    put("cifar", "hundred", pack([("test.bin", b"\1" + record), ("train.bin", b"\1" + record),
                                  ("fine_label_names.txt", hundred)]))


def matlab_element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matlab_array(name, array, mat_class, kind):
    flags = matlab_element(6, struct.pack("<II", mat_class, 0))
    dims = matlab_element(5, struct.pack(f"<{array.ndim}i", *array.shape))
    body = flags + dims + matlab_element(1, name.encode()) + matlab_element(kind, array.tobytes(order="F"))
    return matlab_element(14, body)


def svhn():
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    for count in (1, 2):
        x = matlab_array("X", np.ones((32, 32, 3, count), "u1"), 9, 2)
        y = matlab_array("y", np.full((count, 1), 10, "u1"), 9, 2)
        y_double = matlab_array("y", np.full((count, 1), 3, "<f8"), 6, 9)
        def packed(element):
            data = zlib.compress(element)
            return struct.pack("<II", 15, len(data)) + data
        put("svhn", f"plain{count}", header + x + y)
        put("svhn", f"packed{count}", header + packed(x) + packed(y_double))


def checkpoints():
    def number(value):
        return struct.pack("<Q", value)
    def text(value):
        return number(len(value)) + value
    record = struct.pack("<dddddq", 1.5, 0.5, 0.25, 0.1, 12.0, 100)
    for name, state, losses in (("short", b"", 0), ("long", bytes(800), 3)):
        body = number(2) + text(b"--epochs") + text(b"2") + text(b"--batch") + text(b"2") + number(5)
        body += number(1) + record + struct.pack("<ddqq", 0.5, 1.0, 3, 4)
        body += number(losses > 0) + number(losses) + struct.pack(f"<{losses}d", *([0.5] * losses)) + text(state)
        put("checkpoint", name, b"SNETCKPT" + struct.pack("<IIQQ", 1, 0, 32 + len(body), xxh64(body)) + body)


def texts():
    for index, line in enumerate((
            "sparsenet-abc-v1", "SparseNet-abc-V0:classes=5", "densenet-bc-100-12", "densenet-40-12", "resnet20",
            "resnet110:classes=100,bn-eps=1e-3", "densenet-bc:blocks=1-2-3,k=4,stem=imagenet,image-size=64",
            "sparsenet-abc:blocks=8-12-16,k=16,path=14,keep=7-7,attention=paper,pre-relu=1,classes=10,stem=cifar,bn-eps=1e-5",
            "sparsenet-basic:blocks=1,k=1,path=1,image-size=4,classes=2,attention=se", "sparsenet-bc:keep=0-4,path=4")):
        put("arch", str(index), line.encode())
    for index, lines in enumerate((
            "module\\.(.*)=$1\n\nmodule.fc.weight", "# comment\nconv_stem\\.(.*)=stem.$1\n.*num_batches.*=",
            "(a|b)+c?[d-f]{2,3}=x$2\n\nabdd\nabee", "^layer(\\d+)\\.(\\w+)$=block$1.$2\n\nlayer12.weight",
            "(a*)*b=x", "(?:x)(?=y)\\1=z\n[[:alpha:]]+=$&")):
        put("map", str(index), lines.encode())
    for index, line in enumerate(("cifar10:data#train", "svhn:DIR#train+extra", "npy:a.npy,b.npy", "folder:x/y#val",
                                  "cifar100:d", "portable", "reference", "onnx", "safetensors", "cat\ndog\n", "a.JPEG",
                                  "0.485,0.456,0.406 0.229,0.224,0.225", "123.675,116.28,103.53 58.395,57.12,57.375",
                                  "0,0,0", "1e-3,2,3 1e30,4,1e-40")):
        put("options", str(index), line.encode())
    for index, line in enumerate(("name%profile%help%", "db load 48%db 0001020304ff%db print%infer 3 1%",
                                  "timestamp%results%", "db load 2%db 00ff%db 00%", "infer 0%x y z%")):
        put("mlperf", str(index), line.encode())


for make in (graphs, head_behind_integers, weights, arrays, images, cifar, svhn, checkpoints, texts):
    make()
for folder in sorted(out.iterdir()):
    print(f"{folder.name:12} {len(list(folder.iterdir())):4} files")
