"""Adds Graft's map of what looks unnatural to a workflow: its mean is a number that needs no truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graph import ObjectInfo
from hosting.quickstart_error import QuickstartError

from .addresses import Prompt, links_of, title_of
from .identity import digest
from .workflow import Workflow

TITLE = "Unnaturalness"
MAP = "GraftUnnaturalnessMap"


def with_map(workflow: Workflow, object_info: ObjectInfo) -> Workflow:
    """The workflow with the map of its first saved picture, asked of the model that it loads first, under the empty prompt.

    QuickstartError for a workflow that saves no picture or loads no model, text encoder and VAE.
    """
    prompt = dict(workflow.prompt)
    saving = sorted((title_of(prompt, node), node) for node, entry in prompt.items() if entry["class_type"] == "SaveImage")
    sources = {kind: _loader(prompt, kind, object_info) for kind in ("MODEL", "CLIP", "VAE")}
    missing = [kind for kind, source in sources.items() if source is None]
    if not saving or missing or MAP not in object_info:
        reason = "saves no picture" if not saving else f"loads no {', '.join(missing)}" if missing else f"runs where {MAP} is not known"
        raise QuickstartError(f"--unnaturalness: the workflow {reason}.")
    picture = dict(links_of(prompt[saving[0][1]]))["images"]
    prompt |= {
        f"{TITLE}:prompt": {"class_type": "CLIPTextEncode", "inputs": {"clip": sources["CLIP"], "text": ""}},
        f"{TITLE}:map": {
            "class_type": MAP,
            "inputs": {
                "model": sources["MODEL"],
                "conditioning": [f"{TITLE}:prompt", 0],
                "vae": sources["VAE"],
                "image": picture,
                **_defaults(object_info[MAP]),
            },
        },
        f"{TITLE}:picture": {"class_type": "MaskToImage", "inputs": {"mask": [f"{TITLE}:map", 1]}},
        f"{TITLE}:saved": {
            "class_type": "SaveImage",
            "inputs": {"images": [f"{TITLE}:picture", 0], "filename_prefix": f"Graft/{TITLE.lower()}"},
            "_meta": {"title": TITLE},
        },
    }
    return replace(workflow, digest=digest_with_map(workflow.digest), prompt=prompt)


def digest_with_map(workflow_digest: str) -> str:
    """A workflow with the map is another one: its rows are run again."""
    return digest([workflow_digest, MAP])


def _loader(prompt: Prompt, kind: str, object_info: ObjectInfo) -> list | None:
    """The first output of that type of a node that reads from no other node."""
    for node_id, node in prompt.items():
        outputs = object_info[node["class_type"]]["output"]
        if kind in outputs and not any(links_of(node)):
            return [node_id, outputs.index(kind)]
    return None


def _defaults(schema: Mapping) -> dict:
    given = {**schema["input"].get("required", {}), **schema["input"].get("optional", {})}
    return {name: spec[1]["default"] for name, spec in given.items() if len(spec) > 1 and "default" in spec[1]}
