"""Times one model of a checkpoint in another engine, in f32 throughout.

    python peer_engines.py {torch,openvino} {unet,vae,text} CHECKPOINT

Prints the shape of its result when it is ready, after one run to warm up; then, for each line with a number of runs,
the seconds that each of them takes, as one JSON list.
"""

import gc
import json
import os
import pathlib
import sys
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel


class Only(torch.nn.Module):
    """One function of a model, its first result alone, for tracing."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs):
        return self.function(*inputs, return_dict=False)[0]


def load(name, checkpoint):
    """The model and random inputs of the sizes of 512x512, two latents for classifier-free guidance."""
    if name == "unet":
        model = UNet2DConditionModel.from_pretrained(checkpoint / "unet", torch_dtype=torch.float32)
        inputs = torch.randn(2, 4, 64, 64), torch.full((2,), 500.0), torch.randn(2, 77, 768)
        return Only(model, model.forward).eval(), inputs
    if name == "vae":
        model = AutoencoderKL.from_pretrained(checkpoint / "vae", torch_dtype=torch.float32)
        return Only(model, model.decode).eval(), (torch.randn(1, 4, 64, 64),)
    model = CLIPTextModel.from_pretrained(checkpoint / "text_encoder", dtype=torch.float32)
    return Only(model, model.forward).eval(), (torch.randint(0, 49000, (1, 77)),)


def in_torch(model, inputs):
    """Channels last: what PyTorch's convolutions are fastest with on a CPU."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = model.to(memory_format=torch.channels_last)
    inputs = [x.to(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs]
    return lambda: model(*inputs)


def in_openvino(model, inputs):
    """Static shapes, and a thread for each processor that we have."""
    import openvino as ov
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    # As convert_model does it by itself, but without running PyTorch twice more to check the recording.
    recorded = TorchScriptPythonDecoder(model, example_input=inputs, trace_kwargs={"check_trace": False})
    program = ov.convert_model(recorded, example_input=inputs, input=[tuple(x.shape) for x in inputs])
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "ENABLE_HYPER_THREADING": True,
    }
    request = ov.Core().compile_model(program, "CPU", settings).create_infer_request()
    arrays = [x.numpy() for x in inputs]
    return lambda: request.infer(arrays)[0]


@torch.inference_mode()
def main():
    engine, name, checkpoint = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    torch.manual_seed(0)
    model, inputs = load(name, checkpoint)
    run = {"torch": in_torch, "openvino": in_openvino}[engine](model, inputs)
    # OpenVINO has its own weights by now; PyTorch's live on in `run` where they are needed.
    del model
    gc.collect()
    print(json.dumps(list(run().shape)), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(json.loads(line)):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


main()
