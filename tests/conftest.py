"""Loads the pack as the package `graft`; puts `tools/` and, where COMFYUI_PATH is set, ComfyUI on the path; the option `--full`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from hosting import pack

if "COMFYUI_PATH" in os.environ:
    pack.load_host()
pack.load_pack()

pytest_plugins = ["checking.case_record", "checking.full_tests"]
