"""Compares weights that Smelt compressed with those that coremltools compresses from the same package.

    python same_bytes.py SMELT PACKAGE_FOR_MACOS_13 PACKAGE_FOR_MACOS_15 SCRATCH

Only encodings whose algorithm leaves no choice; of k-means, weights that coremltools solves exactly. Several palettes
may be the best: where ours is another one, its squared error must not be above theirs. Prints a line for each encoding;
fails if an array differs.
"""

import logging
import pathlib
import shutil
import subprocess
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402
import numpy as np  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load  # noqa: E402

EXACT_KMEANS = 10_000  # elements from which coremltools' k-means is exact


def quantize(**options):
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(**options))
    return lambda model: cto.linear_quantize_weights(model, config)


def palettize(**options):
    config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(**options))
    return lambda model: cto.palettize_weights(model, config)


def prune(config, **options):
    return lambda model: cto.prune_weights(model, cto.OptimizationConfig(global_config=config(**options)))


SYMMETRIC, LINEAR = "linear_symmetric", "linear"
GROUPS = {"granularity": "per_grouped_channel", "group_size": 16}
BLOCKS = {"granularity": "per_block", "block_size": 32}
OLD = {
    "--bits 1": palettize(mode="kmeans", nbits=1),
    "--bits 2": palettize(mode="kmeans", nbits=2),
    "--bits 4": palettize(mode="kmeans", nbits=4),
    "--bits 6": palettize(mode="kmeans", nbits=6),
    "--bits 8": palettize(mode="kmeans", nbits=8),
    "--mode uniform --bits 4": palettize(mode="uniform", nbits=4),
    "--dtype int8": quantize(mode=SYMMETRIC),
    "--dtype int8 --mode linear": quantize(mode=LINEAR),
    "--dtype uint8": quantize(mode=SYMMETRIC, dtype="uint8"),
    "--dtype uint8 --mode linear": quantize(mode=LINEAR, dtype="uint8"),
    "--dtype int8 --granularity tensor": quantize(mode=SYMMETRIC, granularity="per_tensor"),
    "--sparsity 0.5": prune(cto.OpMagnitudePrunerConfig, target_sparsity=0.5),
    "--sparsity 0.3 --prune-block 4": prune(cto.OpMagnitudePrunerConfig, target_sparsity=0.3, block_size=4),
    "--n-of-m 2:4": prune(cto.OpMagnitudePrunerConfig, n_m_ratio=(2, 4)),
    "--threshold 0.02": prune(cto.OpThresholdPrunerConfig, threshold=0.02),
}
NEW = {
    "--bits 3": palettize(mode="kmeans", nbits=3),
    "--bits 4": palettize(mode="kmeans", nbits=4),
    "--bits 4 --group-size 16": palettize(mode="kmeans", nbits=4, **GROUPS),
    "--mode uniform --bits 3 --group-size 16": palettize(mode="uniform", nbits=3, **GROUPS),
    "--dtype int8": quantize(mode=SYMMETRIC),
    "--dtype int4 --block-size 32": quantize(mode=SYMMETRIC, dtype="int4", **BLOCKS),
    "--dtype uint4 --mode linear --block-size 32": quantize(mode=LINEAR, dtype="uint4", **BLOCKS),
    "--dtype uint4": quantize(mode=SYMMETRIC, dtype="uint4"),
    "--sparsity 0.5": prune(cto.OpMagnitudePrunerConfig, target_sparsity=0.5),
}


def program_of(package):
    model = ct.models.MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    return load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir)


def operations(package):
    return [op for function in program_of(package).functions.values() for op in function.operations]


def decoders(package):
    """Name -> (kind, arrays, operation) of every operation that decodes a weight."""
    found = {}
    for op in operations(package):
        if op.op_type.startswith("constexpr_"):
            arrays = {k: np.asarray(v.val) for k, v in op.inputs.items() if getattr(v, "val", None) is not None}
            found[op.outputs[0].name] = (op.op_type, arrays, op)
    return found


def is_as_good(name, ours, theirs, weights):
    """True for palettes of which ours loses no more."""
    weight = weights.get(name.removesuffix("_palettized"))
    if weight is None:
        return False
    ours, theirs = (
        np.sum((op.materialized_val_inference().astype(np.float64) - weight) ** 2) for op in (ours, theirs)
    )
    return ours <= theirs * (1 + 1e-9)


def is_undecided(kind, ours, options):
    """True for a palette that scikit-learn found."""
    if "lut" not in kind or "uniform" in options:
        return False
    lut = ours["lut"]
    n_palettes = max(1, lut.size // 2 ** int(options.split("--bits ")[1].split()[0]))
    indices = ours["indices"]
    n_elements = int(np.prod(ours["shape"])) if "shape" in ours else indices.size
    return n_elements // n_palettes < EXACT_KMEANS


def compare(smelt, package, options, compress, scratch):
    ours, theirs = scratch / "ours.mlpackage", scratch / "theirs.mlpackage"
    arguments = [smelt, "compress", str(package), "-o", str(ours), "--force", *options.split()]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(theirs, ignore_errors=True)
    compress(ct.models.MLModel(str(package), skip_model_load=True)).save(str(theirs))
    ours, theirs = decoders(ours), decoders(theirs)
    weights = {op.outputs[0].name: op.outputs[0].val for op in operations(package) if op.op_type == "const"}
    compared, different = 0, []
    # Weights that become equal are one weight in coremltools' package: all that it has must be ours.
    for name, (kind, arrays, op) in theirs.items():
        if name not in ours or ours[name][0] != kind:
            different.append(name)
        elif not is_undecided(kind, ours[name][1], options):
            compared, mine = compared + 1, ours[name][1]
            same = all(k in mine and mine[k].shape == v.shape and np.array_equal(mine[k], v) for k, v in arrays.items())
            if not same and not ("lut" in kind and is_as_good(name, ours[name][2], op, weights)):
                different.append(name)
    return len(ours), compared, different


def main():
    smelt, scratch, failed = sys.argv[1], pathlib.Path(sys.argv[4]), 0
    for system, package, encodings in (("macOS 13", sys.argv[2], OLD), ("macOS 15", sys.argv[3], NEW)):
        for options, compress in encodings.items():
            n, compared, different = compare(smelt, package, options, compress, scratch)
            verdict = f"{len(different)} DIFFER: {different[0]}" if different else "the same"
            print(f"{system}  {options:<46} {n:>4} weights, {compared:>4} compared: {verdict}", flush=True)
            failed += bool(different) or not compared
    sys.exit(failed > 0)


main()
