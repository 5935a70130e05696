"""The UNets of SD1.x, SD2.x and SDXL: their layers, and how their attention is reached.

Hidden states are reached by `attn1_patch`, before the projections to queries, keys and values, where the host's fused attention goes
on. Attention itself is reached by replacement. Both are put in place for one denoise call: so what other nodes put in the same
places, before or after, and for this call alone, is there to be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from comfy.ldm.modules.attention import BasicTransformerBlock, CrossAttention, SpatialTransformer, optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, UNetModel, Upsample
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...attention.self_attention import Attend, Region
from .attention import Attention, Hook, Inputs, Listener, Site
from .layer import Layer

WRAPPER_KEY = "graft"


@dataclass(frozen=True)
class UNet:
    """The family of ComfyUI's `UNetModel`."""

    network: UNetModel

    one_grid = False
    patch = 1

    @property
    def hooks(self) -> frozenset[Hook]:
        everywhere = frozenset({"attn1", "attn2", "step"})
        return everywhere if self.network.middle_block is None else everywhere | {"h"}

    @cached_property
    def layers(self) -> dict[Layer, int]:
        """Every transformer in the order of execution (16 in SD1.x and SD2.x, 70 in SDXL), with its level: how often the latent's
        grid has been halved there."""
        return {layer: level for layer, level, _ in self._walk()}

    @cached_property
    def blocks(self) -> dict[Layer, BasicTransformerBlock]:
        """The module of every transformer."""
        return {layer: block for layer, _, block in self._walk()}

    def _walk(self) -> Iterator[tuple[Layer, int, BasicTransformerBlock]]:
        level, middle = 0, self.network.middle_block
        parts = (
            ("input", self.network.input_blocks),
            ("middle", () if middle is None else [middle]),
            ("output", self.network.output_blocks),
        )
        for name, blocks in parts:
            for number, block in enumerate(blocks):
                for module in block:
                    if isinstance(module, SpatialTransformer):
                        yield from ((Layer(name, number, index), level, inner) for index, inner in enumerate(module.transformer_blocks))
                    level += isinstance(module, Downsample) - isinstance(module, Upsample)

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping, size: tuple[int, int]) -> dict:
        """See `Family.connect`."""
        patches = options.get("patches", {})
        patch = partial(_attention_inputs, listener)
        options = {**options, "patches": {**patches, "attn1_patch": [*patches.get("attn1_patch", ()), patch]}}
        replaced = dict(options.get("patches_replace", {}))
        for hook in sorted(hooks & {"attn1", "attn2"}):
            present, kept = replaced.get(hook, {}), resident.get("patches_replace", {}).get(hook, {})
            ours = {}
            for layer, block in self.blocks.items():
                key = layer.block, layer.number, layer.index
                before = present.get(key, present.get(key[:2]))
                imposed = before is not kept.get(key, kept.get(key[:2]))
                ours[key] = Replacement(hook, listener, before, imposed, _preferred(getattr(block, hook)))
            replaced[hook] = {**present, **ours}
        options["patches_replace"] = replaced
        return options_with_network(options, listener) if "h" in hooks else options

    def projected(self, layer: Layer, part: int, tensor: Tensor) -> Tensor:
        """See `Family.projected`."""
        own = self.blocks[layer].attn1
        return (own.to_q, own.to_k, own.to_v)[part](tensor)


def _preferred(attention: CrossAttention) -> dict:
    """What newer hosts (0.37 on) call their attention with besides: the kernel that a checkpoint asks for in this layer."""
    preferred = getattr(attention, "comfy_attention", None)
    return {} if preferred is None else {"preferred_attention": preferred}


def options_with_network(options: dict, listener: Listener) -> dict:
    """`transformer_options` in which the call of the network itself is reported to `listener`."""
    wrappers = options.get("wrappers", {})
    around = {**wrappers.get(WrappersMP.DIFFUSION_MODEL, {}), WRAPPER_KEY: [listener.network]}
    return {**options, "wrappers": {**wrappers, WrappersMP.DIFFUSION_MODEL: around}}


def site_of(options: dict) -> Site:
    """Where a patch of attention is being called, from the host's `extra_options`."""
    block, number = options["block"][:2]
    rows, *_, height, width = options["activations_shape"]
    return Site(Layer(block, number, options["block_index"]), height, width, options["n_heads"], rows, tuple(options["cond_or_uncond"]))


def _attention_inputs(listener: Listener, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Inputs:
    """The attn1_patch."""
    return listener.attention_inputs(site_of(options), (query, key, value))


@dataclass(frozen=True)
class Replacement:
    """What the host calls in place of a layer's attention: the listener computes it. `before` is what another node put there,
    `imposed` says that it did so for this call, `preferred` is how the layer wants to attend."""

    hook: Hook
    listener: Listener
    before: object | None
    imposed: bool
    preferred: dict

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, options: dict) -> Tensor:
        attention = UNetAttention((query, key, value), options, self.before, self.imposed, self.preferred)
        return self.listener.self_attention(attention) if self.hook == "attn1" else self.listener.cross_attention(attention)


class UNetAttention(Attention):
    """Queries, keys and values (rows, tokens, channels) and the host's options."""

    def __init__(self, inputs: Inputs, options: dict, before: object | None, imposed: bool, preferred: dict) -> None:
        self.inputs, self.options, self.before, self.imposed, self.preferred = inputs, options, before, imposed, preferred
        self.site = site_of(options)

    @property
    def replaced(self) -> bool:
        return self.before is not None

    @cached_property
    def plain(self) -> Tensor:
        return self.attend(*self.inputs) if self.before is None else self.before(*self.inputs, self.options)

    def plain_of(self, rows: slice) -> Tensor:
        return self.plain[rows]

    def unedited(self, rows: slice) -> Tensor:
        # What another node computes has to be shown all rows, and what an edit asked for is there for all. Else they are computed in a
        # batch of their own: plain but for rounding.
        if self.before is not None or "plain" in vars(self):
            return self.plain[rows]
        return self.attend(*(part[rows] for part in self.inputs))

    def seeing(self, region: Region, rows: slice) -> Tensor:
        query, key, value = (part[rows] for part in self.inputs)
        return region.attend(lambda: self.plain[rows], query, key, value, self.attend)

    def attending(self, rows: slice) -> Attend:
        return self.attend

    def attend(self, query: Tensor, key: Tensor, value: Tensor, part: slice | None = None) -> Tensor:
        """The rows need not be told apart: nothing but what is given attends."""
        options = self.options
        precision = options["attn_precision"]
        return optimized_attention(
            query, key, value, options["n_heads"], attn_precision=precision, transformer_options=options, **self.preferred
        )
