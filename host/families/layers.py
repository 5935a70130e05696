"""Which attention layers the network at hand has, on which grids, and which of them an edit touches."""

from __future__ import annotations

import re

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from ..errors import GraftError
from .layer import Layer, Layers
from .table import NAMES, family_of_network


def is_unet(model) -> bool:
    return isinstance(model.get_model_object("diffusion_model"), UNetModel)


def require_unet(model, instead: str = "") -> UNetModel:
    """The UNet of a ModelPatcher. Raises `GraftError` for any other family of networks; `instead` says what to take there."""
    network = model.get_model_object("diffusion_model")
    if not is_unet(model):
        advice = f", or take {instead} for this model" if instead and attention_layers(network) else ""
        raise GraftError(
            f"model: {type(model.model).__name__} is not a Stable Diffusion UNet; this edit needs an SD1.x, SD2.x or SDXL checkpoint{advice}"
        )
    return network


def require_attention(model):
    """The network of a ModelPatcher. Raises `GraftError` unless it is of a family whose self-attention is reached."""
    network = model.get_model_object("diffusion_model")
    if not attention_layers(network):
        raise GraftError(f"model: the self-attention of {type(model.model).__name__} cannot be edited; it can be of {NAMES}")
    return network


def require_bottleneck(model) -> None:
    """Raises `GraftError` unless the network of a ModelPatcher has the bottleneck of a UNet."""
    if "h" not in family_of_network(model.get_model_object("diffusion_model")).hooks:
        raise GraftError(
            f"model: {type(model.model).__name__} has no bottleneck; h-space needs a UNet with a middle block: SD1.x, SD2.x, SDXL, or a "
            "model from Load Pixel Diffusion"
        )


def attention_layers(network) -> dict[Layer, int]:
    """Every attention layer in the order of execution (16 in SD1.x and SD2.x, 70 in SDXL), with its level: how often the latent's
    grid has been halved there."""
    return family_of_network(network).layers


def all_layers(network) -> Layers:
    return frozenset(attention_layers(network))


def coarse_layers(network) -> Layers:
    """Layers with at most a quarter of the latent's cells as tokens: the rule of Free-Prompt-Editing's and Prompt-to-Prompt's
    released code at its own size (at most 32 x 32 tokens for 64 x 64 cells), carried over to every size and aspect. In a network
    with a single grid all layers."""
    return _all_of_one_grid(network) or frozenset(layer for layer, level in attention_layers(network).items() if level >= 1)


def fine_decoder_layers(network) -> Layers:
    """Layers of the decoder with at least a quarter of the latent's cells as tokens: the last six of SD1.x's sixteen, from
    which SpecRef and MasaCtrl read appearance. In a network with a single grid all layers."""
    return _all_of_one_grid(network) or frozenset(
        layer for layer, level in attention_layers(network).items() if layer.block == "output" and level <= 1
    )


def _all_of_one_grid(network) -> Layers:
    family = family_of_network(network)
    return frozenset(family.layers) if family.one_grid else frozenset()


def layers_at(network, level: int) -> Layers:
    """Layers whose grid is the latent's halved `level` times. Raises `GraftError` if the network has none there."""
    levels = attention_layers(network)
    if level not in levels.values():
        raise GraftError(
            f"word_map_grid: this model has no attention on the latent's grid halved {level} times, only {sorted(set(levels.values()))} times"
        )
    return frozenset(layer for layer, of_layer in levels.items() if of_layer == level)


GRIDS = {"full": 0, "half": 1, "quarter": 2, "eighth": 3}
"""Names of grids by their part of the latent's side: how often it is halved."""


def named_layers(network, text: str) -> Layers:
    """The layers that a text names, such as "10-15", "output half, output full" or "all, not middle".

    Pieces are separated by commas; each adds layers, or takes them away if it begins with "not". A text that begins with "not"
    begins with all layers. The words of a piece are a layer's number in the order of execution, a range of them, the part of the
    network, the grid (`GRIDS`) or "all"; several words mean the layers that all of them name.

    Raises `GraftError` that names the bad piece, also where a piece or the whole text names no layer of this network.
    """
    layers, named = attention_layers(network), frozenset()
    pieces = [words for piece in text.lower().split(",") if (words := re.sub(r"\s*-\s*", "-", piece).split())]
    for place, words in enumerate(pieces):
        taken_away = words[0] == "not"
        of_piece = _named_by_all(layers, words[taken_away:])
        if place == 0 and taken_away:
            named = frozenset(layers)
        named = named - of_piece if taken_away else named | of_piece
    if not named:
        raise GraftError(f"layers: {text!r} names no layer; {_known(layers)}")
    return named


def _named_by_all(layers: dict[Layer, int], words: list[str]) -> Layers:
    piece = " ".join(words)
    if unknown := next((word for word in words if _named_by(layers, word) is None), None):
        raise GraftError(f"layers: {unknown!r} in {piece!r} is no layer, range, part or grid; {_known(layers)}")
    named = frozenset(layers).intersection(*(_named_by(layers, word) for word in words)) if words else frozenset()
    if not named:
        raise GraftError(f"layers: {piece or 'not'!r} names no layer; {_known(layers)}")
    return named


def _named_by(layers: dict[Layer, int], word: str) -> Layers | None:
    """The layers of one word; None if it is none of the grammar's."""
    if word == "all":
        return frozenset(layers)
    if word in _parts(layers):
        return frozenset(layer for layer in layers if layer.block == word)
    if word in GRIDS:
        return frozenset(layer for layer, level in layers.items() if level == GRIDS[word])
    if numbers := re.fullmatch(r"(\d+)(?:-(\d+))?", word, re.ASCII):
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if last >= len(layers):
            raise GraftError(f"layers: {word!r} is beyond the last layer; {_known(layers)}")
        return frozenset(tuple(layers)[first : last + 1])
    return None


def _known(layers: dict[Layer, int]) -> str:
    grids = ", ".join(name for name, level in GRIDS.items() if level in layers.values())
    return f"this model has layers 0 to {len(layers) - 1}, the parts {', '.join(_parts(layers))}, and the grids {grids}"


def _parts(layers: dict[Layer, int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer.block for layer in layers))
