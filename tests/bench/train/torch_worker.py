#!/usr/bin/env python3
"""One measurement of training in PyTorch, in a separate process; prints one JSON object.

    torch_worker.py ARCH IMAGES.npy LABELS.npy --batch N --threads N --warmup N --steps N [--compile]

A step is the forward pass, cross-entropy, backward pass and SGD's update as in the engine's recipe, channels-last, on
images that are already in memory.
"""

import argparse
import json
import os
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "goldens"))


def resident(which):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(which + ":"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("arch")
    parser.add_argument("images")
    parser.add_argument("labels")
    for name in ("batch", "threads", "warmup", "steps"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()

    import torch
    from torch.nn import functional as F

    import reference_net

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    images = torch.from_numpy(np.load(args.images)).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(np.load(args.labels).astype(np.int64))
    net = reference_net.build(args.arch).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    start_rss = resident("VmRSS")
    forward = torch.compile(net) if args.compile else net
    batches = len(images) // args.batch

    def step(i):
        begin = i % batches * args.batch
        loss = F.cross_entropy(forward(images[begin : begin + args.batch]), labels[begin : begin + args.batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    first = time.perf_counter()
    losses = [step(i) for i in range(args.warmup)]
    warmup_seconds = time.perf_counter() - first
    begin = time.perf_counter()
    losses += [step(args.warmup + i) for i in range(args.steps)]
    seconds = time.perf_counter() - begin
    print(json.dumps({
        "version": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()
        if hasattr(torch.backends, "cpu") else os.environ.get("ATEN_CPU_CAPABILITY", ""),
        "images_per_second": args.steps * args.batch / seconds, "warmup_seconds": warmup_seconds,
        "start_rss_bytes": start_rss, "peak_rss_bytes": resident("VmHWM"), "losses": losses,
    }))


if __name__ == "__main__":
    main()
