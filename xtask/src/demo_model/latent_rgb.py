"""Fits colours to the demo model's latents: what a preview without a decoder shows.

    python latent_rgb.py FOLDER

FOLDER holds pictures NAME.png and beside each the NAME.safetensors that `smelt generate --latents` writes. Prints a row of
red, green and blue for each channel, then what is added, for colours of -1 to 1 (`LATENT_RGB` of crates/sd-demo), and how
far off that is.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main():
    inputs, colours = [], []
    for path in sorted(Path(sys.argv[1]).glob("*.safetensors")):
        latents = read(path, "latents")[0]
        _, height, width = latents.shape
        picture = Image.open(path.with_suffix(".png")).convert("RGB").resize((width, height), Image.Resampling.BOX)
        inputs.append(latents.reshape(len(latents), -1).T)
        colours.append(np.asarray(picture, np.float64).reshape(-1, 3) / 127.5 - 1)
    inputs, colours = np.concatenate(inputs), np.concatenate(colours)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    factors, *_ = np.linalg.lstsq(inputs, colours, rcond=None)
    for row in factors:
        print("[" + ", ".join(f"{value:.4f}" for value in row) + "],")
    error = np.sqrt(np.mean((inputs @ factors - colours) ** 2))
    print(f"root of the mean squared error {error:.3f}, of colours spread by {colours.std():.3f}")


def read(path, name):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensor = json.loads(data[8 : 8 + length])[name]
    begin, end = (8 + length + offset for offset in tensor["data_offsets"])
    return np.frombuffer(data[begin:end], "<f4").reshape(tensor["shape"]).astype(np.float64)


if __name__ == "__main__":
    main()
