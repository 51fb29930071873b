"""Builds the picture set of the demo model from three npm packages, which are downloaded once and checked.

    python data.py PACKAGES OUT SIZE

Written are OUT/pictures.npy (uint8, [N, SIZE, SIZE, 3], on white), and OUT/names.json: for each picture its name,
group, tags and whether the UNet learns it (concepts.txt). Every picture teaches the VAE.
"""

import base64
import hashlib
import io
import json
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

# Folder, tarball, SHA-512 as the registry gives it. All three packages are under the MIT licence.
PACKAGES = [
    (
        "fluent",
        "https://registry.npmjs.org/@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz",
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    ),
    (
        "unicode",
        "https://registry.npmjs.org/unicode-emoji-json/-/unicode-emoji-json-0.9.0.tgz",
        "HdrQW/7SdbXUsTd8uTATv7LvQJkCSgbAgRCDCtOhQ6xn3EAx+xZHQtRniOXWJK3ywIqPegkNhP4U4EbuFsiQng==",
    ),
    (
        "emojibase",
        "https://registry.npmjs.org/emojibase-data/-/emojibase-data-17.0.0.tgz",
        "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    ),
]

# Pictures that are left out altogether: words of their names.
LEFT_OUT = ("keycap", "o’clock", "-thirty", "button (blood type)", "Japanese “")


def fetch(packages):
    for folder, url, sha512 in PACKAGES:
        if (packages / folder).is_dir():
            continue
        with urllib.request.urlopen(url, timeout=600) as response:
            data = response.read()
        if base64.b64encode(hashlib.sha512(data).digest()).decode() != sha512:
            sys.exit(f"{url} is not the file that this recipe was written for")
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(packages / f"{folder}.new", filter="data")
        (packages / f"{folder}.new/package").rename(packages / folder)
        shutil.rmtree(packages / f"{folder}.new")


def file_of(emoji, assets):
    """The picture of an emoji; the package writes the variation selector in some names and not in others."""
    points = [f"{ord(c):04x}" for c in emoji]
    for candidate in (points, [p for p in points if p != "fe0f"]):
        path = assets / ("-".join(candidate) + ".webp")
        if path.is_file():
            return path
    return None


def on_white(path, size):
    picture = Image.open(path).convert("RGBA")
    page = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(page, picture).convert("RGB").resize((size, size), Image.LANCZOS))


def main():
    packages, out, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    fetch(packages)
    wanted = {line for line in (Path(__file__).parent / "concepts.txt").read_text().splitlines() if line[:1] != "#"}
    emojis = json.loads((packages / "unicode/data-by-emoji.json").read_text())
    tags = {e["emoji"]: e.get("tags", []) for e in json.loads((packages / "emojibase/en/data.json").read_text())}

    pictures, records = [], []
    for emoji, facts in emojis.items():
        name, group = facts["name"], facts["group"]
        path = file_of(emoji, packages / "fluent/assets")
        if path is None or group == "Flags" or any(word in name for word in LEFT_OUT):
            continue
        pictures.append(on_white(path, size))
        records.append({"name": name, "group": group, "tags": tags.get(emoji, []), "learned": name in wanted})

    missing = wanted - {record["name"] for record in records}
    if missing:
        sys.exit(f"names in concepts.txt without a picture: {sorted(missing)}")
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "pictures.npy", np.stack(pictures))
    (out / "names.json").write_text(json.dumps(records, indent=1, ensure_ascii=False))
    print(f"{len(records)} pictures, {sum(r['learned'] for r in records)} learned")


main()
