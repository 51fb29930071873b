"""Draws with diffusers what a TAESD decodes, and writes the TAESD in every form in which people have it.

    python decoders.py FOLDER DEMO CHECKPOINTS

DEMO is a checkpoint of Stable Diffusion 1.x; CHECKPOINTS is a folder of small ones with `assemble.json`, of which tiny-sd3
is taken. TAESDs are small and random.
Below FOLDER, for each model: `NAME/checkpoint`, the TAESD's files, and `NAME/reference.safetensors` with the `latents`, the
`decoded` planes and the `picture` in bytes. Prints a line of JSON for each form of each: names, and the arguments of
`smelt generate` that are to give the same.
"""

import collections
import json
import math
import pathlib
import shutil
import sys

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusion3Pipeline, StableDiffusionPipeline
from safetensors.torch import save_file

PROMPT, SEED, STEPS, SIDE, GUIDANCE, WIDTH = "a red heart", 11, 3, 64, 4.0, 24


def random_taesd(channels):
    """One whose pictures have contrasts, of weights that are representable in half precision."""
    generator = torch.Generator().manual_seed(channels)
    widths, blocks = (WIDTH,) * 4, (3, 3, 3, 1)
    model = AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=blocks[::-1],
        num_decoder_blocks=blocks,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            fan_in = math.prod(parameter.shape[1:]) if parameter.dim() > 1 else 0
            parameter.copy_((noise * (0.8 * fan_in**-0.5 if fan_in else 0.1)).half().float())
    return model.eval()


class Clamp(torch.nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layers = [layer for _ in range(3) for layer in (conv(WIDTH, WIDTH), torch.nn.ReLU())]
        self.conv = torch.nn.Sequential(*layers[:-1])

    def forward(self, x):
        return torch.relu(self.conv(x) + x)


def conv(i, o, bias=True):
    return torch.nn.Conv2d(i, o, 3, padding=1, bias=bias)


def authors_decoder(channels):
    """As the author's program has it: one list, which begins with what bounds latents; it gives values of 0 to 1."""
    layers = [Clamp(), conv(channels, WIDTH), torch.nn.ReLU()]
    for _ in range(3):
        layers += [Block(), Block(), Block(), torch.nn.Upsample(scale_factor=2), conv(WIDTH, WIDTH, bias=False)]
    return torch.nn.Sequential(*layers, Block(), conv(WIDTH, 3))


def write(taesd, place):
    """All forms; returns name, path, and whether it has an encoder too."""
    channels = taesd.config.latent_channels
    own = authors_decoder(channels)
    weights = [value for key, value in taesd.state_dict().items() if key.startswith("decoder.")]
    keys = list(own.state_dict())
    assert len(keys) == len(weights)
    author = collections.OrderedDict(zip(keys, weights))
    own.load_state_dict(author)
    z = torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(1)) * 2
    with torch.no_grad():
        difference = (own(z) * 2 - 1 - taesd.decode(z).sample).abs().max()
    assert difference < 1e-5, difference
    # The name says which model it is for.
    name = "taesd" if channels == 4 else "taesd3"
    taesd.save_pretrained(place / name)
    save_file(taesd.state_dict(), place / "both.safetensors")
    save_file(author, place / f"{name}_decoder.safetensors")
    torch.save(author, place / f"{name}_decoder.pth")
    torch.save(author, place / f"{name}_decoder_old.pth", _use_new_zipfile_serialization=False)
    half = collections.OrderedDict((key, value.half()) for key, value in author.items())
    torch.save(half, place / f"{name}_decoder_half.pth")
    return [
        ("folder", name, True),
        ("diffusers' names", "both.safetensors", True),
        ("author's safetensors", f"{name}_decoder.safetensors", False),
        ("author's pth", f"{name}_decoder.pth", False),
        ("author's pth, old form", f"{name}_decoder_old.pth", False),
        ("author's pth, half", f"{name}_decoder_half.pth", False),
    ]


def assemble(checkpoints, name, place):
    shutil.copytree(checkpoints / name, place)
    for to, source in json.loads((checkpoints / "assemble.json").read_text())[name].items():
        source, to = checkpoints / source, place / to
        to.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, to)


def draw(name, place, pipeline, taesd, checkpoint):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    call = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "height": SIDE, "width": SIDE}
    latents = pipeline(PROMPT, generator=generator, output_type="latent", **call).images
    shift = getattr(taesd.config, "shift_factor", None) or 0
    with torch.no_grad():
        decoded = taesd.decode(latents / taesd.config.scaling_factor + shift).sample
    picture = pipeline.image_processor.postprocess(decoded, output_type="pil")[0]
    tensors = {"latents": latents, "decoded": decoded, "picture": torch.from_numpy(np.array(picture))}
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, place / "reference.safetensors")
    typed = [PROMPT, "--steps", STEPS, "--guidance", GUIDANCE, "--random", "torch", "--seed", SEED]
    typed += ["--size", f"{SIDE}x{SIDE}", "-m", checkpoint]
    for form, path, is_whole in write(taesd, place):
        case = {"model": name, "form": form, "taesd": str(place / path), "is_whole": is_whole}
        print(json.dumps({**case, "checkpoint": str(checkpoint), "typed": [str(word) for word in typed]}), flush=True)


def main():
    folder, demo, checkpoints = map(pathlib.Path, sys.argv[1:])
    for name, channels in (("sd", 4), ("sd3", 16)):
        place = folder / name
        place.mkdir()
        taesd = random_taesd(channels)
        if name == "sd":
            checkpoint, kind, more = demo, StableDiffusionPipeline, {"safety_checker": None}
        else:
            checkpoint, kind, more = place / "checkpoint", StableDiffusion3Pipeline, {}
            assemble(checkpoints, "tiny-sd3", checkpoint)
        pipeline = kind.from_pretrained(checkpoint, torch_dtype=torch.float32, **more)
        pipeline = kind(**{**pipeline.components, "vae": taesd}, **({"requires_safety_checker": False} if more else {}))
        draw(name, place, pipeline, taesd, checkpoint)


main()
