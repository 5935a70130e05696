"""VGG16 with the weights of LPIPS, from files of the user's: nothing is downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import folder_paths
import torch
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from ...optimization.perceptual import Features
from ..errors import GraftError

BACKBONE, LINEAR = "vgg16-397923af.pth", "vgg.pth"
"""VGG16 as torchvision publishes it, and LPIPS's channel weights for it (lpips/weights/v0.1 in its package)."""

SLICES = (4, 9, 16, 23, 30)
"""Layers after which LPIPS looks: relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""What LPIPS subtracts from pictures in [-1, 1] and divides them by."""


def vgg_features(device, dtype: torch.dtype) -> tuple[Features, Sequence[Tensor]]:
    """LPIPS's features, and their channel weights per level. Raises `GraftError` where a file is missing or is another one."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    backbone = _loaded(BACKBONE, "VGG16, from torchvision", [hub])
    linear = _loaded(LINEAR, "LPIPS's weights v0.1, which `pip install lpips` brings", _package_folders())
    with torch.inference_mode(False):
        network = make_layers(cfgs["D"])
        try:
            network.load_state_dict(
                {name.removeprefix("features."): part for name, part in backbone.items() if name.startswith("features.")}
            )
            weights = [linear[f"lin{level}.model.1.weight"].flatten().to(device) for level in range(len(SLICES))]
        except (KeyError, RuntimeError, AttributeError, TypeError) as problem:
            raise GraftError(
                f"network: the files for lpips are not {BACKBONE} and {LINEAR} as published; put these into models/lpips"
            ) from problem
        if not all(bool(part.isfinite().all()) for part in (*network.parameters(), *weights)):
            raise GraftError(
                f"network: {BACKBONE} or {LINEAR} holds numbers that are not finite; put the published files into models/lpips"
            )
        network = network[: SLICES[-1]].to(device, dtype).requires_grad_(False).eval()
        shift, scale = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (SHIFT, SCALE))

    def features(picture: Tensor) -> Iterator[Tensor]:
        hidden = ((picture - shift) / scale).to(dtype)
        for number, layer in enumerate(network, start=1):
            hidden = layer(hidden)
            if number in SLICES:
                yield hidden

    return features, weights


def _package_folders() -> list[Path]:
    found = importlib.util.find_spec("lpips")
    return [] if found is None else [Path(folder) / "weights" / "v0.1" for folder in found.submodule_search_locations or ()]


def _loaded(name: str, what: str, elsewhere: Sequence[Path]) -> dict[str, Tensor]:
    own = Path(folder_paths.models_dir) / "lpips"
    for folder in (own, *elsewhere):
        if (folder / name).is_file():
            try:
                with torch.inference_mode(False):
                    loaded = torch.load(folder / name, map_location="cpu", weights_only=True)
                return {part: values for part, values in loaded.items() if isinstance(values, Tensor)}
            except Exception as problem:  # torch advises to trust the file, which nobody should
                raise GraftError(
                    f"network: {folder / name} is damaged or no weights; put the published file ({what}) there again"
                ) from problem
    raise GraftError(f"network: lpips needs {name} ({what}); put it into {own}, or choose vae, which needs no file")
