"""webuiapi, a client of AUTOMATIC1111's interface: every call that means something here, and those that are refused."""

import sys
import threading
import time
from urllib.parse import urlsplit

import webuiapi
from PIL import Image
from shared.told import Calls, check

URL = urlsplit(sys.argv[1])
CALLS = Calls("webuiapi 0.9.17")
API = webuiapi.WebUIApi(host=URL.hostname, port=URL.port, sampler="Euler a", steps=4)
SIZE = {"width": 128, "height": 128}
PICTURE = Image.new("RGB", (128, 128), (200, 40, 10))
MASK = Image.new("L", (128, 128), 0)
MASK.paste(255, (32, 32, 96, 96))


def txt2img() -> str:
    drawn = API.txt2img(prompt="red heart", seed=5, **SIZE)
    check(drawn.image.size == (128, 128), drawn.image.size)
    check(drawn.info["all_seeds"] == [5], drawn.info)
    check(drawn.info["infotexts"][0].startswith("red heart\nSteps: 4, Sampler: Euler a"), drawn.info)
    check(drawn.image.tobytes() == API.txt2img(prompt="red heart", seed=5, **SIZE).image.tobytes(), "another picture")
    return "the same picture for the same seed"


def several() -> str:
    drawn = API.txt2img(prompt="red heart", seed=7, batch_size=2, n_iter=2, sampler_name="DPM++ 2M Karras", **SIZE)
    check(len(drawn.images) == 4 and drawn.info["all_seeds"] == [7, 8, 9, 10], drawn.info)
    return "seeds are counted up"


def random_seed() -> str:
    seeds = [API.txt2img(prompt="x", steps=1, **SIZE).info["seed"] for _ in range(2)]
    check(seeds[0] != seeds[1], seeds)
    return "seed -1 is random"


def hires() -> str:
    drawn = API.txt2img(prompt="red heart", enable_hr=True, hr_scale=2, denoising_strength=0.5, **SIZE)
    check(drawn.image.size == (256, 256), drawn.image.size)
    return "256x256"


def img2img() -> str:
    drawn = API.img2img(images=[PICTURE], prompt="red heart", denoising_strength=0.5, **SIZE)
    check(drawn.info["denoising_strength"] == 0.5 and drawn.image.size == (128, 128), drawn.info)
    return ""


def inpaint() -> str:
    for whole in (True, False):
        drawn = API.img2img(images=[PICTURE], mask_image=MASK, prompt="red heart", inpaint_full_res=whole, **SIZE)
        check(drawn.image.getpixel((2, 2)) == (200, 40, 10), drawn.image.getpixel((2, 2)))
    return "outside the mask nothing changes"


def progress() -> str:
    running = threading.Thread(target=lambda: API.txt2img(prompt="red heart", steps=20, batch_size=2, **SIZE))
    running.start()
    seen, preview = 0.0, False
    while running.is_alive():
        told = API.get_progress()
        seen = max(seen, told["progress"])
        preview |= told["current_image"] is not None
        time.sleep(0.05)
    check(0 < seen <= 1 and preview, (seen, preview))
    API.util_wait_for_ready(check_interval=0.1)
    return "with previews"


def interrupt() -> str:
    found = []
    running = threading.Thread(target=lambda: found.append(API.txt2img(prompt="x", steps=20, batch_size=20, **SIZE)))
    running.start()
    while API.get_progress()["state"]["job_no"] < 1:
        time.sleep(0.05)
    API.interrupt()
    running.join()
    check(1 <= len(found[0].images) < 20, len(found[0].images))
    return "the call gets the pictures that were finished"


def skip() -> str:
    found = []
    running = threading.Thread(target=lambda: found.append(API.txt2img(prompt="x", steps=20, batch_size=2, **SIZE)))
    running.start()
    while API.get_progress()["state"]["sampling_step"] < 1:
        time.sleep(0.05)
    API.skip()
    running.join()
    check(len(found[0].images) == 1, len(found[0].images))
    return "the picture is left out"


def options() -> str:
    title = API.util_get_current_model()
    API.set_options({"sd_model_checkpoint": title})
    API.set_options(API.get_options())
    refused = API.set_options({"sd_model_checkpoint": "missing"})
    check("there are" in refused["detail"], refused)
    return f"model {title}"


def png_info() -> str:
    drawn = API.txt2img(prompt="red heart", seed=3, **SIZE)
    drawn.image.info["parameters"] = drawn.info["infotexts"][0]
    told = API.png_info(drawn.image)
    check(told.info is not None, told)
    return ""


def upscale() -> str:
    larger = API.extra_single_image(image=PICTURE, upscaler_1="Lanczos", upscaling_resize=2).image
    check(larger.size == (256, 256), larger.size)
    both = API.extra_batch_images(images=[PICTURE, PICTURE], upscaler_1="Nearest", upscaling_resize=1.5).images
    check([one.size for one in both] == [(192, 192)] * 2, both)
    return ""


def lists() -> str:
    names = API.util_get_sampler_names()
    check("Euler a" in names and "DPM++ 2M" in names, names)
    check({"karras", "sgm_uniform"} <= {one["name"] for one in API.get_schedulers()}, API.get_schedulers())
    check([one["name"] for one in API.get_upscalers()][:3] == ["None", "Lanczos", "Nearest"], API.get_upscalers())
    for ask in (
        API.get_sd_vae, API.get_latent_upscale_modes, API.get_loras, API.get_sd_models, API.get_hypernetworks,
        API.get_face_restorers, API.get_realesrgan_models, API.get_prompt_styles, API.get_scripts, API.get_embeddings,
        API.get_memory, API.get_cmd_flags, API.refresh_checkpoints, API.util_get_model_names,
    ):
        ask()
    return ""


def controlnet() -> str:
    check(API.controlnet_version() == 2, API.controlnet_version())
    API.controlnet_model_list()
    check("canny" in API.controlnet_module_list(), API.controlnet_module_list())
    edges = API.controlnet_detect(images=[PICTURE], module="canny")
    check(edges.image.size == (128, 128), edges.image.size)
    return "detect: canny"


for name, run in [
    ("txt2img", txt2img), ("txt2img, several", several), ("txt2img, random", random_seed), ("txt2img, hires", hires),
    ("img2img", img2img), ("img2img with a mask", inpaint), ("get_progress, util_wait_for_ready", progress),
    ("interrupt", interrupt), ("skip", skip), ("get_options, set_options", options), ("png_info", png_info),
    ("extra_single_image, extra_batch_images", upscale), ("lists", lists), ("controlnet_*", controlnet),
]:
    CALLS.call(name, run)
UNIT = webuiapi.ControlNetUnit(image=PICTURE, module="canny", model="missing")
for name, words, run in [
    ("txt2img, unknown sampler", "Sampler not found", lambda: API.txt2img(prompt="x", sampler_name="Magic", **SIZE)),
    ("txt2img, tiling", "tiling true cannot be done", lambda: API.txt2img(prompt="x", tiling=True, **SIZE)),
    ("txt2img, unknown ControlNet", "ControlNet", lambda: API.txt2img(prompt="x", controlnet_units=[UNIT], **SIZE)),
    ("interrogate", "no model here describes pictures", lambda: API.interrogate(PICTURE)),
]:
    CALLS.refused(name, words, run)
