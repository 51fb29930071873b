"""Writes what ONNX Runtime computes with the models of this folder on random inputs: `run.py DIR SEED`.

Needs onnxruntime 1.32.0, numpy 2.4.6 and safetensors 0.8.0; `cargo xtask oracle onnx` has them in an environment of its own.
The files of this folder are those of seed 0.
"""

import pathlib
import sys

import numpy as np
import onnxruntime
from safetensors.numpy import save_file


def main():
    place, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    for model in sorted(pathlib.Path(__file__).parent.glob("*.onnx")):
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        random = np.random.default_rng(seed)
        inputs = {i.name: random.standard_normal(i.shape, dtype=np.float32) for i in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, inputs)))
        tensors = {f"in.{name}": x for name, x in inputs.items()} | {f"out.{name}": y for name, y in outputs.items()}
        save_file(tensors, place / f"{model.stem}.safetensors")


main()
