"""Draws with diffusers what golden data lacks of pictures to begin with: InstructPix2Pix, borders around a picture, and
second, larger passes.

    python edits.py FOLDER DEMO

DEMO is a checkpoint whose text encoder, tokenizer, scheduler and VAE are taken; UNets are small and random.
Below FOLDER, for each case: `NAME/checkpoint`, `NAME/reference.safetensors` with the `latents`, and `NAME/picture.png` if it
begins with one.
Prints a line of JSON for each: name, and the arguments of `smelt generate` that are to give the same.
"""

import json
import math
import pathlib
import sys

import diffusers
import numpy as np
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import save_file

PROMPT, SEED, STEPS = "a red heart", 11, 6
WIDTH, HEIGHT = 72, 56

# Name: channels, border (left, top, right, bottom), arguments of the call, arguments of the command.
CASES = {
    "edit": (8, None, {"guidance_scale": 5.0, "image_guidance_scale": 1.5}, ["--guidance", "5"]),
    "edit-strongly": (
        8,
        None,
        {"guidance_scale": 7.5, "image_guidance_scale": 2.25, "negative_prompt": "a blue house"},
        ["--guidance", "7.5", "--image-guidance", "2.25", "--negative-prompt", "a blue house"],
    ),
    "edit-without-guidance": (8, None, {"guidance_scale": 1.0}, ["--guidance", "1"]),
    "border": (4, (16, 0, 8, 0), {"guidance_scale": 5.0, "strength": 0.7}, ["--guidance", "5", "--strength", "0.7"]),
    "border-from-noise": (4, (0, 8, 0, 8), {"guidance_scale": 5.0, "strength": 1.0}, ["--guidance", "5"]),
    "border-by-an-inpainting-model": (
        9,
        (8, 8, 8, 8),
        {"guidance_scale": 3.0, "strength": 1.0},
        ["--guidance", "3"],
    ),
}

# Name: scheduler, how it is enlarged (mode and antialias of interpolate, or none for Lanczos), the size that it is enlarged to
# and what is drawn of that (width, height), strength, steps of the second pass, arguments of the command.
PASSES = {
    "pass-latent": ("PNDMScheduler", ("bilinear", False), (144, 112), (144, 112), 0.7, STEPS, ["--hires", "2"]),
    "pass-latent-euler-a": (
        "EulerAncestralDiscreteScheduler",
        ("bicubic", False),
        (144, 112),
        (144, 112),
        0.5,
        8,
        ["--hires", "144x112", "--hires-by", "latent-bicubic", "--hires-strength", "0.5", "--hires-steps", "8"],
    ),
    "pass-latent-cut": (
        "EulerDiscreteScheduler",
        ("nearest-exact", False),
        (144, 112),
        (128, 112),
        0.7,
        STEPS,
        ["--hires", "128x112", "--hires-by", "latent-nearest-exact"],
    ),
    "pass-lanczos": (
        "DDIMScheduler",
        None,
        (144, 112),
        (144, 112),
        0.6,
        STEPS,
        ["--hires", "2", "--hires-by", "lanczos", "--hires-strength", "0.6"],
    ),
}


def unet(demo, channels):
    """The demo's UNet with other channels and random weights, representable in half precision."""
    config = {**UNet2DConditionModel.load_config(demo, subfolder="unet"), "in_channels": channels}
    generator = torch.Generator().manual_seed(channels)
    model = UNet2DConditionModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and bool((parameter == 1).all())
            fan_in = math.prod(parameter.shape[1:]) if parameter.dim() > 1 else 0
            value = 1 + 0.1 * noise if is_norm else noise * (fan_in**-0.5 if fan_in else 0.1)
            parameter.copy_(value.half().float())
    return model.eval()


def picture(seed):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(seed).integers(0, 40, (HEIGHT, WIDTH, 3))
    return (np.stack([2 * x, 3 * y, x + y], axis=-1) + noise).clip(0, 255).astype(np.uint8)


def draw(demo, case, place):
    channels, border, call, typed = CASES[case]
    kind = StableDiffusionInstructPix2PixPipeline if channels == 8 else StableDiffusionInpaintPipeline
    parts = StableDiffusionPipeline.from_pretrained(demo, safety_checker=None).components
    pipeline = kind(**{**parts, "unet": unet(demo, channels)}, requires_safety_checker=False)
    pipeline.to(torch.float32).set_progress_bar_config(disable=True)
    pixels = picture(channels)
    Image.fromarray(pixels).save(place / "picture.png")
    if border:
        left, top, right, bottom = border
        sides = ((top, bottom), (left, right))
        canvas = np.pad(pixels, (*sides, (0, 0)), mode="edge")
        mask = np.pad(np.zeros((HEIGHT, WIDTH), np.uint8), sides, constant_values=255)
        call = {**call, "mask_image": Image.fromarray(mask), "height": canvas.shape[0], "width": canvas.shape[1]}
        pixels = canvas
        typed = [*typed, "--outpaint", ",".join(map(str, border))]
    else:
        typed = [*typed, "--size", f"{WIDTH}x{HEIGHT}"]
    generator = torch.Generator().manual_seed(SEED)
    result = pipeline(
        PROMPT,
        image=Image.fromarray(pixels),
        num_inference_steps=STEPS,
        generator=generator,
        output_type="latent",
        **call,
    )
    pipeline.save_pretrained(place / "checkpoint")
    save_file({"latents": result.images.contiguous()}, place / "reference.safetensors")
    return [PROMPT, "--steps", str(STEPS), "--random", "torch", "--seed", str(SEED), *typed]


def draw_twice(demo, case, place):
    """Text to picture, enlarged, and picture to picture from the same seed drawn anew."""
    scheduler, by, (width, height), (wanted_width, wanted_height), strength, steps, typed = PASSES[case]
    parts = StableDiffusionPipeline.from_pretrained(demo, safety_checker=None).components
    parts["unet"] = unet(demo, 4)
    parts["scheduler"] = getattr(diffusers, scheduler).from_config(parts["scheduler"].config)
    first = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    first.to(torch.float32).set_progress_bar_config(disable=True)
    asked = {"guidance_scale": 5.0, "output_type": "latent"}
    size = {"width": WIDTH, "height": HEIGHT}
    drawn = first(
        PROMPT, num_inference_steps=STEPS, generator=torch.Generator().manual_seed(SEED), **size, **asked
    ).images
    if by:
        mode, antialias = by
        large = torch.nn.functional.interpolate(drawn, (height // 8, width // 8), mode=mode, antialias=antialias)
        left, top = (width - wanted_width) // 16, (height - wanted_height) // 16
        large = large[:, :, top : top + wanted_height // 8, left : left + wanted_width // 8]
    else:
        vae, processor = first.vae, first.image_processor
        with torch.no_grad():
            decoded = vae.decode(drawn / vae.config.scaling_factor).sample
            picture = processor.postprocess(decoded, output_type="pil")[0]
            planes = processor.preprocess(picture.resize((width, height), Image.LANCZOS))
            large = vae.encode(planes).latent_dist.mode() * vae.config.scaling_factor
    second = StableDiffusionImg2ImgPipeline(**first.components, requires_safety_checker=False)
    second.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    result = second(
        PROMPT, image=large, strength=strength, num_inference_steps=steps, generator=generator, **asked
    )
    first.save_pretrained(place / "checkpoint")
    save_file({"latents": result.images.contiguous()}, place / "reference.safetensors")
    base = [PROMPT, "--steps", str(STEPS), "--random", "torch", "--seed", str(SEED), "--guidance", "5"]
    return [*base, "--size", f"{WIDTH}x{HEIGHT}", *typed]


def main():
    folder, demo = map(pathlib.Path, sys.argv[1:])
    for case in PASSES:
        place = folder / case
        place.mkdir(parents=True)
        print(json.dumps({"name": case, "typed": draw_twice(demo, case, place)}), flush=True)
    for case in CASES:
        place = folder / case
        place.mkdir(parents=True)
        print(json.dumps({"name": case, "typed": draw(demo, case, place)}), flush=True)


main()
