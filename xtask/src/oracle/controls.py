"""Draws with ControlNets as diffusers does, from pictures of kinds that golden data lacks.

    python controls.py CHECKPOINT CONTROLNET FOLDER

Writes for each case `FOLDER/NAME.png`, the picture that guides, and `FOLDER/NAME.safetensors` with the final `latents`;
prints a line of JSON for each: name, and the arguments of `smelt generate` that say the same.
"""

import json
import pathlib
import sys

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import save_file

SIDE, STEPS, GUIDANCE, SEED, PROMPT = 64, 5, 5.0, 11, "a red fox in the snow"


def blobs(side):
    """A picture with soft and hard edges."""
    y, x = np.mgrid[0:side, 0:side] / side
    colours = [np.sin(9 * x + 3 * c) * np.cos(7 * y - c) * 90 + 128 for c in range(3)]
    picture = np.stack(colours, -1)
    picture[(x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.05] = (240, 30, 60)
    picture[int(side * 0.7) : int(side * 0.8)] = 15
    return picture.clip(0, 255).astype(np.uint8)


def planes(picture):
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]


def holes():
    """Transparent pixels are -1, as ControlNets for inpainting are trained."""
    picture = blobs(SIDE)
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[10:30, 20:50] = 0
    alpha[40:50, 5:20] = 128
    guide = planes(picture)
    guide[:, :, torch.from_numpy(alpha == 0)] = -1
    return Image.fromarray(np.dstack([picture, alpha]), "RGBA"), guide, {}, []


def canny(low, high, given, **options):
    """Edges of the picture at the size that is drawn."""
    picture = Image.fromarray(blobs(given))
    edges = cv2.Canny(np.array(picture.resize((SIDE, SIDE), Image.LANCZOS)), low, high)
    arguments = ["--control-preprocess", f"canny:{low},{high}"]
    names = {
        "controlnet_conditioning_scale": "--control-weight",
        "control_guidance_start": "--control-start",
        "control_guidance_end": "--control-end",
    }
    for name, value in options.items():
        arguments += [names[name], str(value)]
    return picture, planes(np.repeat(edges[:, :, None], 3, 2)), options, arguments


def main(checkpoint, control_net, folder):
    folder = pathlib.Path(folder)
    net = ControlNetModel.from_pretrained(control_net, torch_dtype=torch.float32)
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        checkpoint, controlnet=net, safety_checker=None, feature_extractor=None, torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    window = {"control_guidance_start": 0.2, "control_guidance_end": 0.9}
    cases = {
        "holes": holes(),
        "canny": canny(100, 200, SIDE),
        "canny-scaled": canny(60, 150, 90, controlnet_conditioning_scale=0.7, **window),
    }
    for name, (picture, guide, options, arguments) in cases.items():
        picture.save(folder / f"{name}.png")
        latents = pipeline(
            PROMPT,
            image=guide,
            height=SIDE,
            width=SIDE,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator().manual_seed(SEED),
            output_type="latent",
            **options,
        ).images
        save_file({"latents": latents.contiguous()}, folder / f"{name}.safetensors")
        common = ["--size", f"{SIDE}x{SIDE}", "--steps", STEPS, "--guidance", GUIDANCE, "--seed", SEED, "--random", "torch"]
        print(json.dumps({"name": name, "arguments": [PROMPT, *map(str, common), *arguments]}))


main(*sys.argv[1:])
