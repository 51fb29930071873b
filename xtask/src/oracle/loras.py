"""Writes small checkpoints, LoRAs of kinds that golden data lacks, and what diffusers, peft or LyCORIS merge of them.

    python loras.py FOLDER

Below FOLDER, for each case: `NAME/checkpoint` and `NAME/merged` as diffusers saves them, and the LoRA. Prints a line of
JSON for each: name, lora, weight, and who merged. Weights are random and representable in half precision.
"""

import json
import logging
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

import torch  # noqa: E402
from diffusers import (  # noqa: E402
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.training_utils import _collate_lora_metadata  # noqa: E402
from lycoris import create_lycoris_from_weights  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, inject_adapter_in_model  # noqa: E402
from peft.tuners.lora import LoraLayer  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection  # noqa: E402

ATTENDS, PLAIN, UP_ATTENDS, UP_PLAIN = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"
UNET = {
    "sample_size": 16,
    "block_out_channels": (32, 64),
    "down_block_types": (ATTENDS, PLAIN),
    "up_block_types": (UP_PLAIN, UP_ATTENDS),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 48,
    "norm_num_groups": 8,
}
XL = {
    **UNET,
    "block_out_channels": (32, 32, 64),
    "down_block_types": (PLAIN, ATTENDS, ATTENDS),
    "up_block_types": (UP_ATTENDS, UP_ATTENDS, UP_PLAIN),
    "attention_head_dim": (2, 4, 8),
    "transformer_layers_per_block": (1, 1, 2),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 16,
    "projection_class_embeddings_input_dim": 40 + 6 * 16,
}
MMDIT = {
    "sample_size": 16,
    "num_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 48,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 88,
    "pos_embed_max_size": 16,
}
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
# What LCM- and Hyper-LoRAs of the UNet train, embeddings of time among them.
FEW_STEPS = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")
FEW_STEPS += ("conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj")

draw = torch.Generator().manual_seed(20)


def noise(*shape, std=0.05):
    """Normal numbers that half precision has."""
    return (torch.randn(*shape, generator=draw) * std).half().float()


def filled(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(noise(*parameter.shape))
    return module.eval().requires_grad_(False)


def text(kind, width):
    size = {"hidden_size": width, "intermediate_size": 2 * width, "projection_dim": width}
    return filled(kind(CLIPTextConfig(vocab_size=99, num_hidden_layers=2, num_attention_heads=4, **size)))


def sd1():
    unet, encoder = filled(UNet2DConditionModel(**UNET)), text(CLIPTextModel, 48)
    rest = dict.fromkeys(("vae", "tokenizer", "safety_checker", "feature_extractor"))
    pipe = StableDiffusionPipeline(
        unet=unet, text_encoder=encoder, scheduler=DDIMScheduler(), requires_safety_checker=False, **rest
    )
    return pipe, ("unet", "text_encoder")


def xl():
    encoders = {"text_encoder": text(CLIPTextModel, 8), "text_encoder_2": text(CLIPTextModelWithProjection, 40)}
    rest = dict.fromkeys(("vae", "tokenizer", "tokenizer_2"))
    pipe = StableDiffusionXLPipeline(
        unet=filled(UNet2DConditionModel(**XL)), scheduler=DDIMScheduler(), add_watermarker=False, **encoders, **rest
    )
    return pipe, ("unet", "text_encoder", "text_encoder_2")


def sd3(**more):
    encoders = {f"text_encoder{end}": text(CLIPTextModelWithProjection, w) for end, w in (("", 40), ("_2", 48))}
    rest = dict.fromkeys(("vae", "tokenizer", "tokenizer_2", "tokenizer_3", "text_encoder_3"))
    scheduler = FlowMatchEulerDiscreteScheduler()
    transformer = filled(SD3Transformer2DModel(**MMDIT, **more))
    pipe = StableDiffusion3Pipeline(transformer=transformer, scheduler=scheduler, **encoders, **rest)
    return pipe, ("transformer", "text_encoder", "text_encoder_2")


class Case:
    def __init__(self, root, name, made):
        self.pipe, self.parts = made
        self.folder, self.name = root / name, name
        self.folder.mkdir(parents=True)
        self.pipe.save_pretrained(self.folder / "checkpoint")

    def done(self, lora, weight, by):
        """The networks as they are now are what the merge must give."""
        self.pipe.save_pretrained(self.folder / "merged")
        lora = str((self.folder / lora).resolve())
        print(json.dumps({"name": self.name, "lora": lora, "weight": weight, "by": by}), flush=True)

    def by_diffusers(self, lora, weight):
        """Merges a file as diffusers reads it."""
        self.pipe.load_lora_weights(str(self.folder), weight_name=lora)
        self.pipe.fuse_lora(components=list(self.parts), lora_scale=weight)
        self.pipe.unload_lora_weights()
        self.done(lora, weight, "diffusers")

    def trained(self, configs, weight):
        """Adapters of peft in several parts, saved by diffusers with their configurations, and merged.

        diffusers merges the denoiser's from the file. Text encoders are merged by peft as they are: transformers 5.24, by
        which diffusers reads theirs, wants a peft that is not published.
        """
        layers = {}
        for part, config in configs.items():
            module = inject_adapter_in_model(config, getattr(self.pipe, part))
            randomise(module)
            layers[f"{part}_lora_layers"] = get_peft_model_state_dict(module)
        metadata = _collate_lora_metadata({part: getattr(self.pipe, part) for part in configs})
        self.pipe.save_lora_weights(str(self.folder), **layers, **metadata)
        for part in configs:
            merge(getattr(self.pipe, part), weight if part.startswith("text") else 0)
        file = "pytorch_lora_weights.safetensors"
        denoiser = getattr(self.pipe, self.parts[0])
        denoiser.load_lora_adapter(str(self.folder), weight_name=file, prefix=self.parts[0])
        denoiser.fuse_lora(lora_scale=weight)
        denoiser.unload_lora()
        self.done(file, weight, "diffusers and peft" if len(configs) > 1 else "diffusers")


def randomise(module):
    """peft begins with nothing added."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if ".lora_" in name:
                parameter.copy_(noise(*parameter.shape, std=0.1))


def merge(module, weight):
    """Takes peft's layers out again, merged with this weight if it is not zero."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, LoraLayer):
            if weight != 0:
                layer.scale_layer(weight)
                layer.merge()
            module.set_submodule(name, layer.get_base_layer())
    del module.peft_config


def few_steps(case, weight):
    """A file as those of LCM: sd-scripts' names, the UNet alone, alphas."""
    tensors, rank, alpha = {}, 4, 2.0
    for name, module in case.pipe.unet.named_modules():
        if name.endswith(FEW_STEPS) and hasattr(module, "weight"):
            n_out, n_in, *kernel = module.weight.shape
            key = "lora_unet_" + name.replace(".", "_")
            tensors[f"{key}.lora_down.weight"] = noise(rank, n_in, *kernel, std=0.1).half()
            tensors[f"{key}.lora_up.weight"] = noise(n_out, rank, *(1 for _ in kernel), std=0.1).half()
            tensors[f"{key}.alpha"] = torch.tensor(alpha).half()
    save_file(tensors, case.folder / "lcm.safetensors")
    case.by_diffusers("lcm.safetensors", weight)


def full_difference(case, weight):
    """Whole differences of weights and biases, merged by LyCORIS."""
    tensors = {}
    for name, module in case.pipe.unet.named_modules():
        if name.endswith(FEW_STEPS) and hasattr(module, "weight"):
            key = "lycoris_" + name.replace(".", "_")
            tensors[f"{key}.diff"] = noise(*module.weight.shape, std=0.02)
            if module.bias is not None:
                tensors[f"{key}.diff_b"] = noise(*module.bias.shape, std=0.02)
    save_file(tensors, case.folder / "full.safetensors")
    network, _ = create_lycoris_from_weights(weight, "", case.pipe.unet, weights_sd=tensors)
    network.merge_to(weight)
    case.done("full.safetensors", weight, "LyCORIS")


def of_peft(case):
    """A folder of peft alone, rank-stabilised, merged by peft."""
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=[*ATTENTION, "ff.net.2", "conv1"],
        rank_pattern={"attn2.to_k": 2},
        alpha_pattern={"attn1.to_q": 3},
    )
    model = get_peft_model(case.pipe.unet, config)
    randomise(model)
    model.save_pretrained(case.folder / "peft")
    fresh = UNet2DConditionModel.from_pretrained(case.folder / "checkpoint/unet")
    case.pipe.unet = PeftModel.from_pretrained(fresh, case.folder / "peft").merge_and_unload()
    case.done("peft", 1.0, "peft")


def main():
    root = pathlib.Path(sys.argv[1])
    joint = [*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
    whole = [*joint, "proj", "net.2", "linear", "linear_1", "linear_2", "context_embedder", "proj_out"]
    of_text = LoraConfig(r=3, lora_alpha=2, target_modules=TEXT)
    of_transformer = LoraConfig(r=4, lora_alpha=6, target_modules=joint)
    both = {"text_encoder": of_text, "text_encoder_2": of_text}
    Case(root, "sd3", sd3()).trained({"transformer": of_transformer, **both}, 0.75)
    everywhere = LoraConfig(r=8, lora_alpha=8, use_rslora=True, target_modules=whole)
    newer = sd3(qk_norm="rms_norm", dual_attention_layers=(0, 1))
    Case(root, "sd3.5-rank-stabilised", newer).trained({"transformer": everywhere}, -0.5)
    options = {"use_rslora": True, "rank_pattern": {"attn2.to_v": 2}, "alpha_pattern": {"attn1.to_q": 3}}
    stable = LoraConfig(r=4, lora_alpha=6, target_modules=[*ATTENTION, "conv2"], **options)
    stable_text = LoraConfig(r=9, lora_alpha=5, target_modules=TEXT, use_rslora=True)
    Case(root, "sd1-rank-stabilised", sd1()).trained({"unet": stable, "text_encoder": stable_text}, 0.8)
    of_peft(Case(root, "sd1-rank-stabilised-peft", sd1()))
    few_steps(Case(root, "sd1-lcm", sd1()), 1.0)
    few_steps(Case(root, "sdxl-lcm", xl()), 0.9)
    full_difference(Case(root, "sd1-full", sd1()), 0.7)
    full_difference(Case(root, "sdxl-full", xl()), 1.0)


main()
