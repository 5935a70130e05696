"""Which attention layers a UNet has, on which grids, and which of them an edit touches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, UNetModel, Upsample

from .errors import GraftError
from .pixel_unet import PixelUNet


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


BOTTLENECK = Layer("middle", 0, -1)
"""The whole middle block: not one of the transformers, but the place of its output, h."""

Layers = frozenset[Layer]
"""The layers that an edit touches."""


def is_unet(model) -> bool:
    return isinstance(model.get_model_object("diffusion_model"), UNetModel)


def require_unet(model) -> UNetModel:
    """The UNet of a ModelPatcher. Raises `GraftError` for any other family of networks."""
    network = model.get_model_object("diffusion_model")
    if not is_unet(model):
        raise GraftError(
            f"model: {type(model.model).__name__} is not a Stable Diffusion UNet; Graft's attention edits need an SD1.x, SD2.x or SDXL checkpoint"
        )
    return network


def require_bottleneck(model) -> None:
    """Raises `GraftError` unless the network of a ModelPatcher has the bottleneck of a UNet."""
    if not isinstance(model.get_model_object("diffusion_model"), UNetModel | PixelUNet):
        raise GraftError(
            f"model: {type(model.model).__name__} has no bottleneck; h-space needs a UNet: SD1.x, SD2.x, SDXL, or a model from Load Pixel Diffusion"
        )


def attention_layers(network: UNetModel) -> dict[Layer, int]:
    """Every transformer block in the order of execution (16 in SD1.x and SD2.x, 70 in SDXL), with its level: how often
    the latent's grid has been halved there."""
    return dict(_walk(network))


def _walk(network: UNetModel) -> Iterator[tuple[Layer, int]]:
    level = 0
    parts = (("input", network.input_blocks), ("middle", [network.middle_block]), ("output", network.output_blocks))
    for name, blocks in parts:
        for number, block in enumerate(blocks):
            for module in block:
                if isinstance(module, SpatialTransformer):
                    yield from ((Layer(name, number, index), level) for index in range(len(module.transformer_blocks)))
                level += isinstance(module, Downsample) - isinstance(module, Upsample)


def all_layers(network: UNetModel) -> Layers:
    return frozenset(attention_layers(network))


def coarse_layers(network: UNetModel) -> Layers:
    """Layers with at most a quarter of the latent's cells as tokens: the rule of Free-Prompt-Editing's and Prompt-to-Prompt's
    released code at its own size (at most 32 x 32 tokens for 64 x 64 cells), carried over to every size and aspect."""
    return frozenset(layer for layer, level in attention_layers(network).items() if level >= 1)


def fine_decoder_layers(network: UNetModel) -> Layers:
    """Layers of the decoder with at least a quarter of the latent's cells as tokens: the last six of SD1.x's sixteen, from
    which SpecRef and MasaCtrl read appearance."""
    return frozenset(layer for layer, level in attention_layers(network).items() if layer.block == "output" and level <= 1)


def layers_at(network: UNetModel, level: int) -> Layers:
    """Layers whose grid is the latent's halved `level` times. Raises `GraftError` if the network has none there."""
    levels = attention_layers(network)
    if level not in levels.values():
        raise GraftError(
            f"word_map_grid: this model has no attention on the latent's grid halved {level} times, only {sorted(set(levels.values()))} times"
        )
    return frozenset(layer for layer, of_layer in levels.items() if of_layer == level)


def layer_range(network: UNetModel, first: int, last: int) -> Layers:
    """Layers `first` to `last` in the order of execution, both included, counted from 0."""
    layers = tuple(attention_layers(network))
    if not 0 <= first <= last < len(layers):
        raise GraftError(f"first_layer, last_layer: {first} to {last} is no range of this model's layers 0 to {len(layers) - 1}")
    return frozenset(layers[first : last + 1])
