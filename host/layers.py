"""Which self-attention layers of a UNet there are, and which of them an edit touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from .errors import GraftError


@dataclass(frozen=True)
class Layer:
    """One transformer block, named as ComfyUI's `extra_options` name it: `block` ("input", "middle", "output"),
    its `number`, and the `index` of the transformer inside it."""

    block: str
    number: int
    index: int

    @staticmethod
    def of(options: dict) -> Layer:
        """The layer that an attention patch is being called for."""
        block, number = options["block"][:2]
        return Layer(block, number, options["block_index"])


def require_unet(model) -> UNetModel:
    """The UNet of a ModelPatcher. Raises `GraftError` for any other family of networks."""
    network = model.get_model_object("diffusion_model")
    if not isinstance(network, UNetModel):
        raise GraftError(
            f"model: {type(model.model).__name__} is not a Stable Diffusion UNet; Graft's attention edits need an SD1.x, SD2.x or SDXL checkpoint"
        )
    return network


def attention_layers(network: UNetModel) -> tuple[Layer, ...]:
    """Every transformer block in the order of execution: 16 in SD1.x and SD2.x, 70 in SDXL."""
    parts = (("input", network.input_blocks), ("middle", [network.middle_block]), ("output", network.output_blocks))
    return tuple(
        Layer(name, number, index)
        for name, blocks in parts
        for number, block in enumerate(blocks)
        for module in block
        if isinstance(module, SpatialTransformer)
        for index in range(len(module.transformer_blocks))
    )


def latent_cells(options: dict) -> int:
    """Cells of the latent's grid in an attention patch. UNets halve an odd side upwards, so it counts as the next even
    one: a quarter of the cells is then the second level's grid at every size."""
    height, width = (side + side % 2 for side in options["original_shape"][-2:])
    return height * width


class LayerSelection(Protocol):
    """Decides by layer and by token count whether an edit touches a layer."""

    def includes(self, layer: Layer, tokens: int, cells: int) -> bool:
        """`tokens` in the layer's grid, `cells` in the latent's."""
        ...


@dataclass(frozen=True)
class CoarseLayers:
    """Layers with at most a `fraction` of the latent's cells as tokens.

    With a quarter, the rule of Free-Prompt-Editing's released code at its own size (at most 32 x 32 tokens for 64 x 64
    cells), carried over to every size and aspect.
    """

    fraction: float = 0.25

    def includes(self, layer: Layer, tokens: int, cells: int) -> bool:
        return tokens <= self.fraction * cells


@dataclass(frozen=True)
class ChosenLayers:
    """A fixed set of layers."""

    layers: frozenset[Layer]

    def includes(self, layer: Layer, tokens: int, cells: int) -> bool:
        return layer in self.layers

    @staticmethod
    def range(network: UNetModel, first: int, last: int) -> ChosenLayers:
        """Layers `first` to `last` in the order of execution, both included, counted from 0."""
        layers = attention_layers(network)
        if not 0 <= first <= last < len(layers):
            raise GraftError(f"first_layer, last_layer: {first} to {last} is no range of this model's layers 0 to {len(layers) - 1}")
        return ChosenLayers(frozenset(layers[first : last + 1]))
