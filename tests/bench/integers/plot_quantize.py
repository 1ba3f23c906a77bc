#!/usr/bin/env python3
"""Draws the pictures of docs/quantization.md: what quantising each layer does, and the error against the file's bytes.

    plot_quantize.py MODEL.snet --data cifar10:DIR [--bin DIR] [--method kl] [--out docs/pictures] [--limit N]

MODEL is quantised by `mse` for the first picture, layers.svg: the damage of every layer, as `sparsenet quantize --report`
gives it. For the second, kept.svg, ranges come from --method, and more and more of the layers that do most stay float32
(none, 1, 2, 4, ... all); each network is judged on DATA's test images. Needs Python alone; takes a few minutes.
"""
import argparse
import json
import math
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
STYLE = ('<style>text { font: 12px sans-serif; fill: #222 } .title { font-size: 15px; font-weight: bold } '
         '.grid { stroke: #e4e4e4 } .axis { stroke: #222 } .small { font-size: 10px }</style>')
BLUE, RED = "#0b5fa5", "#d1495b"


def sparsenet(programs, *arguments):
    done = subprocess.run([str(programs / "sparsenet"), *map(str, arguments), "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def text(x, y, anchor, content, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{content}</text>'


def line(x1, y1, x2, y2, more):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {more}/>'


def document(width, height, title, body):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">')
    return "\n".join([head, STYLE, '<rect width="100%" height="100%" fill="white"/>',
                      text(16, 26, "start", title, 'class="title"'), *body, "</svg>\n"])


def round_step(span, most):
    """1, 2 or 5 times a power of ten, so that at most that many fit."""
    power = 10 ** math.floor(math.log10(span / most))
    return next(d * power for d in (1, 2, 5, 10) if span / (d * power) <= most)


def draw_layers(title, layers, most=24):
    shown, rest = layers[:most], layers[most:]
    left, top, row, width = 200, 62, 20, 860
    right = width - 110
    end = 100 * max(layer["damage"] for layer in layers) or 1
    step = round_step(end, 8)
    height = top + row * (len(shown) + (1 if rest else 0)) + 26
    body = [text(left, 48, "start", "change of the output when this layer alone is int8, % (in brackets: bytes saved)")]
    for i in range(int(end / step) + 1):
        x = left + (right - left) * i * step / end
        body.append(line(x, top, x, top + row * len(shown), 'class="grid"'))
        body.append(text(x, top + row * len(shown) + 15, "middle", f"{i * step:g}"))
    for i, layer in enumerate(shown):
        y, length = top + row * i, (right - left) * 100 * layer["damage"] / end
        body.append(f'<rect x="{left}" y="{y + 4}" width="{length:.1f}" height="{row - 8}" fill="{BLUE}"/>')
        body.append(text(left - 8, y + 14, "end", layer["node"]))
        body.append(text(left + length + 6, y + 14, "start",
                         f'{100 * layer["damage"]:.2f} ({layer["bytes_saved"]:,})', 'class="small"'))
    if rest:
        body.append(text(left, height - 8, "start", f"and {len(rest)} more of at most {100 * rest[0]['damage']:.2f} %",
                         'class="small"'))
    return document(width, height, title, body)


def draw_kept(title, points, floats):
    """points: (layers kept, bytes, error); floats: (bytes, error) of the network in float32."""
    left, top, width, height = 70, 60, 860, 420
    right, bottom = width - 40, height - 56
    most = max([p[1] for p in points] + [floats[0]]) * 1.06
    low, high = min([p[2] for p in points] + [floats[1]]), max([p[2] for p in points] + [floats[1]])
    step = round_step((high - low) * 1.2 + 1e-9, 8)
    low, high = math.floor(low / step - 0.4) * step, math.ceil(high / step + 0.2) * step
    px = lambda v: left + (right - left) * v / most
    py = lambda v: bottom - (bottom - top) * (v - low) / (high - low)
    body = []
    for i in range(round((high - low) / step) + 1):
        y = low + i * step
        body += [line(left, py(y), right, py(y), 'class="grid"'), text(left - 8, py(y) + 4, "end", f"{y:g}")]
    x_step = round_step(most, 8)
    for i in range(int(most / x_step) + 1):
        x = i * x_step
        body += [line(px(x), bottom, px(x), bottom + 5, 'class="axis"'),
                 text(px(x), bottom + 20, "middle", f"{x / 1000:,.0f}")]
    body += [line(left, top, left, bottom, 'class="axis"'), line(left, bottom, right, bottom, 'class="axis"'),
             text((left + right) / 2, height - 14, "middle", "kilobytes of the file"),
             text(-(top + bottom) / 2, 20, "middle", "test error, %", 'transform="rotate(-90)"'),
             line(left, py(floats[1]), right, py(floats[1]), f'stroke="{RED}" stroke-dasharray="7 3"'),
             f'<circle cx="{px(floats[0]):.1f}" cy="{py(floats[1]):.1f}" r="4" fill="{RED}"/>',
             text(right, py(floats[1]) + 16, "end", f"float32: {floats[1]:.2f} %")]
    path = " ".join(f"{px(b):.1f},{py(e):.1f}" for _, b, e in points)
    body.append(f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1.8"/>')
    for kept, size, error in points:
        body.append(f'<circle cx="{px(size):.1f}" cy="{py(error):.1f}" r="4" fill="{BLUE}"/>')
        body.append(text(px(size) + 7, py(error) - 6, "start", str(kept), 'class="small"'))
    return document(width, height, title, body)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--method", default="kl")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--limit", type=int, default=10000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data, name = ["--data", arguments.data], arguments.model.stem

    def error_of(network):
        found = sparsenet(arguments.bin, "eval", network, *data, "--limit", arguments.limit)
        return found["error_percent"]

    with tempfile.TemporaryDirectory() as folder:
        network, report = pathlib.Path(folder) / "net.snet", pathlib.Path(folder) / "report.json"

        def quantise(method, *more):
            return sparsenet(arguments.bin, "quantize", arguments.model, *data, "--method", method, "-o", network, *more)

        layers = quantise("mse", "--report", report)["layers"]
        (arguments.out / "layers.svg").write_text(draw_layers(f"{name}: damage of each layer, ranges by mse", layers))

        layers = [layer["node"] for layer in quantise(arguments.method, "--report", report)["layers"]]
        counts = [0] + [1 << i for i in range(20) if 1 << i < len(layers)] + [len(layers)]
        points = []
        for count in counts:
            made = quantise(arguments.method, *[word for node in layers[:count] for word in ("--keep-float", node)])
            points.append((count, made["bytes"], error_of(network)))
            print(f"{count} layers in float32: {points[-1][1]:,} bytes, error {points[-1][2]:.2f} %", flush=True)
        floats = (made["float_bytes"], error_of(arguments.model))
        print(f"float32: {floats[0]:,} bytes, error {floats[1]:.2f} %")
        title = f"{name}, ranges by {arguments.method}: error against bytes (numbers: layers kept in float32)"
        (arguments.out / "kept.svg").write_text(draw_kept(title, points, floats))


if __name__ == "__main__":
    main()
