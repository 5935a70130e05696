"""What a server is: the versions of host and pack, and the model files that a prompt names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from hosting.host_client import HostClient

MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


class Versions:
    """Of one server. `pack` is None where the server was not started from here: servers do not say."""

    def __init__(self, client: HostClient, pack: str | None):
        self._client = client
        self._known = {"host": client.get_json("/system_stats")["system"].get("comfyui_version", "unknown"), "pack": pack}
        self._models: dict[str, Any] = {}

    def of(self, prompt: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Versions, and bytes and time of the last change of every model file that the prompt names, as far as the server says."""
        names = sorted(_model_names(prompt))
        if not self._models.keys() >= set(names):
            self._models = {**dict.fromkeys(names), **_states(self._client)}
        return {**self._known, "models": {name: self._models[name] for name in names}}


def _model_names(prompt: Mapping[str, Mapping[str, Any]]) -> set[str]:
    values = (value for node in prompt.values() for value in node["inputs"].values())
    return {value for value in values if isinstance(value, str) and value.lower().endswith(MODEL_SUFFIXES)}


def _states(client: HostClient) -> dict[str, dict[str, Any]]:
    """Of all model files of a server, by name; nothing of a server that has no such list."""
    try:
        folders = client.get_json("/experiment/models")
        listed = [entry for folder in folders for entry in client.get_json(f"/experiment/models/{folder['name']}")]
    except requests.HTTPError:
        return {}
    return {entry["name"]: {"bytes": entry.get("size"), "modified": entry.get("modified")} for entry in listed}
