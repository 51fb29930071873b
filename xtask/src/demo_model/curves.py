"""Draws the curves of a training as SVG.

    python curves.py OUT PICTURE.svg

Reads what train_vae.py and train_unet.py wrote to OUT/*.jsonl.
"""

import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 360, 200, 40


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def ticks(low, high):
    """About four round values."""
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(step * k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= 5)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def chart(left, title, points):
    """One curve in its frame: steps to the right, for seconds depend on what else the machine does."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    right = max(xs)
    place = lambda x, y: (
        left + MARGIN + x / right * (WIDTH - 1.5 * MARGIN),
        HEIGHT - MARGIN + (low - y) / (high - low) * (HEIGHT - 2 * MARGIN),
    )
    parts = [f'<text x="{left + WIDTH / 2:.0f}" y="24" text-anchor="middle" font-weight="bold">{title}</text>']
    for y in ticks(low, high):
        x0, y0 = place(0, y)
        parts.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{left + WIDTH - MARGIN / 2:.1f}" y2="{y0:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x0 - 4:.1f}" y="{y0 + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(0, right):
        x0, y0 = place(x, low)
        parts.append(f'<text x="{x0:.1f}" y="{y0 + 16:.1f}" text-anchor="middle">{x:g}</text>')
    line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#c2185b" stroke-width="1.5"/>')
    return parts


def main():
    out = Path(sys.argv[1])
    curves = [
        ("VAE: PSNR in dB over steps", [(r["step"], r["psnr"]) for r in read(out / "vae.jsonl")]),
        ("UNet and text: loss over steps", [(r["step"], r["loss"]) for r in read(out / "unet.jsonl")]),
        ("decoder: PSNR in dB over steps", [(r["step"], r["psnr"]) for r in read(out / "decoder.jsonl")]),
    ]
    curves = [curve for curve in curves if len(curve[1]) > 1]
    width = WIDTH * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
    ]
    for i, (title, points) in enumerate(curves):
        parts += chart(i * WIDTH, title, points)
    Path(sys.argv[2]).write_text("\n".join([*parts, "</svg>"]) + "\n")


main()
