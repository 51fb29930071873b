"""Lists the keys that the configuration classes of diffusers and transformers define, from their sources.

Prints JSON: class, where it is from, keys in the order of the source.
"""

import ast, json, subprocess, sys, tempfile, zipfile
from pathlib import Path

DIFFUSERS, TRANSFORMERS, OLD = "diffusers==0.42.1", "transformers==5.24.0", "transformers==4.44.2"


def unpacked(requirement, parent):
    place = Path(parent) / requirement
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(place), requirement]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        wheel.extractall(place)
    return place


def classes(path):
    return {n.name: n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)}


def arguments(node):
    """Arguments of `__init__`, which is what `register_to_config` stores."""
    init = next(f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
    return [a.arg for a in init.args.args[1:] + init.args.kwonlyargs]


def fields(node):
    """Annotated attributes but for those of the class itself."""
    is_own = lambda a: isinstance(a, ast.AnnAssign) and "ClassVar" not in ast.dump(a.annotation)
    return [a.target.id for a in node.body if is_own(a)]


def attributes(node):
    """What `__init__` takes from its arguments, and the defaults of generation that old files repeat: transformers 4."""
    found = []
    functions = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    for n in ast.walk(functions["__init__"]):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in ("pop", "get"):
            if n.args and isinstance(n.args[0], ast.Constant):
                found.append(n.args[0].value)
    defaults = next(f for name, f in functions.items() if name.endswith("generation_defaults"))
    return found + [k.value for n in ast.walk(defaults) if isinstance(n, ast.Dict) for k in n.keys]


def taken(node):
    """What `__init__` takes out of its keyword arguments by name."""
    init = next(f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
    is_taken = lambda n: (isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in ("pop", "get")
                          and isinstance(n.func.value, ast.Name) and n.func.value.id == "kwargs")
    return [n.args[0].value for n in ast.walk(init) if is_taken(n) and isinstance(n.args[0], ast.Constant)]


def listed(node, name):
    """A list of texts that the class holds under a name."""
    found = next(a for a in node.body if isinstance(a, ast.Assign) and a.targets[0].id == name)
    return [e.value for e in found.value.elts]


def main():
    with tempfile.TemporaryDirectory() as parent:
        d, t, old = (unpacked(r, parent) for r in (DIFFUSERS, TRANSFORMERS, OLD))
        d, t, old = d / "diffusers", t / "transformers", old / "transformers"
        out = {}
        def put(name, source, keys):
            out[name] = {"from": source.replace("==", " "), "keys": list(dict.fromkeys(keys))}
        put("ConfigMixin", DIFFUSERS, ["_class_name", "_diffusers_version", "_name_or_path", "_use_default_values"])
        for name, file in (("UNet2DConditionModel", "models/unets/unet_2d_condition.py"),
                           ("ControlNetModel", "models/controlnets/controlnet.py"),
                           ("SD3Transformer2DModel", "models/transformers/transformer_sd3.py"),
                           ("AutoencoderKL", "models/autoencoders/autoencoder_kl.py"),
                           ("AutoencoderTiny", "models/autoencoders/autoencoder_tiny.py")):
            put(name, DIFFUSERS, arguments(classes(d / file)[name]))
        for file in sorted((d / "schedulers").glob("scheduling_*.py")):
            for name, node in classes(file).items():
                is_config = any("register_to_config" in ast.dump(x) for f in node.body if isinstance(f, ast.FunctionDef)
                                and f.name == "__init__" for x in f.decorator_list)
                if name.endswith("Scheduler") and is_config:
                    put(name, DIFFUSERS, arguments(node))
        clip = classes(t / "models/clip/configuration_clip.py")
        for name in ("CLIPTextConfig", "CLIPVisionConfig", "CLIPConfig"):
            put(name, TRANSFORMERS, fields(clip[name]))
        t5 = classes(t / "models/t5/configuration_t5.py")["T5Config"]
        put("T5Config", TRANSFORMERS, fields(t5))
        t5 = classes(old / "models/t5/configuration_t5.py")["T5Config"]
        put("T5Config of transformers 4", OLD, arguments(t5))
        put("PreTrainedConfig", TRANSFORMERS, ["model_type"] + fields(classes(t / "configuration_utils.py")["PreTrainedConfig"]))
        put("PretrainedConfig", OLD, attributes(classes(old / "configuration_utils.py")["PretrainedConfig"]))
        four = " of transformers 4"
        put("CLIPTokenizer", TRANSFORMERS, arguments(classes(t / "models/clip/tokenization_clip.py")["CLIPTokenizer"]))
        put("CLIPTokenizer" + four, OLD, arguments(classes(old / "models/clip/tokenization_clip.py")["CLIPTokenizer"]))
        fast = classes(old / "models/clip/tokenization_clip_fast.py")["CLIPTokenizerFast"]
        put("CLIPTokenizerFast", OLD, arguments(fast))
        base = classes(t / "tokenization_utils_base.py")["PreTrainedTokenizerBase"]
        put("PreTrainedTokenizerBase", TRANSFORMERS, listed(base, "SPECIAL_TOKENS_ATTRIBUTES") + taken(base))
        base = classes(old / "tokenization_utils_base.py")
        put("PreTrainedTokenizerBase" + four, OLD, taken(base["PreTrainedTokenizerBase"]))
        put("SpecialTokensMixin", OLD, listed(base["SpecialTokensMixin"], "SPECIAL_TOKENS_ATTRIBUTES"))
        backend = classes(t / "tokenization_utils_tokenizers.py")["TokenizersBackend"]
        put("TokenizersBackend", TRANSFORMERS, taken(backend))
        put("ImagesKwargs", TRANSFORMERS, fields(classes(t / "processing_utils.py")["ImagesKwargs"]))
        image = classes(old / "models/clip/image_processing_clip.py")["CLIPImageProcessor"]
        put("CLIPImageProcessor", OLD, arguments(image))
        base = classes(old / "image_processing_base.py")["ImageProcessingMixin"]
        put("ImageProcessingMixin", OLD, taken(base))
        text = json.dumps(out, indent=1, sort_keys=True)
        print(text)


main()
