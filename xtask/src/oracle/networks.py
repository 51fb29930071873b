"""Writes small checkpoints of shapes that golden data lacks, and what PyTorch makes of them.

    python networks.py FOLDER

Below FOLDER, for each case: `NAME/checkpoint` as diffusers saves it, and `NAME/reference.safetensors`, whose `in.*` and
`out.*` have the names and layouts of converted models. Prints a line of JSON for each: name, component.
Weights are random and representable in half precision, and none is zero, so that every one of them counts.
"""

import json
import math
import pathlib
import sys

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file

SIDE, TOKENS, BATCH = 16, 77, 2
ATTENDS, PLAIN, UP_ATTENDS, UP_PLAIN = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"

UNET = {
    "sample_size": SIDE,
    "block_out_channels": (32, 64),
    "down_block_types": (ATTENDS, PLAIN),
    "up_block_types": (UP_PLAIN, UP_ATTENDS),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 48,
    "norm_num_groups": 8,
}
POOLED, SIZES, SIZE_WIDTH = 40, 6, 16
ADDED = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SIZE_WIDTH,
    "projection_class_embeddings_input_dim": POOLED + SIZES * SIZE_WIDTH,
    "use_linear_projection": True,
}
XL = {
    **UNET,
    **ADDED,
    "block_out_channels": (32, 32, 64),
    "down_block_types": (PLAIN, ATTENDS, ATTENDS),
    "up_block_types": (UP_ATTENDS, UP_ATTENDS, UP_PLAIN),
    "layers_per_block": 2,
    "attention_head_dim": (2, 4, 8),
    "transformer_layers_per_block": (1, 1, 2),
}
# SSD-1B: depths by layer, of which the way up has one more, and no attention in the middle.
BY_LAYER = {
    "transformer_layers_per_block": [0, [2, 1], [1, 3]],
    "reverse_transformer_layers_per_block": [[1, 2, 3], [2, 1, 1], 0],
}
ONLY_FOR_UNETS = {"sample_size", "up_block_types"}
HINT = {"conditioning_embedding_out_channels": (8, 16, 24, 32)}


def control_net(config):
    return {**{k: v for k, v in config.items() if k not in ONLY_FOR_UNETS}, **HINT}


# Name: component, configuration.
CASES = {
    "instruct-pix2pix": ("unet", {**UNET, "in_channels": 8}),
    "no-middle": ("unet", {**UNET, "mid_block_type": None}),
    "no-middle-three-levels": (
        "unet",
        {
            **UNET,
            "mid_block_type": None,
            "block_out_channels": (32, 64, 64),
            "down_block_types": (ATTENDS, ATTENDS, ATTENDS),
            "up_block_types": (UP_ATTENDS, UP_ATTENDS, UP_ATTENDS),
        },
    ),
    "middle-without-attention": ("unet", {**UNET, "mid_block_type": "UNetMidBlock2D"}),
    "xl-depths-by-layer": ("unet", {**XL, **BY_LAYER, "mid_block_type": "UNetMidBlock2D"}),
    "xl-depths-by-layer-guided": ("control-unet", {**XL, **BY_LAYER, "mid_block_type": "UNetMidBlock2D"}),
    "xl-depths-mirrored-by-hand": ("unet", {**XL, "reverse_transformer_layers_per_block": (3, 1, 1)}),
    "xl-refiner-with-aesthetic-score": (
        "refiner",
        {**XL, "projection_class_embeddings_input_dim": POOLED + 5 * SIZE_WIDTH},
    ),
    "xl-guided": ("control-unet", XL),
    "xl-controlnet": ("controlnet", control_net(XL)),
    "xl-controlnet-small": (
        "controlnet",
        control_net({**XL, "down_block_types": (PLAIN,) * 3, "mid_block_type": "UNetMidBlock2D"}),
    ),
    "xl-controlnet-without-adapted-depths": (
        "controlnet",
        control_net({**XL, "transformer_layers_per_block": 1, "attention_head_dim": 4}),
    ),
}


def randomise(model, generator):
    """Weights that keep the scale of what goes in, norms near identity; rounded to half precision."""
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = parameter.dim() == 1 and bool((parameter == 1).all())
            fan_in = math.prod(parameter.shape[1:]) if parameter.dim() > 1 else 0
            value = 1 + 0.1 * noise if is_norm else noise * (fan_in**-0.5 if fan_in else 0.1)
            parameter.copy_(value.half().float())
    return model.eval()


def inputs_of(component, config, generator):
    """The features of a converted model."""
    normal = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    inputs = {
        "sample": normal(BATCH, config.get("in_channels", 4), SIDE, SIDE),
        "timestep": torch.tensor([721.0] * BATCH),
        "encoder_hidden_states": normal(BATCH, config["cross_attention_dim"], 1, TOKENS),
    }
    if "addition_embed_type" in config:
        n_sizes = (config["projection_class_embeddings_input_dim"] - POOLED) // SIZE_WIDTH
        sizes = [128.0, 96.0, 8.0, 0.0, 128.0, 128.0] if n_sizes == SIZES else [128.0, 96.0, 8.0, 0.0, 6.0]
        inputs["time_ids"] = torch.tensor([sizes] * BATCH)
        inputs["text_embeds"] = normal(BATCH, POOLED)
    if component == "controlnet":
        inputs["controlnet_cond"] = torch.rand((BATCH, 3, 8 * SIDE, 8 * SIDE), generator=generator)
    return inputs


def call(model, component, inputs, generator):
    """Runs the model; adds what guides a denoiser to the inputs."""
    keywords = {"encoder_hidden_states": inputs["encoder_hidden_states"].squeeze(2).transpose(1, 2)}
    if "time_ids" in inputs:
        keywords["added_cond_kwargs"] = {k: inputs[k] for k in ("time_ids", "text_embeds")}
    if component == "controlnet":
        down, middle = model(
            inputs["sample"],
            inputs["timestep"],
            controlnet_cond=inputs["controlnet_cond"],
            return_dict=False,
            **keywords,
        )
        return {f"additional_residual_{i}": x for i, x in enumerate([*down, middle])}
    if component == "control-unet":
        residuals = [torch.randn(shape, generator=generator) for shape in states(model, inputs, keywords)]
        keywords["down_block_additional_residuals"] = residuals[:-1]
        keywords["mid_block_additional_residual"] = residuals[-1]
        inputs.update({f"additional_residual_{i}": x for i, x in enumerate(residuals)})
    return {"noise_pred": model(inputs["sample"], inputs["timestep"], **keywords).sample}


def states(model, inputs, keywords):
    """Shapes of the states that the way down and the middle hand over."""
    shapes = []
    record = lambda _module, _inputs, output: shapes.append(output.shape)  # noqa: E731
    layers = [model.conv_in]
    for block in model.down_blocks:
        attentions = getattr(block, "attentions", None)
        # What leaves a layer: its transformer's result, where it has one of any depth.
        layers += block.resnets if attentions is None else attentions
        layers += block.downsamplers or []
    hooks = [layer.register_forward_hook(lambda m, i, o: record(m, i, o if torch.is_tensor(o) else o[0])) for layer in layers]
    hooks.append(model.mid_block.register_forward_hook(record))
    model(inputs["sample"], inputs["timestep"], **keywords)
    for hook in hooks:
        hook.remove()
    return shapes


def write(place, number, name, component, config):
    generator = torch.Generator().manual_seed(number)
    network = (ControlNetModel if component == "controlnet" else UNet2DConditionModel)(**config)
    model = randomise(network, generator)
    inputs = inputs_of(component, config, generator)
    with torch.no_grad():
        outputs = call(model, component, inputs, generator)
    folder = place / name
    checkpoint = folder / "checkpoint"
    if component == "controlnet":
        model.save_pretrained(checkpoint)
    else:
        model.save_pretrained(checkpoint / "unet")
        is_xl, is_refiner = "addition_embed_type" in config, component == "refiner"
        index = {
            "_class_name": f"StableDiffusion{'XL' if is_xl else ''}{'Img2Img' if is_refiner else ''}Pipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            **({"requires_aesthetics_score": is_refiner} if is_xl else {}),
        }
        (checkpoint / "model_index.json").write_text(json.dumps(index))
    features = {**{f"in.{k}": v for k, v in inputs.items()}, **{f"out.{k}": v for k, v in outputs.items()}}
    save_file({k: v.contiguous() for k, v in features.items()}, folder / "reference.safetensors")
    print(json.dumps({"name": name, "component": component}), flush=True)


def main():
    torch.set_num_threads(1)
    for number, (name, (component, config)) in enumerate(CASES.items()):
        write(pathlib.Path(sys.argv[1]), number, name, component, config)


main()
