"""Random pictures as Pillow, diffusers' resize modes and OpenCV treat them, and random draws of NumPy.

usage: pictures.py OUT

Writes cases one after another: the length of a JSON object (u32, little endian) and the object, which says what was asked,
then the lengths and bytes of the input and of the result.
"""

import json
import random
import struct
import sys

import cv2
import numpy as np
from PIL import Image, ImageFilter

FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "hamming": Image.HAMMING,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
}

choose = random.Random(3)
draw = np.random.default_rng(7)


def side():
    return choose.choice([choose.randint(1, 8), choose.randint(1, 120), choose.randint(1, 120)])


def picture(width, height):
    """Noise, waves or blocks."""
    kind = choose.randrange(3)
    if kind == 0:
        values = draw.integers(0, 256, (height, width, 3))
    elif kind == 1:
        y, x = np.mgrid[0:height, 0:width]
        scale = [choose.uniform(1, 9) for _ in range(6)]
        waves = [np.sin(x / scale[c] + c) + np.cos(y / scale[c + 3]) for c in range(3)]
        values = np.stack(waves, -1) * 64 + 128
    else:
        blocks = draw.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3))
        values = np.kron(blocks, np.ones((7, 7, 1)))[:height, :width]
    return np.ascontiguousarray(values.clip(0, 255).astype(np.uint8))


def fitted(image, width, height, mode):
    """What VaeImageProcessor of diffusers 0.42 makes of a picture, written anew; None where Pillow refuses."""
    fill = mode == "fill"
    wanted, own = width / height, image.width / image.height
    wide, high = image.width * height // image.height, image.height * width // image.width
    w = width if (wanted < own if fill else wanted > own) else wide
    h = height if (wanted >= own if fill else wanted <= own) else high
    if min(w, h) < 1:
        return None
    inner = image.resize((w, h), Image.LANCZOS)
    out = Image.new("RGB", (width, height))
    left, top = width // 2 - w // 2, height // 2 - h // 2
    out.paste(inner, (left, top))
    if fill and wanted < own and top > 0:
        out.paste(inner.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        out.paste(inner.resize((width, top), box=(0, h, width, h)), (0, top + h))
    if fill and wanted > own and left > 0:
        out.paste(inner.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        out.paste(inner.resize((left, height), box=(w, 0, w, height)), (left + w, 0))
    return out


def pictures():
    """What was asked, the picture, the result."""
    for _ in range(1000):
        width, height, values = side(), side(), picture(side(), side())
        name = choose.choice(list(FILTERS))
        image = Image.fromarray(values)
        asked = {"op": "resize", "width": width, "height": height, "filter": name}
        yield asked, values, np.asarray(image.resize((width, height), FILTERS[name]))
        mode = choose.choice(["fill", "crop"])
        if (out := fitted(image, width, height, mode)) is not None:
            yield {"op": mode, "width": width, "height": height}, values, np.asarray(out)
        deviation = choose.choice([choose.uniform(0.05, 3), choose.uniform(0.5, 60), float(choose.randint(1, 20))])
        yield {"op": "blur", "deviation": deviation}, values, np.asarray(image.filter(ImageFilter.GaussianBlur(deviation)))
        low, high = choose.choice([(100, 200), (50.5, 150.9), (choose.uniform(0, 900), choose.uniform(0, 900)), (0, 0)])
        yield {"op": "canny", "low": low, "high": high}, values, cv2.Canny(values, low, high)
        yield {"op": "grey"}, values, np.asarray(image.convert("L"))


def draws():
    """What was asked, the seed's words, the result."""
    for n in [1, 7, 64, 5000] * 50 + [3_000_000]:
        words = np.array([choose.getrandbits(32) for _ in range(choose.choice([1, 1, 2, 4, 5, 9, 700]))], np.uint32)
        seed = [int(word) for word in words]
        yield {"op": "RandomState", "n": n}, words, np.random.RandomState(seed).randn(n)
        yield {"op": "default_rng", "n": n}, words, np.random.default_rng(seed).standard_normal(n)
        yield {"op": "default_rng_f32", "n": n}, words, np.random.default_rng(seed).standard_normal(n, dtype=np.float32)


def main():
    with open(sys.argv[1], "wb") as out:
        for cases in (pictures(), draws()):
            for asked, given, result in cases:
                if given.ndim == 3:
                    asked["from_height"], asked["from_width"] = given.shape[:2]
                for part in (json.dumps(asked).encode(), given.tobytes(), np.ascontiguousarray(result).tobytes()):
                    out.write(struct.pack("<I", len(part)) + part)


main()
