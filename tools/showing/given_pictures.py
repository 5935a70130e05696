"""What went into a workflow: the pictures that its Load Image nodes read, and what is painted on them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from hosting.host_client import HostClient, Prompt, StoredFile
from PIL import Image

from showing.demo_report import file_stem, natural_order

PAINT = (255, 0, 200)
"""What a painted part is tinted with, as no picture has it."""
MASK = 1
"""Load Image's output of what is painted."""
PAINTED = ", painted"
"""How the titles end of pictures that show what was painted."""


def fetch(client: HostClient, prompt: Prompt, folder: Path) -> list[tuple[str, Path]]:
    """Fetch the loaded pictures into `folder`, by the titles of their nodes up to a colon: the first as it is, and each with what is painted
    on it tinted, where the prompt makes use of that."""
    loaders = [(str(number), node) for number, node in prompt.items() if node["class_type"] == "LoadImage"]
    links = [value for node in prompt.values() for value in node["inputs"].values() if isinstance(value, list)]
    linked = {(str(link[0]), link[1]) for link in links if len(link) == 2}
    found: dict[str, Path] = {}
    for number, node in sorted(loaders, key=lambda entry: natural_order(entry[0])):
        title = node["_meta"]["title"].partition(":")[0]
        picture = Image.open(io.BytesIO(client.view(StoredFile(node["inputs"]["image"], folder="input"))))
        painted = tinted(picture) if (number, MASK) in linked else None
        plain = picture.convert("RGB") if painted is None or not found else None
        for name, shown in ((title, plain), (title + PAINTED, painted)):
            if shown is not None and name not in found:
                found[name] = folder / f"{file_stem(name)}.png"
                shown.save(found[name])
    return list(found.items())


def tinted(picture: Image.Image) -> Image.Image | None:
    """The picture with its painted part, which is transparent in the file, in another colour; None where nothing is painted."""
    if "A" not in picture.getbands() or picture.getchannel("A").getextrema()[0] == 255:
        return None
    values = np.asarray(picture.convert("RGBA"), dtype=np.float64)
    share = 0.6 * (1 - values[..., 3:] / 255)
    return Image.fromarray(np.uint8(values[..., :3] * (1 - share) + np.array(PAINT) * share + 0.5))
