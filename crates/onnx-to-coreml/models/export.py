"""Writes the ONNX files of this folder into another: `export.py DIR`.

Needs torch 2.15.0, onnx 1.23.2 and onnxscript 0.7.2.
Weights are seeded, so that a model is the same wherever it is written.
"""

import pathlib
import sys

import onnx
import torch
from torch import nn
from torch.nn import functional as F


class Classifier(nn.Module):
    """A picture's class: plain and depthwise convolutions with batch normalization, a shortcut, two pools and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(16)
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.wide = nn.Conv2d(16, 24, 3, padding=1)
        self.head = nn.Linear(24, 10)

    def forward(self, image):
        x = F.relu(self.stem_norm(self.stem(image)))
        x = x + self.pointwise(F.hardswish(self.depthwise_norm(self.depthwise(x))))
        x = F.max_pool2d(F.leaky_relu(self.wide(x), 0.1), 2)
        return F.softmax(self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)), dim=1)


class Block(nn.Module):
    """Two convolutions behind group normalizations, beside a shortcut."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, n_in), nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, n_out), nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """Attention of one head over all pixels."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        batch, width, height, columns = x.shape
        tokens = self.norm(x).reshape(batch, width, height * columns).transpose(1, 2)
        scores = torch.matmul(self.q(tokens), self.k(tokens).transpose(1, 2)) * width**-0.5
        mixed = self.out(torch.matmul(F.softmax(scores, dim=-1), self.v(tokens)))
        return x + mixed.transpose(1, 2).reshape(batch, width, height, columns)


class Decoder(nn.Module):
    """The decoder of a small variational autoencoder, built as that of Stable Diffusion is."""

    def __init__(self):
        super().__init__()
        self.post_quant = nn.Conv2d(4, 4, 1)
        self.conv_in = nn.Conv2d(4, 32, 3, padding=1)
        self.middle1, self.attention, self.middle2 = Block(32, 32), Attention(32), Block(32, 32)
        self.up1, self.resize1 = Block(32, 32), nn.Conv2d(32, 32, 3, padding=1)
        self.up2, self.resize2 = Block(32, 16), nn.Conv2d(16, 16, 3, padding=1)
        self.norm_out, self.conv_out = nn.GroupNorm(8, 16), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, z):
        x = self.conv_in(self.post_quant(z))
        x = self.middle2(self.attention(self.middle1(x)))
        x = self.resize1(F.interpolate(self.up1(x), scale_factor=2.0, mode="nearest"))
        x = self.resize2(F.interpolate(self.up2(x), scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(x)))


MODELS = {
    "classifier": (Classifier, "image", (1, 3, 32, 32), "probabilities"),
    "vae_decoder": (Decoder, "z", (1, 4, 8, 8), "image"),
}


def write_models(place):
    for seed, (name, (network, input_name, shape, output_name)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = network().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
        torch.onnx.export(
            model, (torch.zeros(shape),), str(place / f"{name}.onnx"), dynamo=True, external_data=False,
            input_names=[input_name], output_names=[output_name], opset_version=18,
        )
        strip(place / f"{name}.onnx")


def strip(path):
    """Takes out where in whose folders each operation was written."""
    model = onnx.load(path)
    for part in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph]:
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


def main():
    write_models(pathlib.Path(sys.argv[1]))


main()
