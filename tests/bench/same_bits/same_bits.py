#!/usr/bin/env python3
"""Checks whether two builds compute the same bits.

usage: same_bits.py OLD NEW [--models FILE...] [--archs ARCH...] [--quick]

OLD and NEW are folders with the programs of two builds (build/release/bin). Both make, run and train the same networks,
with every instruction set that this machine has and every backend; the checksums (SHA-256) of all results are
compared: model files, plans, logits, device files, trained networks. Prints one line per network; the exit code is 1
if a checksum differs. Needs nothing but Python's standard library.
"""
import argparse
import hashlib
import os
import random
import struct
import subprocess
import sys
import tempfile

ARCHS = ["sparsenet-abc-v0", "sparsenet-abc-v1", "densenet-bc-100-12", "resnet20",
         "sparsenet-abc:blocks=2-2,k=4,path=2", "resnet50:image-size=64"]
KINDS = [("avx512", "auto"), ("avx2", "auto"), ("baseline", "auto"), ("compact", "auto"), ("", "onednn"),
         ("", "reference")]


def npy(path, shape, values, kind="f"):
    header = "{'descr': '<%s4', 'fortran_order': False, 'shape': (%s,), }" % (kind, ", ".join(map(str, shape)))
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        f.write(struct.pack("<%d%s" % (len(values), kind), *values))


def random_npy(path, shape, seed):
    rng = random.Random(seed)
    count = 1
    for d in shape:
        count *= d
    npy(path, shape, [rng.gauss(0, 1) for _ in range(count)])


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout + done.stderr


def sum_of(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def input_shape(binaries, model):
    import json
    code, text = run([binaries + "/sparsenet", "info", model, "--json"])
    if code != 0:
        return None
    info = json.loads(text)
    shape = (info.get("inputs") or [{}])[0].get("shape")
    return shape and [2] + shape[1:]


def sums(binaries, model, folder, train):
    """Name -> checksum of everything that this build makes from the model file."""
    out = {}
    shape = input_shape(binaries, model)
    if shape is None:
        return {"info": "failed"}
    images = folder + "/images.npy"
    random_npy(images, shape, 1)
    for isa, backend in KINDS:
        name = "run %s %s" % (isa or "widest", backend)
        for threads in ("1", "2"):
            result = folder + "/logits.npy"
            code, text = run([binaries + "/sparsenet", "run", model, "-i", images, "-o", result, "--backend", backend,
                              "-t", threads], {"SPARSENET_ISA": isa})
            out[name + " t" + threads] = sum_of(result) if code == 0 else "exit %d" % code
            if code == 0:
                os.remove(result)
    device = folder + "/device.snet"
    code, text = run([binaries + "/sparsenet-convert", model, "--plan", "portable-f32", "--test-vectors", "2", "-o", device])
    out["plan"] = sum_of(device) if code == 0 else "exit %d" % code
    if train and len(shape) == 4:
        n = 24
        random_npy(folder + "/train.npy", [n] + shape[1:], 2)
        npy(folder + "/labels.npy", [n], [i % 4 for i in range(n)], "i")
        for isa in ("avx512", "avx2", "baseline", "compact"):
            trained = folder + "/trained.snet"
            code, text = run([binaries + "/sparsenet", "train", model, "--data",
                              "npy:%s/train.npy,%s/labels.npy" % (folder, folder), "--epochs", "2", "--batch", "8",
                              "--lr", "0.01", "--keep-labels", "-o", trained], {"SPARSENET_ISA": isa})
            out["train " + isa] = sum_of(trained) if code == 0 else "exit %d: %s" % (code, text[-200:])
            for left in (trained, trained + ".checkpoint"):
                if os.path.exists(left):
                    os.remove(left)
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--archs", nargs="*", default=ARCHS)
    parser.add_argument("--quick", action="store_true", help="no trainings")
    options = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for what in options.archs + options.models:
            results = []
            for binaries in (options.old, options.new):
                binaries = os.path.abspath(binaries)
                model = what
                made = {}
                if what in options.archs:
                    model = folder + "/model.snet"
                    code, text = run([binaries + "/sparsenet", "create", what, "-o", model, "--seed", "3"])
                    if code != 0:
                        sys.exit("error: %s: %s" % (what, text))
                    made["create"] = sum_of(model)
                made.update(sums(binaries, model, folder, not options.quick))
                results.append(made)
            old, new = results
            wrong = [k for k in sorted(set(old) | set(new)) if old.get(k) != new.get(k)]
            failed = [k for k in old if old[k].startswith(("exit", "failed"))]
            print("%-40s %3d sums, %d differ%s" % (os.path.basename(what), len(old), len(wrong),
                                                   ", not run: " + "; ".join(failed) if failed else ""), flush=True)
            for k in wrong:
                print("    %s: %s, now %s" % (k, old.get(k), new.get(k)))
            different += len(wrong)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
