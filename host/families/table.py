"""The families that Graft knows, found from the network at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from comfy.ldm.anima.model import Anima
from comfy.ldm.chroma.model import Chroma
from comfy.ldm.cosmos.predict2 import MiniTrainDIT
from comfy.ldm.flux.model import Flux
from comfy.ldm.krea2.model import SingleStreamDiT
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from torch import Tensor

from ..models.pixel_unet import PixelUNet
from .attention import Hook, Listener
from .layer import Layer
from .transformer import Kind, Transformer, picture_alone, picture_last, text_first
from .unet import UNet, options_with_network


class Family(Protocol):
    """All that is known of a kind of network."""

    hooks: frozenset[Hook]
    """What edits can have of it."""

    one_grid: bool
    """Whether all layers have the same grid, so that a method's choice of layers by their grids means all of them."""

    @property
    def patch(self) -> int:
        """The side of a token on the finest grid, in cells of the latent."""
        ...

    @property
    def layers(self) -> Mapping[Layer, int]:
        """Its attention layers in the order of execution, each with its level: how often the latent's grid has been halved there."""
        ...

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping, size: tuple[int, int]) -> dict:
        """`transformer_options` of one denoise call in which the network reports to `listener`. `resident` are those that the whole
        run has: what is replaced in the call's and not in them was put there for this call. `size` is the latents', in cells."""
        ...

    def projected(self, layer: Layer, part: int, tensor: Tensor) -> Tensor:
        """A layer's queries (part 0), keys (1) or values (2), of what edits are given of them."""
        ...


@dataclass(frozen=True)
class PixelFamily:
    """Pixel-space UNets: no attention that could be edited, but a bottleneck."""

    hooks = frozenset({"step", "h"})
    one_grid = False
    patch = 1
    layers: Mapping[Layer, int]

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping, size: tuple[int, int]) -> dict:
        return options_with_network(options, listener) if "h" in hooks else options


@dataclass(frozen=True)
class Unknown:
    """Networks whose attention Graft does not reach: streams run on them, and steps have their turns."""

    hooks = frozenset({"step"})
    one_grid = False
    patch = 1
    layers: Mapping[Layer, int]

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping, size: tuple[int, int]) -> dict:
        return options


FLUX = {"double": "double_blocks", "single": "single_blocks"}
KINDS = (
    Kind(Flux, FLUX, text_first),  # Flux.1 and Flux.2
    Kind(Chroma, FLUX, text_first),
    Kind(QwenImageTransformer2DModel, {"double": "transformer_blocks"}, text_first),
    Kind(NextDiT, {"double": "layers"}, picture_last),  # Z-Image and Lumina 2
    Kind(SingleStreamDiT, {"single": "blocks"}, text_first, patch="patch"),  # Krea 2
    Kind(Anima, {"single": "blocks"}, picture_alone, patch="patch_spatial", block_type="single", marks_itself=True),
    Kind(MiniTrainDIT, {"single": "blocks"}, picture_alone, patch="patch_spatial", block_type="single", marks_itself=True),
)
"""The families of flow transformers. A network is of the family of its very class: what is built on one may order its tokens otherwise."""

NAMES = "Stable Diffusion 1, 2 and XL, Flux, Flux.2, Chroma, Qwen-Image, Z-Image, Lumina 2, Krea 2, Anima and Cosmos-Predict2"
"""The models whose attention is reached."""


def family_of_network(network) -> Family:
    if isinstance(network, UNetModel):
        return UNet(network)
    if isinstance(network, PixelUNet):
        return PixelFamily({})
    kind = next((kind for kind in KINDS if type(network) is kind.network), None)
    return Unknown({}) if kind is None else Transformer(network, kind)


def family_of(model) -> Family:
    """The family of a ModelPatcher's network."""
    return family_of_network(model.get_model_object("diffusion_model"))
