"""What the steps of the demo model's training share: the networks, the data, checkpoints and the log of the loss."""

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

SIZE = 128  # pixels
LATENT = 16  # the VAE's factor is 8
SCALING = 0.18215
# SD 1.x's schedule, but with more noise at its end: a 16×16 latent shows its mean through the noise that 512×512
# pictures end with, and sampling starts from noise without any.
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}


def vae():
    return AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=(16, 32, 48, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        scaling_factor=SCALING,
    )


def unet():
    return UNet2DConditionModel(
        sample_size=LATENT,
        block_out_channels=(64, 128, 224),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,  # the number of heads, as in SD 1.x
        cross_attention_dim=128,
        norm_num_groups=32,
    )


def text_encoder(tokenizer):
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=512,
            projection_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_data(folder):
    pictures = np.load(Path(folder) / "pictures.npy")
    return torch.from_numpy(pictures), json.loads((Path(folder) / "names.json").read_text())


def save(path, state):
    """Writes beside and renames, so that a stop at any moment leaves a whole checkpoint."""
    temporary = Path(str(path) + ".new")
    torch.save(state, temporary)
    os.replace(temporary, path)


class Clock:
    """The time that training took, over all its runs, and its curve as JSON lines."""

    def __init__(self, path, spent=0.0):
        self.path, self.start = Path(path), time.monotonic() - spent

    def spent(self):
        return time.monotonic() - self.start

    def log(self, **facts):
        facts = {key: round(value, 5) if isinstance(value, float) else value for key, value in facts.items()}
        line = json.dumps({"seconds": round(self.spent(), 1), **facts})
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")
