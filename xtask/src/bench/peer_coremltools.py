"""Times coremltools' palettizer on single weights of a package.

    python peer_coremltools.py PACKAGE BITS

Prints the weights that coremltools would palettize by default (rank 2 or more, more than 2048 elements) as one JSON
list of [name, shape]; then, for each line with a JSON list of their positions, the seconds that each of them takes.
"""

import json
import pathlib
import sys
import time

import numpy as np
import coremltools as ct
from coremltools.optimize.coreml._quantization_passes import palettize_weights

FLOAT16 = 10  # MILSpec.DataType
MIN_ELEMENTS = 2048  # the default of OpPalettizerConfig.weight_threshold


def weights(package):
    """Name, shape and place of every float16 weight in program order."""
    found = []
    for function in ct.utils.load_spec(str(package)).mlProgram.functions.values():
        for block in function.block_specializations.values():
            for op in block.operations:
                if op.type != "const" or not op.attributes["val"].HasField("blobFileValue"):
                    continue
                value = op.attributes["val"]
                tensor = value.type.tensorType
                shape = [dimension.constant.size for dimension in tensor.dimensions]
                if tensor.dataType == FLOAT16 and len(shape) >= 2 and np.prod(shape) > MIN_ELEMENTS:
                    found.append((op.outputs[0].name, shape, value.blobFileValue.offset))
    return found


def warm_up(bits):
    """Loads both of its algorithms: scikit-learn's below 10 000 elements, its own from there on."""
    for size in (4096, 16384):
        weight = np.random.default_rng(0).standard_normal((64, size // 64)).astype(np.float16)
        palettize_weights.blockwise_compress(weight, "KMEANS", bits, [0, 0])


def main():
    package, bits = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    found = weights(package)
    warm_up(bits)
    print(json.dumps([[name, shape] for name, shape, _ in found]), flush=True)
    blobs = np.memmap(package / "Data/com.apple.CoreML/weights/weight.bin", np.uint8, "r")
    for line in sys.stdin:
        seconds = []
        for position in json.loads(line):
            _, shape, offset = found[position]
            size, data = (int(x) for x in blobs[offset + 8 : offset + 24].view(np.uint64))
            weight = np.array(blobs[data : data + size]).view(np.float16).reshape(shape)
            start = time.perf_counter()
            # What the pass of this name calls for a weight, with the arguments of per-tensor granularity.
            palettized = palettize_weights.blockwise_compress(weight, "KMEANS", bits, [0] * len(shape))
            seconds.append(time.perf_counter() - start)
            assert palettized.lut.size == 2**bits and palettized.indices.size == weight.size
        print(json.dumps(seconds), flush=True)


main()
