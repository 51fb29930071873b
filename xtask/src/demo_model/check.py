"""Compares a run of `smelt generate` with diffusers on the same checkpoint, noise and settings.

    python check.py CHECKPOINT LATENTS.safetensors PROMPT STEPS GUIDANCE

The file holds `noise` and `latents`, both [1, 4, h, w]. Prints the largest and the mean difference of the final
latents, as JSON.
"""

import json
import sys

import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open


@torch.no_grad()
def main():
    checkpoint, latents, prompt, steps, guidance = sys.argv[1:6]
    with safe_open(latents, "pt") as file:
        noise, ours = file.get_tensor("noise").float(), file.get_tensor("latents").float()
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        prompt,
        num_inference_steps=int(steps),
        guidance_scale=float(guidance),
        latents=noise,
        output_type="latent",
    ).images
    difference = (theirs - ours).abs()
    print(json.dumps({"prompt": prompt, "largest": difference.max().item(), "mean": difference.mean().item()}))


main()
