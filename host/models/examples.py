"""The pack's example pictures, put where Load Image finds them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

FOLDER = Path(__file__).resolve().parents[2] / "pictures"


def put_into_input_folder() -> list[Path]:
    """Copies each example picture into the host's input folder, unless one of that name is there already; returns the new files.

    A folder that cannot be written to costs the examples and nothing else: it is logged.
    """
    folder, copied = Path(folder_paths.get_input_directory()), []
    for picture in sorted(FOLDER.glob("*.png")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / picture.name).exists():
                copied.append(Path(shutil.copyfile(picture, folder / picture.name)))
        except OSError as problem:
            logging.warning("Graft's example pictures could not be put into %s: %s", folder, problem)
            break
    return copied
