"""One layer through the DKM palettizer of coremltools: what its weights become, and their gradient. Prints JSON."""

import json

import coremltools.optimize.torch.palettization as palettization
import torch

OPTIONS = {
    "n_bits": 2,
    "cluster_dim": 1,
    "weight_threshold": 0,
    "milestone": 0,
    "palett_tau": 0.05,
    "kmeans_max_iter": 3,
    "palett_epsilon": 0.0,
    "zero_threshold": 1e-12,
    "palett_max_mem": 1.0,
}


def numbers(tensor):
    return [round(float(value), 7) for value in tensor.flatten()]


torch.manual_seed(7)
weight = (torch.randn(8, 16) * 0.5).half().float()
layer = torch.nn.Linear(16, 8, bias=False)
layer.weight.data = weight.clone()
config = palettization.DKMPalettizerConfig.from_dict({"global_config": OPTIONS})
palettizer = palettization.DKMPalettizer(torch.nn.Sequential(layer), config)
model = palettizer.prepare()
palettizer.step()
model.train()
inputs = torch.eye(16)
model(inputs)  # The first run finds a start of its own, which is replaced.
start = torch.tensor([[-0.8], [-0.25], [0.3], [0.9]])
clusters = model[0].weight_fake_quant
clusters.centroids = [start.clone()]
model[0].weight.grad = None
torch.manual_seed(9)
by_output = torch.randn(16, 8)
outputs = model(inputs)
(outputs * by_output).sum().backward()
print(
    json.dumps(
        {
            "weight": numbers(weight),
            "start": numbers(start),
            "soft": numbers(outputs.detach().T),
            "entries": numbers(clusters.centroids[0]),
            "by_output": numbers(by_output.T),
            "gradient": numbers(model[0].weight.grad),
        }
    )
)
