"""sd-backend-client, a client of AUTOMATIC1111's interface, which finds out by itself what a server is."""

import sys

from PIL import Image
from sd_backend_client.api.a1111_webservice import A1111Webservice
from sd_backend_client.api.webui.diffusion_request_body import DiffusionRequestBody
from shared.told import Calls, check

CALLS = Calls("sd-backend-client 0.5.0")
API = A1111Webservice(sys.argv[1])
PICTURE = Image.new("RGB", (128, 128), (200, 40, 10))
MASK = Image.new("L", (128, 128), 0)
MASK.paste(255, (32, 32, 96, 96))


def body(**more: object) -> DiffusionRequestBody:
    return DiffusionRequestBody(prompt="red heart", width=128, height=128, steps=4, seed=5, **more)


def submit() -> str:
    seen = []
    done = API.submit_txt2img(body()).wait(timeout=120, poll_interval=0.05, on_progress=lambda at: seen.append(at))
    check(done.images[0].size == (128, 128), done.images)
    return f"{len(seen)} reports on the way"


def img2img() -> str:
    done = API.submit_img2img(body(init_images=[PICTURE], denoising_strength=0.5)).wait(timeout=120)
    check(done.images[0].size == (128, 128), done.images)
    return ""


def inpaint() -> str:
    done = API.submit_inpaint(body(init_images=[PICTURE], mask=MASK)).wait(timeout=120)
    check(done.images[0].convert("RGB").getpixel((2, 2)) == (200, 40, 10), "outside the mask something changed")
    return ""


def upscale() -> str:
    done = API.submit_upscale(PICTURE, 256, 256).wait(timeout=120)
    check(done.images[0].size == (256, 256), done.images)
    return ""


def preview() -> str:
    canny = next(one for one in API.get_controlnet_preprocessors() if one.name == "canny")
    done = API.submit_preprocessor_preview(PICTURE, canny).wait(timeout=60)
    check(done.images[0].size == (128, 128), done.images)
    return ""


def lists() -> str:
    for ask in (
        API.list_checkpoints, API.list_vaes, API.list_loras, API.list_hypernetworks, API.list_samplers,
        API.list_schedulers, API.list_upscalers, API.list_controlnet_models, API.get_config, API.get_styles,
        API.get_scripts, API.get_script_info, API.get_latent_upscale_modes, API.get_controlnet_control_types,
        API.get_controlnet_settings, API.get_controlnet_type_categories, API.progress_check,
    ):
        ask()
    return ""


for name, run in [
    ("get_capabilities", lambda: API.get_capabilities().__class__.__name__), ("submit_txt2img", submit),
    ("txt2img", lambda: check(len(API.txt2img(body())["images"]) == 1, "no picture")), ("submit_img2img", img2img),
    ("submit_inpaint", inpaint), ("submit_upscale", upscale), ("submit_preprocessor_preview", preview),
    ("lists", lists), ("set_config", lambda: API.set_config({"samples_format": "png"})),
    ("refresh_*", lambda: (API.refresh_checkpoints(), API.refresh_vae(), API.refresh_loras()) and None),
    ("interrupt", lambda: check(API.interrupt() == {}, "something came back")),
]:
    CALLS.call(name, run)
CALLS.refused("interrogate", "no model here describes pictures", lambda: API.interrogate(PICTURE))
