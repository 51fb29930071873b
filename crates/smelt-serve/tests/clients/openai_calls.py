"""openai, OpenAI's own SDK for Python: generations, edits, variations, models, streams, and what is refused."""

import base64
import io
import sys

import openai
import requests
from PIL import Image
from shared.told import Calls, check

CALLS = Calls("openai (Python) 3.57.0")
API = openai.OpenAI(base_url=f"{sys.argv[1].rstrip('/')}/v1", api_key="anything", max_retries=0)
STEPS = {"steps": 4}


def picture(data: object) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data.b64_json)))


def file(image: Image.Image) -> tuple[str, bytes, str]:
    bytes_ = io.BytesIO()
    image.save(bytes_, "PNG")
    return ("picture.png", bytes_.getvalue(), "image/png")


PHOTO = Image.new("RGB", (128, 128), (200, 40, 10))
MASK = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
MASK.paste((0, 0, 0, 0), (32, 32, 96, 96))


def generate() -> str:
    drawn = API.images.generate(model="gpt-image-1", prompt="red heart", n=2, extra_body={"seed": 5, **STEPS})
    check([picture(one).size for one in drawn.data] == [(128, 128)] * 2, drawn.size)
    check([one.seed for one in drawn.data] == [5, 6] and drawn.usage.input_tokens > 0, drawn.usage)
    return f"{drawn.usage.input_tokens} tokens"


def random_seed() -> str:
    seeds = [API.images.generate(prompt="red heart", extra_body={"steps": 1}).data[0].seed for _ in range(2)]
    check(seeds[0] != seeds[1], seeds)
    return ""


def url() -> str:
    drawn = API.images.generate(prompt="red heart", response_format="url", extra_body=STEPS)
    check(Image.open(io.BytesIO(requests.get(drawn.data[0].url, timeout=10).content)).size == (128, 128), drawn)
    return ""


def formats() -> str:
    for name, kind in (("jpeg", "JPEG"), ("webp", "WEBP")):
        drawn = API.images.generate(prompt="red heart", output_format=name, size="128x128", extra_body=STEPS)
        check(picture(drawn.data[0]).format == kind and drawn.output_format == name, drawn.output_format)
    return ""


def stream() -> str:
    events = list(API.images.generate(prompt="red heart", stream=True, partial_images=2, extra_body=STEPS))
    kinds = [event.type for event in events]
    check(kinds == ["image_generation.partial_image"] * (len(kinds) - 1) + ["image_generation.completed"], kinds)
    check(1 <= len(kinds) - 1 <= 2 and [one.partial_image_index for one in events[:-1]] == list(range(len(kinds) - 1)), kinds)
    check(all(picture(event).size == (128, 128) for event in events) and events[-1].usage.total_tokens > 0, events[-1])
    return f"{len(kinds) - 1} partial pictures"


def edit() -> str:
    drawn = API.images.edit(image=file(PHOTO), mask=file(MASK), prompt="red heart", extra_body=STEPS)
    image = picture(drawn.data[0]).convert("RGB")
    check(image.getpixel((2, 2)) == (200, 40, 10), image.getpixel((2, 2)))
    return "what the mask covers stays"


def edit_stream() -> str:
    events = list(API.images.edit(image=[file(PHOTO)], prompt="red heart", stream=True, extra_body=STEPS))
    check([event.type for event in events] == ["image_edit.completed"], [event.type for event in events])
    return ""


def vary() -> str:
    drawn = API.images.create_variation(image=file(PHOTO), n=2, extra_body=STEPS)
    check(len(drawn.data) == 2, drawn)
    return ""


def models() -> str:
    names = [model.id for model in API.models.list()]
    check(API.models.retrieve(names[0]).id == names[0], names)
    return ", ".join(names)


for name, run in [
    ("images.generate", generate), ("images.generate, random", random_seed), ("images.generate, url", url),
    ("images.generate, formats", formats), ("images.generate, stream", stream), ("images.edit with a mask", edit),
    ("images.edit, stream", edit_stream), ("images.create_variation", vary), ("models.list, models.retrieve", models),
]:
    CALLS.call(name, run)


def status(kind: type, ask: object) -> object:
    """Raises what an answer is, if it is of that class."""
    try:
        ask()
    except openai.APIStatusError as error:
        raise RuntimeError(f"{kind.__name__ if isinstance(error, kind) else 'another'} {error.message}") from None


for name, kind, run in [
    ("images.generate, unknown model", openai.NotFoundError, lambda: API.images.generate(model="none", prompt="x")),
    ("images.generate, size", openai.BadRequestError, lambda: API.images.generate(prompt="x", size="7x7")),
    ("images.generate, transparent", openai.BadRequestError, lambda: API.images.generate(prompt="x", background="transparent")),
    ("images.generate, n", openai.BadRequestError, lambda: API.images.generate(prompt="x", n=11)),
]:
    CALLS.refused(name, kind.__name__, lambda kind=kind, run=run: status(kind, run))
