"""What the tests of batches share: forty miniature edits, and the command as a process that can be killed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from batch.record import NAME, read

ROOT = Path(__file__).resolve().parents[2]
EDIT = ROOT / "workflows" / "more" / "Free-Prompt-Editing (miniature).json"
COLOURS = ("red", "blue", "green", "purple", "orange")


def miniature_edits(path: Path, count: int, steps: int, poison: int | None = None) -> Path:
    """A manifest of `count` edits that change a thing's colour; the row of number `poison` names layers that there are not."""
    rows = [
        {
            "id": f"edit {number:02}",
            "Miniature Scene.first_kind": ("car", "teapot", "apple")[number % 3],
            "Miniature Scene.change.new_colour": COLOURS[number % 5],
            "Miniature Scene.seed": number,
            "BasicScheduler.steps": steps,
        }
        for number in range(count)
    ]
    if poison is not None:
        rows[poison] |= {"Replace Self-Attention.layers": "custom", "Replace Self-Attention.layers.custom_layers": "no such layers"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def command(comfyui: Path, manifest: Path, output: Path, *where: str) -> list[str]:
    script = ROOT / "tools" / "run_batch.py"
    options = ["--manifest", str(manifest), "--output", str(output), "--device", "cpu", *where]
    return [sys.executable, str(script), str(EDIT), "--comfyui", str(comfyui), *options]


def start(words: Sequence[str], log: Path) -> subprocess.Popen:
    with log.open("ab") as sink:
        return subprocess.Popen(words, stdout=sink, stderr=subprocess.STDOUT)


def ended(output: Path) -> int:
    """How many lines the record has."""
    return sum(1 for _ in read(output / NAME)) if (output / NAME).exists() else 0


def digests(output: Path) -> dict[str, str]:
    """By id, the digest of what its row saved, as the record has it; each id once, each file whole."""
    found = {}
    for entry in read(output / NAME):
        assert entry["id"] not in found, f"{entry['id']} ended twice"
        for file in entry["files"]:
            content = (output / file["path"]).read_bytes()
            assert hashlib.blake2b(content, digest_size=16).hexdigest() == file["digest"]
        found[entry["id"]] = next((file["digest"] for file in entry["files"] if file["saved"]), entry["status"])
    return found


def below(pid: int, word: str) -> list[psutil.Process]:
    """Processes below one whose command line has a word."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if word in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def servers_below(pid: int) -> list[psutil.Process]:
    """The ComfyUI servers among them, without the leashes they are on; Ray has a main.py of its own."""
    return [child for child in below(pid, "--base-directory=") if "leash.py" not in " ".join(child.cmdline())]
