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
PAINTED = ", painted"
"""How the titles end of pictures that show what was painted."""


def fetch(client: HostClient, prompt: Prompt, folder: Path) -> list[tuple[str, Path]]:
    """Fetch the loaded pictures into `folder`, by the titles of their nodes up to a colon, and copies that show what is painted."""
    loaders = [node for node in prompt.values() if node["class_type"] == "LoadImage"]
    found: dict[str, Path] = {}
    for node in sorted(loaders, key=lambda node: natural_order(node["_meta"]["title"])):
        title = node["_meta"]["title"].partition(":")[0]
        picture = Image.open(io.BytesIO(client.view(StoredFile(node["inputs"]["image"], folder="input"))))
        for name, shown in ((title, picture.convert("RGB")), (title + PAINTED, tinted(picture))):
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
