"""The families that Graft knows, found from the network at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ..models.pixel_unet import PixelUNet
from .attention import Hook, Listener
from .layer import Layer
from .unet import UNet, options_with_network


class Family(Protocol):
    """All that is known of a kind of network."""

    hooks: frozenset[Hook]
    """What edits can have of it."""

    @property
    def layers(self) -> Mapping[Layer, int]:
        """Its attention layers in the order of execution, each with its level: how often the latent's grid has been halved there."""
        ...

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping) -> dict:
        """`transformer_options` of one denoise call in which the network reports to `listener`. `resident` are those that the whole
        run has: what is replaced in the call's and not in them was put there for this call."""
        ...


@dataclass(frozen=True)
class PixelFamily:
    """Pixel-space UNets: no attention that could be edited, but a bottleneck."""

    hooks = frozenset({"step", "h"})
    layers: Mapping[Layer, int]

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping) -> dict:
        return options_with_network(options, listener) if "h" in hooks else options


@dataclass(frozen=True)
class Unknown:
    """Networks whose attention Graft does not reach: streams run on them, and steps have their turns."""

    hooks = frozenset({"step"})
    layers: Mapping[Layer, int]

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping) -> dict:
        return options


def family_of_network(network) -> Family:
    if isinstance(network, UNetModel):
        return UNet(network)
    return PixelFamily({}) if isinstance(network, PixelUNet) else Unknown({})


def family_of(model) -> Family:
    """The family of a ModelPatcher's network."""
    return family_of_network(model.get_model_object("diffusion_model"))
