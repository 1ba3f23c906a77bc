#!/usr/bin/env python3
"""The paper's comparisons at the size of V0, with our own engine: one command, resumable, honest figures.

    tests/experiments/experiments.py --data cifar10:DIR --out OUT [--epochs 12] [--seeds 1,2] [--only attention,keep]

Every run is `sparsenet train` with the same recipe, so that runs differ in the network and the seed alone. Runs that
are in OUT already are not repeated; an interrupted one goes on from its checkpoint. --jobs 2 --threads 1 trains two
networks side by side, with the same results, bit for bit. Needs nothing beyond Python.
"""

import argparse
import concurrent.futures
import json
import math
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# name -> what it asks, networks by label
EXPERIMENTS = {
    "layer": ("the layer: plain, with a bottleneck, with attention too",
              {"basic": "sparsenet-basic-v0", "bc": "sparsenet-bc-v0", "abc": "sparsenet-abc-v0"}),
    "attention": ("attention: the paper's, squeeze-and-excite, none",
                  {"paper": "sparsenet-abc-v0", "se": "sparsenet-abc-v0:attention=se", "none": "sparsenet-bc-v0"}),
    "keep": ("which groups a layer sees: F oldest, N nearest",
             {"0-7": "sparsenet-abc-v0:keep=0-7", "2-5": "sparsenet-abc-v0:keep=2-5", "3-4": "sparsenet-abc-v0",
              "5-2": "sparsenet-abc-v0:keep=5-2", "7-0": "sparsenet-abc-v0:keep=7-0"}),
    "blocks": ("layers by block: growing or even",
               {"4-6-8": "sparsenet-abc-v0", "6-6-6": "sparsenet-abc-v0:blocks=6-6-6"}),
    "path": ("how many groups a layer sees",
             {"3": "sparsenet-abc-v0:path=3", "5": "sparsenet-abc-v0:path=5", "7": "sparsenet-abc-v0",
              "10": "sparsenet-abc-v0:path=10", "dense": "sparsenet-abc-v0:path=20"}),
    "shape": ("layers x width x path at about equal parameters",
              {"deep, narrow": "sparsenet-abc-v0:blocks=6-8-11,k=7,path=5",
               "as V0": "sparsenet-abc-v0",
               "shallow, wide": "sparsenet-abc-v0:blocks=3-4-5,k=10,path=9"}),
    "densenet": ("DenseNet-BC of about equal parameters",
                 {"SparseNet-bc": "sparsenet-bc-v0", "DenseNet-BC-40-8": "densenet-bc-40-8"}),
}

# Okabe and Ito's palette: told apart by the colour-blind too.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


def tool(args, *command):
    out = subprocess.run([os.path.join(args.bin, "sparsenet"), *command], stdout=subprocess.PIPE, text=True)
    if out.returncode != 0:
        sys.exit(f"error: 'sparsenet {' '.join(command)}' failed")
    return out.stdout


def slug(arch):
    return "".join(c if c.isalnum() else "-" for c in arch)


def facts(args, arch):
    """Parameters, MACs and milliseconds an image of a network, measured once."""
    path = os.path.join(args.out, slug(arch) + ".facts.json")
    if not os.path.exists(path):
        model = os.path.join(args.out, slug(arch) + ".untrained.snet")
        tool(args, "create", arch, "-o", model)
        info = json.loads(tool(args, "info", model, "--json"))
        bench = json.loads(tool(args, "bench", model, "--threads", "1", "--runs", "300", "--json"))
        os.remove(model)
        with open(path + ".new", "w") as f:
            json.dump({"parameters": info["parameters"], "macs": info["macs"], "ms": bench["latency_ms"]["p50"]}, f)
        os.rename(path + ".new", path)
    with open(path) as f:
        return json.load(f)


def base_of(args, arch, seed):
    return os.path.join(args.out, f"{slug(arch)}.e{args.epochs}.s{seed}")


def test_error(args, arch, seed):
    """After the last epoch, in percent."""
    with open(base_of(args, arch, seed) + ".json") as f:
        return json.load(f)["epochs"][-1]["test_error_percent"]


def train(args, arch, seed):
    base = base_of(args, arch, seed)
    if not os.path.exists(base + ".json"):
        start = time.time()
        command = ["train", arch, "--data", args.data, "--test", args.data, "--epochs", str(args.epochs), "--schedule",
                   "onecycle", "--lr", str(args.lr), "--weight-decay", str(args.weight_decay), "--seed", str(seed),
                   "--threads", str(args.threads), "-o", base + ".snet", "--log", base + ".csv", "--resume", "--json"]
        result = tool(args, *command)
        with open(base + ".json.new", "w") as f:
            f.write(result)
        os.rename(base + ".json.new", base + ".json")
        for leftover in (base + ".snet.checkpoint", base + ".snet"):
            if os.path.exists(leftover):
                os.remove(leftover)
        print(f"  {arch}, seed {seed}: {test_error(args, arch, seed):.2f} %, {time.time() - start:.0f} s", flush=True)


def spread(values):
    return f"{statistics.stdev(values):.2f}" if len(values) > 1 else "one seed"


def svg_scatter(path, title, x_title, points):
    """points: (label, experiment index, x, error). x is logarithmic."""
    width, height, left, right, top, bottom = 760, 460, 62, 200, 40, 52
    xs, ys = [math.log10(p[2]) for p in points], [p[3] for p in points]
    x0, x1, y0, y1 = min(xs) - 0.05, max(xs) + 0.05, math.floor(min(ys) - 0.3), math.ceil(max(ys) + 0.3)
    px = lambda v: left + (math.log10(v) - x0) / (x1 - x0) * (width - left - right)
    py = lambda v: height - bottom - (v - y0) / (y1 - y0) * (height - top - bottom)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="24" font-size="15">{title}</text>',
           f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">{x_title}</text>',
           f'<text x="16" y="{(top + height - bottom) / 2}" text-anchor="middle" '
           f'transform="rotate(-90 16 {(top + height - bottom) / 2})">test error, %</text>']
    for y in range(y0, y1 + 1):
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{py(y) + 4:.1f}" text-anchor="end">{y}</text>')
    for mantissa in (1, 1.5, 2, 3, 5, 7):
        for exponent in range(3, 10):
            x = mantissa * 10 ** exponent
            if x0 <= math.log10(x) <= x1:
                text = f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k"
                out.append(f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{top}" y2="{height - bottom}" stroke="#eee"/>')
                out.append(f'<text x="{px(x):.1f}" y="{height - bottom + 18}" text-anchor="middle">{text}</text>')
    seen = {}
    for label, index, x, y in points:
        colour = COLOURS[index % len(COLOURS)]
        out.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="4" fill="{colour}"/>')
        name = label.split(":")[0]
        if name not in seen:
            seen[name] = len(seen)
            y_legend = top + 16 * seen[name]
            out.append(f'<circle cx="{width - right + 16}" cy="{y_legend - 4}" r="4" fill="{colour}"/>')
            out.append(f'<text x="{width - right + 26}" y="{y_legend}">{name}</text>')
        out.append(f'<text x="{px(x) + 6:.1f}" y="{py(y) - 6:.1f}" font-size="9">{label.split(":", 1)[1]}</text>')
    out.append("</svg>\n")
    with open(path, "w") as f:
        f.write("\n".join(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="e.g. cifar10:DIR; its train split trains, its test split measures")
    parser.add_argument("--out", required=True, help="folder of results")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=2e-4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--only", help="names of experiments: " + ", ".join(EXPERIMENTS))
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            sys.exit(f"error: --only: expected some of {', '.join(EXPERIMENTS)}, found '{name}'")
    seeds = [int(s) for s in args.seeds.split(",")]
    os.makedirs(args.out, exist_ok=True)

    archs = list(dict.fromkeys(arch for name in names for arch in EXPERIMENTS[name][1].values()))
    for arch in archs:  # before anything else keeps the machine busy: they hold times
        facts(args, arch)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        # Seed by seed: whenever it is stopped, what there is can be compared.
        runs = [pool.submit(train, args, arch, seed) for seed in seeds for arch in archs]
        try:
            for run in runs:
                run.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    lines, points, results = [], [], {}
    for name in names:
        question, networks = EXPERIMENTS[name]
        lines += [f"\n### {name}: {question}\n",
                  f"| network | parameters | MACs | ms, 1 thread | test error, % ({len(seeds)} seeds) | spread |",
                  "| --- | --- | --- | --- | --- | --- |"]
        for label, arch in networks.items():
            known = facts(args, arch)
            errors = [test_error(args, arch, seed) for seed in seeds]
            mean = statistics.mean(errors)
            results.setdefault(name, {})[label] = {"arch": arch, **known, "errors": errors}
            lines.append(f"| {label} (`{arch}`) | {known['parameters']:,} | {known['macs'] / 1e6:.1f} M | {known['ms']:.3f} "
                         f"| {mean:.2f} | {spread(errors)} |")
            points.append((f"{name}:{label}", list(EXPERIMENTS).index(name), known, mean))
    with open(os.path.join(args.out, "results.json"), "w") as f:
        json.dump(results, f, indent=1)
    with open(os.path.join(args.out, "results.md"), "w") as f:
        f.write("\n".join(lines).strip() + "\n")
    for key, title in (("parameters", "parameters"), ("macs", "multiply-accumulates an image")):
        svg_scatter(os.path.join(args.out, f"error-{key}.svg"), f"Test error after {args.epochs} epochs against {title}",
                    title, [(label, index, known[key], error) for label, index, known, error in points])
    print("\n".join(lines))


if __name__ == "__main__":
    main()
