#!/usr/bin/env python3
"""The paper's comparisons at the size of V0, with our own engine: one command, resumable, honest figures.

    experiments/experiments.py --data cifar10:DIR --out OUT [--epochs 12] [--seeds 1,2] [--only attention,keep]

Every run is `sparsenet train` with the same recipe, then `sparsenet eval` on the test split, so that runs differ only in
the network and the seed. Runs whose results are in OUT are not repeated; an interrupted one resumes from its
checkpoint. --jobs 2 --threads 1 trains two networks side by side, with the same results, bit for bit. Needs nothing
beyond Python.
"""

import argparse
import concurrent.futures
import fcntl
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name -> its question, and its networks by label
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

# Okabe and Ito's palette, distinguishable by colour-blind people as well.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


class Failed(Exception):
    pass


running = set()  # child processes, which end with this program


def tool(args, *command):
    program = os.path.join(args.bin, "sparsenet")
    try:
        # In a session of its own: Ctrl-C reaches it only once, through run_all.
        child = subprocess.Popen([program, *command], stdout=subprocess.PIPE, text=True, start_new_session=True)
    except OSError as error:
        raise Failed(f"{program}: {error.strerror}; --bin names the folder of the built programs")
    running.add(child)
    out, _ = child.communicate()
    running.discard(child)
    if child.returncode != 0:
        raise Failed(f"'sparsenet {' '.join(command)}' failed")
    return out


def write(path, text):
    """Writes the complete file or none."""
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def slug(arch):
    return "".join(c if c.isalnum() else "-" for c in arch)


def facts(args, arch):
    """A network's parameters, and its MACs and milliseconds per image, measured once."""
    path = os.path.join(args.out, slug(arch) + ".facts.json")
    if not os.path.exists(path):
        model = os.path.join(args.out, slug(arch) + ".untrained.snet")
        tool(args, "create", arch, "-o", model)
        info = json.loads(tool(args, "info", model, "--json"))
        bench = json.loads(tool(args, "bench", model, "--threads", "1", "--runs", "300", "--json"))
        os.remove(model)
        write(path, json.dumps({"parameters": info["parameters"], "macs": info["macs"], "ms": bench["latency_ms"]["p50"]}))
    with open(path) as f:
        return json.load(f)


def base_of(args, arch, seed):
    return os.path.join(args.out, f"{slug(arch)}.e{args.epochs}.s{seed}")


def test_error(args, arch, seed):
    """After the last epoch, in percent."""
    with open(base_of(args, arch, seed) + ".json") as f:
        return json.load(f)["test_error_percent"]


def train(args, arch, seed):
    base = base_of(args, arch, seed)
    if not os.path.exists(base + ".json"):
        start = time.time()
        command = ["train", arch, "--data", args.data, "--epochs", str(args.epochs), "--schedule", "onecycle", "--lr",
                   str(args.lr), "--weight-decay", str(args.weight_decay), "--seed", str(seed), "--threads",
                   str(args.threads), "-o", base + ".snet", "--log", base + ".csv", "--resume", "--json"]
        result = json.loads(tool(args, *command))
        measured = json.loads(tool(args, "eval", base + ".snet", "--data", args.data, "--threads", str(args.threads), "--json"))
        result["output"] = os.path.basename(result["output"])
        write(base + ".json", json.dumps({"test_error_percent": measured["error_percent"], **result}, indent=2) + "\n")
        for leftover in (base + ".snet.checkpoint", base + ".snet"):
            if os.path.exists(leftover):
                os.remove(leftover)
        print(f"  {arch}, seed {seed}: {test_error(args, arch, seed):.2f} %, {time.time() - start:.0f} s", flush=True)


def same_recipe(args):
    """Checks that OUT contains only runs of one recipe."""
    path = os.path.join(args.out, "recipe.json")
    recipe = {"data": args.data.split(":")[0], "lr": args.lr, "weight_decay": args.weight_decay}
    if not os.path.exists(path):
        write(path, json.dumps(recipe) + "\n")
    with open(path) as f:
        there = json.load(f)
    if there != recipe:
        raise Failed(f"{args.out}: expected the recipe of the runs in it, {there}, found {recipe}; give another --out")


def spread(values):
    return f"{statistics.stdev(values):.2f}" if len(values) > 1 else "one seed"


def pooled(groups):
    """Standard deviation of one training, from all networks with several seeds, and the number of those networks."""
    groups = [g for g in groups if len(g) > 1]
    freedom = sum(len(g) - 1 for g in groups)
    return (math.sqrt(sum((len(g) - 1) * statistics.variance(g) for g in groups) / freedom) if freedom else None), len(groups)


def name_of(arch):
    """Short enough to stand in a plot."""
    return arch.replace("sparsenet-", "").replace("-v0", "")


def place_labels(dots, boxes_taken):
    """Where the name of each dot goes: the first of a few positions around it that no other name or dot occupies."""
    height, per_letter = 11, 5.3
    taken = list(boxes_taken)
    places = []
    for x, y, text in dots:
        width = per_letter * len(text)
        best = None
        for distance in range(0, 90, 3):
            for up in ((0,) if distance == 0 else (-distance, distance)):
                for left in (x + 8, x - 8 - width):
                    box = (left, y + up - height / 2, left + width, y + up + height / 2)
                    overlap = sum(max(0, min(box[2], t[2]) - max(box[0], t[0])) * max(0, min(box[3], t[3]) - max(box[1], t[1]))
                                  for t in taken)
                    if best is None or overlap < best[0]:
                        best = (overlap, box)
            if best[0] == 0:
                break
        taken.append(best[1])
        places.append(best[1])
    return places


def svg_scatter(path, title, x_title, points):
    """points: (name, experiment, x, errors), one per network. x is logarithmic; a bar goes from the best seed to the worst."""
    width, height, left, right, top, bottom = 860, 520, 62, 150, 40, 52
    xs = [math.log10(p[2]) for p in points]
    errors = [e for p in points for e in p[3]]
    margin = max(0.02, 0.08 * (max(xs) - min(xs)))
    x0, x1 = min(xs) - margin, max(xs) + margin
    step = 1 if max(errors) - min(errors) > 3 else 0.5 if max(errors) - min(errors) > 1 else 0.2
    y0, y1 = math.floor(min(errors) / step - 0.3), math.ceil(max(errors) / step + 0.3)  # in units of step
    px = lambda v: left + (math.log10(v) - x0) / (x1 - x0) * (width - left - right)
    py = lambda v: height - bottom - (v / step - y0) / (y1 - y0) * (height - top - bottom)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="24" font-size="15">{title}</text>',
           f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">{x_title}</text>',
           f'<text x="16" y="{(top + height - bottom) / 2}" text-anchor="middle" '
           f'transform="rotate(-90 16 {(top + height - bottom) / 2})">test error, %</text>']
    for y in range(y0, y1 + 1):
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{py(y * step):.1f}" y2="{py(y * step):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{py(y * step) + 4:.1f}" text-anchor="end">{y * step:g}</text>')
    # Round numbers, as few as keep them apart.
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(d / 10 for d in range(10, 100, 2)), tuple(d / 20 for d in range(20, 200))):
        ticks = [d * 10 ** e for e in range(3, 10) for d in digits if x0 <= math.log10(d * 10 ** e) <= x1]
        if len(ticks) >= 4:
            break
    for x in ticks:
        text = f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k"
        out.append(f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{top}" y2="{height - bottom}" stroke="#eee"/>')
        out.append(f'<text x="{px(x):.1f}" y="{height - bottom + 18}" text-anchor="middle">{text}</text>')
    points = sorted(points, key=lambda p: statistics.mean(p[3]))
    dots = [(px(x), py(statistics.mean(values)), name) for name, _, x, values in points]
    bars = [(x - 1, py(max(p[3])), x + 1, py(min(p[3]))) for (x, _, _), p in zip(dots, points)]
    places = place_labels(dots, [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in dots] + bars)
    seen = {}
    for (name, experiment, x, values), (dot_x, dot_y, _), box in zip(points, dots, places):
        colour = COLOURS[list(EXPERIMENTS).index(experiment) % len(COLOURS)]
        seen[experiment] = colour
        if len(values) > 1:
            out.append(f'<line x1="{dot_x:.1f}" x2="{dot_x:.1f}" y1="{py(min(values)):.1f}" y2="{py(max(values)):.1f}" '
                       f'stroke="{colour}" stroke-opacity="0.5" stroke-width="2"/>')
        middle = (box[1] + box[3]) / 2
        if abs(middle - dot_y) > 8:  # far from its dot: a thin line shows which one it belongs to
            end = box[0] if box[0] > dot_x else box[2]
            out.append(f'<line x1="{dot_x:.1f}" y1="{dot_y:.1f}" x2="{end:.1f}" y2="{middle:.1f}" stroke="{colour}" stroke-width="0.6"/>')
        out.append(f'<circle cx="{dot_x:.1f}" cy="{dot_y:.1f}" r="4" fill="{colour}"/>')
        at, anchor = (box[0], "start") if box[0] > dot_x else (box[2], "end")  # not every viewer supports textLength
        out.append(f'<text x="{at:.1f}" y="{middle + 3:.1f}" font-size="10" text-anchor="{anchor}" '
                   f'textLength="{box[2] - box[0]:.1f}" lengthAdjust="spacingAndGlyphs">{name}</text>')
    for row, experiment in enumerate(e for e in EXPERIMENTS if e in seen):
        y = top + 10 + 16 * row
        out.append(f'<circle cx="{width - right + 16}" cy="{y - 4}" r="4" fill="{seen[experiment]}"/>')
        out.append(f'<text x="{width - right + 26}" y="{y}">{experiment}</text>')
    out.append("</svg>\n")
    write(path, "\n".join(out))


def report(args, names, seeds):
    """Makes tables and plots of the existing runs."""
    lines, points, results = [], {}, {}
    for name in names:
        question, networks = EXPERIMENTS[name]
        lines += [f"\n### {question[0].upper()}{question[1:]} (`{name}`)\n",
                  "| network | parameters | MACs | ms per image, 1 thread | test error, %, by seed | mean | standard deviation |",
                  "| --- | --- | --- | --- | --- | --- | --- |"]
        for label, arch in networks.items():
            errors = {seed: test_error(args, arch, seed) for seed in seeds if os.path.exists(base_of(args, arch, seed) + ".json")}
            values = list(errors.values())
            if not values:
                lines.append(f"| {label} (`{arch}`) | | | | not run | | |")
                continue
            known = facts(args, arch)
            results.setdefault(name, {})[label] = {"arch": arch, **known, "errors": errors}
            lines.append(f"| {label} (`{arch}`) | {known['parameters']:,} | {known['macs'] / 1e6:.1f} M | {known['ms']:.3f} "
                         f"| {', '.join(f'{v:.2f}' for v in values)} | {statistics.mean(values):.2f} | {spread(values)} |")
            points.setdefault(arch, (name_of(arch), name, known, values))
    if not points:
        raise Failed(f"{args.out}: expected finished runs of {args.epochs} epochs, found none (--epochs, --seeds, --only)")
    heading = f"{args.epochs} epochs, one-cycle, peak rate {args.lr:g}, weight decay {args.weight_decay:g}, seeds {', '.join(map(str, seeds))}"
    deviation, networks = pooled([values for _, _, _, values in points.values()])
    if deviation is not None:  # two seeds say little about one network's spread, but much about that of all networks
        lines.append(f"\nStandard deviation of one training, pooled over {networks} networks: {deviation:.2f} points")
    tables = heading + "\n" + "\n".join(lines) + "\n"
    base = os.path.join(args.out, f"results.e{args.epochs}")
    write(base + ".json", json.dumps({"recipe": heading, "standard_deviation": deviation, "experiments": results}, indent=1) + "\n")
    write(base + ".md", tables)
    for key, title in (("parameters", "parameters"), ("macs", "multiply-accumulates per image")):
        svg_scatter(f"{base}.{key}.svg", f"Test error after {args.epochs} epochs against {title}",
                    title, [(label, name, known[key], values) for label, name, known, values in points.values()])
    print(tables, end="")


def numbers(text):
    try:
        return list(dict.fromkeys(int(s) for s in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as 1,2, found '{text}'")


def count(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, found '{text}'")
    return int(text)


def run_all(args, names, seeds):
    archs = list(dict.fromkeys(arch for name in names for arch in EXPERIMENTS[name][1].values()))
    for arch in archs:  # before anything else keeps the machine busy: these measure time
        facts(args, arch)
    pool = concurrent.futures.ThreadPoolExecutor(args.jobs)
    try:
        # Seed by seed: whenever it is stopped, the existing results can be compared.
        runs = [pool.submit(train, args, arch, seed) for seed in seeds for arch in archs]
        for run in concurrent.futures.as_completed(runs):
            run.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in list(running):
            child.terminate()  # it saves and exits
        raise
    pool.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="cifar10:DIR; its train split trains, its test split measures")
    parser.add_argument("--out", required=True, help="folder of results")
    parser.add_argument("--epochs", type=count, default=12)
    parser.add_argument("--seeds", type=numbers, default="1,2")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=2e-4)
    parser.add_argument("--threads", type=int, default=0, help="a network's; 0: all CPUs, 1 with several --jobs")
    parser.add_argument("--jobs", type=count, default=1, help="networks trained at a time")
    parser.add_argument("--only", help="names of experiments, run in this order: " + ", ".join(EXPERIMENTS))
    parser.add_argument("--report", action="store_true", help="do not train: only make tables and plots of the existing runs")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    args = parser.parse_args()
    if args.jobs > 1 and args.threads == 0:
        args.threads = 1
    names = args.only.split(",") if args.only else list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            parser.error(f"--only: expected some of {', '.join(EXPERIMENTS)}, found '{name}'")
    if not args.report and not args.data.startswith("cifar10:"):
        parser.error(f"--data: expected cifar10:DIR, found '{args.data}'")
    if args.report and not os.path.isdir(args.out):
        parser.error(f"--out: expected a folder of results, found none at '{args.out}'")

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lock = None
    try:
        if not args.report:
            os.makedirs(args.out, exist_ok=True)
            lock = open(os.path.join(args.out, ".lock"), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failed(f"{args.out}: another run of this script writes there")
            same_recipe(args)
            run_all(args, names, args.seeds)
        report(args, names, args.seeds)
    except (Failed, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


if __name__ == "__main__":
    main()
