"""Writes small random upscalers of the ESRGAN kind in every form that people have them in, and what PyTorch makes of pictures.

    python upscalers.py FOLDER

Below FOLDER, for each case: `NAME/model.pth` or `.safetensors`, `NAME/picture.png`, and `NAME/reference.safetensors` with the
picture as the network takes it, `in.picture`, and what it makes of it, `out.upscaled`.
Prints a line of JSON for each: name, file, width and height of the picture, factor.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

SLOPE = RESIDUAL = 0.2


class Network:
    """BasicSR's RRDBNet as a function of its tensors."""

    def __init__(self, seed, blocks, features, growth, doublings=2, unshuffle=1):
        self.blocks, self.doublings, self.unshuffle = blocks, doublings, unshuffle
        self.tensors, self.random = {}, torch.Generator().manual_seed(seed)
        self.make("conv_first", 3 * unshuffle**2, features)
        for block in range(blocks):
            for dense in (1, 2, 3):
                for layer in range(5):
                    out = features if layer == 4 else growth
                    self.make(f"body.{block}.rdb{dense}.conv{layer + 1}", features + layer * growth, out)
        self.make("conv_body", features, features)
        for doubling in range(doublings):
            self.make(f"conv_up{doubling + 1}", features, features)
        self.make("conv_hr", features, features)
        self.make("conv_last", features, 3)

    def make(self, name, c_in, c_out):
        """Weights that keep the size of numbers, representable in half precision."""
        weight = torch.randn((c_out, c_in, 3, 3), generator=self.random) * (2 / (9 * c_in)) ** 0.5
        self.put(name, weight, 0.05 * torch.randn(c_out, generator=self.random))

    def put(self, name, weight, bias):
        self.tensors[f"{name}.weight"] = weight.half().float()
        self.tensors[f"{name}.bias"] = bias.half().float()

    def settle(self, x):
        """Has results lie about the middle of what pictures have."""
        found = self(x)
        scale, means = 0.15 / found.std(), found.mean((0, 2, 3))
        weight, bias = self.tensors["conv_last.weight"], self.tensors["conv_last.bias"]
        self.put("conv_last", weight * scale, (bias - means) * scale + 0.5)

    def conv(self, name, x):
        return F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], padding=1)

    def active(self, name, x):
        return F.leaky_relu(self.conv(name, x), SLOPE)

    def dense(self, name, x):
        seen = [x]
        for layer in range(1, 5):
            seen.append(self.active(f"{name}.conv{layer}", torch.cat(seen, 1)))
        return self.conv(f"{name}.conv5", torch.cat(seen, 1)) * RESIDUAL + x

    def __call__(self, x):
        first = self.conv("conv_first", F.pixel_unshuffle(x, self.unshuffle))
        y = first
        for block in range(self.blocks):
            inner = y
            for dense in (1, 2, 3):
                inner = self.dense(f"body.{block}.rdb{dense}", inner)
            y = inner * RESIDUAL + y
        y = first + self.conv("conv_body", y)
        for doubling in range(self.doublings):
            y = self.active(f"conv_up{doubling + 1}", F.interpolate(y, scale_factor=2, mode="nearest"))
        return self.conv("conv_last", self.active("conv_hr", y))


def as_list(network):
    """The names of ESRGAN's first version: numbers of a list in which activations and doublings have a place too."""
    places = {"conv_first": "model.0", "conv_body": f"model.1.sub.{network.blocks}"}
    at = 2
    for doubling in range(network.doublings):
        places[f"conv_up{doubling + 1}"], at = f"model.{at + 1}", at + 3
    places |= {"conv_hr": f"model.{at}", "conv_last": f"model.{at + 2}"}

    def name(key):
        module, _, leaf = key.rpartition(".")
        if module.startswith("body."):
            return f"model.1.sub.{module[5:].replace('rdb', 'RDB')}.0.{leaf}"
        return f"{places[module]}.{leaf}"

    return {name(key): tensor for key, tensor in network.tensors.items()}


def as_trunk(network):
    """The names of ESRGAN's second version."""
    others = {
        "conv_body": "trunk_conv",
        "conv_up1": "upconv1",
        "conv_up2": "upconv2",
        "conv_hr": "HRconv",
    }

    def name(key):
        module, _, leaf = key.rpartition(".")
        if module.startswith("body."):
            return f"RRDB_trunk.{module[5:].replace('rdb', 'RDB')}.{leaf}"
        return f"{others.get(module, module)}.{leaf}"

    return {name(key): tensor for key, tensor in network.tensors.items()}


def picture(seed, width, height):
    """Waves and noise."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    waves = np.stack([np.sin(x / 5) + np.cos(y / 7), np.sin((x + y) / 9), np.cos(x / 3 - y / 4)], axis=-1)
    return (100 + 50 * waves + noise).clip(0, 255).astype(np.uint8)


def torn(tensors):
    """Other weights, for the place of those that are not to be taken."""
    return {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}


def plain(network):
    return network.tensors


SMALL = {"blocks": 2, "features": 16, "growth": 8}

# Name: network, its names, what is saved, the file's ending, width and height of the picture.
CASES = {
    "x4-params-ema": (SMALL, plain, lambda t: {"params": torn(t), "params_ema": t}, "pth", 150, 100),
    "x4-safetensors": (SMALL, plain, None, "safetensors", 61, 43),
    "x2-params": ({**SMALL, "unshuffle": 2}, plain, lambda t: {"params": t}, "pth", 62, 44),
    "x1-plain": ({**SMALL, "unshuffle": 4}, plain, lambda t: t, "pth", 64, 44),
    "esrgan-list": (SMALL, as_list, lambda t: t, "pth", 33, 50),
    "esrgan-list-legacy": (SMALL, as_list, lambda t: t, "ckpt", 33, 50),
    "esrgan-list-safetensors": (SMALL, as_list, None, "safetensors", 33, 50),
    "esrgan-list-x1": ({**SMALL, "doublings": 0}, as_list, lambda t: t, "pth", 40, 40),
    "esrgan-list-x2": ({**SMALL, "doublings": 1}, as_list, lambda t: t, "pth", 40, 40),
    "esrgan-list-x8": ({**SMALL, "doublings": 3}, as_list, lambda t: t, "pth", 20, 24),
    "esrgan-trunk": (SMALL, as_trunk, lambda t: {"state_dict": t}, "pt", 33, 50),
    "x4plus": ({"blocks": 23, "features": 64, "growth": 32}, plain, lambda t: {"params_ema": t}, "pth", 24, 20),
    "x4plus-anime-6b": ({"blocks": 6, "features": 64, "growth": 32}, plain, lambda t: {"params_ema": t}, "pth", 24, 32),
    "x2plus": (
        {"blocks": 23, "features": 64, "growth": 32, "unshuffle": 2},
        plain,
        lambda t: {"params_ema": t},
        "pth",
        48,
        40,
    ),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    for seed, (case, (shape, names, saved, ending, width, height)) in enumerate(CASES.items()):
        place = folder / case
        place.mkdir(parents=True)
        network = Network(seed, **shape)
        pixels = picture(seed, width, height)
        x = torch.tensor(pixels / np.float32(255)).permute(2, 0, 1)[None].contiguous()
        with torch.no_grad():
            network.settle(x)
            upscaled = network(x).contiguous()
        tensors = names(network)
        file = place / f"model.{ending}"
        if saved:
            torch.save(saved(tensors), file, _use_new_zipfile_serialization=ending != "ckpt")
        else:
            save_file(tensors, file)
        Image.fromarray(pixels).save(place / "picture.png")
        save_file({"in.picture": x, "out.upscaled": upscaled}, place / "reference.safetensors")
        factor = upscaled.shape[-1] // width
        line = {"name": case, "file": file.name, "width": width, "height": height, "factor": factor}
        print(json.dumps(line), flush=True)


main()
