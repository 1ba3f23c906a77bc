#!/usr/bin/env python3
"""A device learns two new classes: V0 trained on eight of CIFAR-10's classes is taught the other two, on one thread.

    experiments/finetune.py --cifar DIR --out OUT [--epochs 20] [--tune-epochs 8] [--per-class 200]

Trains the eight-class network (all images of these classes), then fine-tunes copies of it on a few images of all ten
classes, freezing all but the head, or all but BatchNorm and biases, or nothing. Prints seconds, bytes and the accuracy on
the test images before and after. Needs nothing beyond Python.
"""

import argparse
import array
import json
import os
import struct
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
NEW = (8, 9)  # ship and truck, the last two, so that the others keep their numbers


def records(path):
    with open(path, "rb") as f:
        data = f.read()
    if len(data) == 0 or len(data) % 3073 != 0:
        sys.exit(f"error: {path}: expected records of 3073 bytes, found {len(data)} bytes")
    for at in range(0, len(data), 3073):
        yield data[at], data[at + 1:at + 3073]


def write_npy(path, descr, shape, values):
    """Writes the complete file or none."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    with open(path + ".new", "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        values.tofile(f)
    os.rename(path + ".new", path)


def write_set(base, items):
    """Writes base-images.npy (normalised as in the recipe) and base-labels.npy; returns the argument for --data."""
    images, labels = base + "-images.npy", base + "-labels.npy"
    if not os.path.exists(labels):
        tables = [array.array("f", [(v - MEAN[c]) / STD[c] for v in range(256)]) for c in range(3)]
        pixels, numbers = array.array("f"), array.array("i")
        for label, image in items:
            numbers.append(label)
            for c in range(3):
                table = tables[c]
                pixels.extend([table[v] for v in image[1024 * c:1024 * (c + 1)]])
        write_npy(images, "<f4", (len(numbers), 3, 32, 32), pixels)
        write_npy(labels, "<i4", (len(numbers),), numbers)
    return f"npy:{images},{labels}"


def run(args, *command):
    out = subprocess.run([os.path.join(args.bin, "sparsenet"), *command], stdout=subprocess.PIPE, text=True)
    if out.returncode != 0:
        sys.exit(f"error: 'sparsenet {' '.join(command)}' failed")
    return json.loads(out.stdout)


def accuracy(args, model, data):
    return 100 * run(args, "eval", model, "--data", data, "--json")["top1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", required=True, help="folder of the official CIFAR-10 binary files")
    parser.add_argument("--out", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--tune-epochs", type=int, default=8)
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    place = lambda name: os.path.join(args.out, name)

    train = [r for i in range(1, 6) for r in records(os.path.join(args.cifar, f"data_batch_{i}.bin"))]
    test = list(records(os.path.join(args.cifar, "test_batch.bin")))
    few, counts = [], [0] * 10
    for label, image in train:
        if counts[label] < args.per_class:
            counts[label] += 1
            few.append((label, image))
    old_data = write_set(place("old-train"), [r for r in train if r[0] not in NEW])
    tune_data = write_set(place(f"tune-{args.per_class}"), few)
    tests = {"old": write_set(place("old-test"), [r for r in test if r[0] not in NEW]),
             "new": write_set(place("new-test"), [r for r in test if r[0] in NEW]),
             "all": write_set(place("all-test"), test)}

    base = place(f"eight.e{args.epochs}.snet")
    if not os.path.exists(base):
        run(args, "train", "sparsenet-abc-v0", "--classes", "8", "--data", old_data, "--augment", "crop-flip", "--epochs",
            str(args.epochs), "--schedule", "onecycle", "--lr", "0.1", "--weight-decay", "2e-4", "--seed", "1", "--resume",
            "-o", base, "--json")
    before = accuracy(args, base, tests["old"])
    rows = [("before", "", "", f"{before:.2f}", "0.00", f"{before * 0.8:.2f}")]
    for freeze, rate in (("all-but-head", "0.05"), ("bn-and-bias", "0.05"), ("none", "0.02")):
        model = place(f"tuned-{freeze}.snet")
        start = time.time()
        result = run(args, "train", base, "--classes", "10", "--data", tune_data, "--augment", "crop-flip", "--epochs",
                     str(args.tune_epochs), "--schedule", "cosine", "--lr", rate, "--freeze", freeze, "--threads", "1", "--batch",
                     "32", "--seed", "1", "-o", model, "--json")
        seconds = time.time() - start
        rows.append((freeze, f"{seconds:.1f}", f"{result['memory']['arena_bytes']:,}",
                     *(f"{accuracy(args, model, tests[t]):.2f}" for t in ("old", "new", "all"))))
    print(f"{len(few)} images, {args.tune_epochs} epochs, batch 32, 1 thread\n")
    print("| frozen | seconds | arena, bytes | right of the eight old, % | of the two new, % | of all ten, % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
