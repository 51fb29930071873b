"""Writes the demo model as a checkpoint in diffusers layout, fp16.

    python export.py DATA OUT CHECKPOINT

Takes the decoder of OUT/decoder.pt if there is one, and the means of OUT/unet.pt. The standardisation of the latents
goes into quant_conv and post_quant_conv, so that 0.18215 stays the scaling factor.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import PNDMScheduler
from safetensors.torch import save_file
from transformers import CLIPTokenizer

import common


def main():
    data, out, checkpoint = (Path(argument) for argument in sys.argv[1:4])
    state = torch.load(out / "unet.pt")
    unet, vae = common.unet(), common.vae()
    tokenizer = CLIPTokenizer.from_pretrained(data / "tokenizer")
    text = common.text_encoder(tokenizer)
    unet.load_state_dict(state["unet_mean"])
    text.load_state_dict(state["text_mean"])
    decoder = out / "decoder.pt"
    vae.load_state_dict(torch.load(decoder if decoder.is_file() else out / "vae.pt")["model"])
    fold(vae, state["mean"].flatten(), state["std"].flatten())

    shutil.rmtree(checkpoint, ignore_errors=True)
    for name, model in (("unet", unet), ("vae", vae)):
        config = {key: value for key, value in model.config.items() if not key.startswith("_")}
        write_json(checkpoint / name / "config.json", {"_class_name": type(model).__name__, **config})
        write_weights(checkpoint / name / "diffusion_pytorch_model.safetensors", model)
    config = text.config.to_dict()
    config |= {"architectures": ["CLIPTextModel"], "dtype": "float16"}
    write_json(checkpoint / "text_encoder/config.json", config)
    write_weights(checkpoint / "text_encoder/model.safetensors", text)
    shutil.copytree(data / "tokenizer", checkpoint / "tokenizer")
    scheduler = PNDMScheduler(**common.SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    scheduler.save_pretrained(checkpoint / "scheduler")
    write_json(
        checkpoint / "model_index.json",
        {
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )
    size = sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file())
    print(f"{checkpoint}: {size / 1e6:.1f} MB")


@torch.no_grad()
def fold(vae, mean, std):
    """Makes the encoder give (latent - mean) / std / 0.18215, and the decoder take it.

    Of the second half of quant_conv, the logarithms of variances, only the scale is folded, as a shift.
    """
    scale = std * common.SCALING
    channels = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] /= scale.view(-1, 1, 1, 1)
    quant.bias[:channels] = (quant.bias[:channels] - mean) / scale
    quant.bias[channels:] -= 2 * scale.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= scale.view(1, -1, 1, 1)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_weights(path, model):
    """The tensors in fp16, under the names that the libraries give them."""
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, path, metadata={"format": "pt"})


main()
