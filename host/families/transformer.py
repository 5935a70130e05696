"""Flow transformers: where the picture's tokens stand among the others, and how attention is reached.

One softmax runs over the tokens of text, picture and reference pictures. What the picture's attend with is reached after rotation, in
`optimized_attention_override`, the one place that all families of the host share. It is put there for one denoise call, around what
another node put there. A family is a `Kind`, a row of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import GraftError
from .attention import Hook, Inputs, Listener, Site
from .joint_attention import Joint, JointAttention
from .layer import Layer


class Called(NamedTuple):
    """What one call of attention is known by: the network, how many tokens attend, how many the picture has, and the host's options."""

    network: torch.nn.Module
    total: int
    picture: int
    options: dict


def text_first(called: Called) -> int:
    """[text | picture | references]: where the picture begins."""
    return called.total - called.picture - sum(called.options.get("reference_image_num_tokens", ()))


def picture_last(called: Called) -> int:
    """[text | picture], the picture filled up to a multiple of tokens: where it begins."""
    multiple = called.network.pad_tokens_multiple or 1
    return called.total - math.ceil(called.picture / multiple) * multiple


def picture_alone(called: Called) -> int:
    return 0


@dataclass(frozen=True)
class Kind:
    """What is known of a family of transformers.

    `parts` names its lists of layers, in the order of execution: by what ComfyUI calls them in `block_type`, the attribute of the
    network. `begin` says where in the joint tokens the picture begins.
    """

    network: type
    parts: Mapping[str, str]
    begin: Callable[[Called], int]
    patch: str = "patch_size"
    """The attribute of the network that says how many cells of the latent a token is wide."""
    block_type: str | None = None
    """What its layers are called where ComfyUI calls them nothing."""
    marks_itself: bool = False
    """Whether self-attention and cross-attention come the same way, and only their patches tell them apart."""


@dataclass(frozen=True)
class Transformer:
    """A network of a `Kind`."""

    network: torch.nn.Module
    kind: Kind

    hooks = frozenset({"attn1", "step"})
    one_grid = True

    @property
    def patch(self) -> int:
        return getattr(self.network, self.kind.patch)

    @cached_property
    def layers(self) -> dict[Layer, int]:
        """All layers in the order of execution. There is one grid."""
        lists = ((part, getattr(self.network, attribute)) for part, attribute in self.kind.parts.items())
        return {Layer(part, number): 0 for part, blocks in lists for number in range(len(blocks))}

    def connect(self, options: dict, listener: Listener, hooks: frozenset[Hook], resident: Mapping, size: tuple[int, int]) -> dict:
        """See `Family.connect`."""
        grid = math.ceil(size[0] / self.patch), math.ceil(size[1] / self.patch)
        override = Override(self, listener, "attn1" in hooks, grid, options.get("optimized_attention_override"))
        options = {**options, "optimized_attention_override": override}
        if self.kind.marks_itself:
            patches = options.get("patches", {})
            marks = {
                name: [*patches.get(name, ()), partial(override.mark, name == "attn1_patch")] for name in ("attn1_patch", "attn2_patch")
            }
            options["patches"] = {**patches, **marks}
        return options

    def projected(self, layer: Layer, part: int, tensor: Tensor) -> Tensor:
        """Edits are given queries, keys and values themselves."""
        return tensor

    def layer_of(self, options: dict) -> Layer | None:
        """The layer that calls attention; None for refiners of text and noise, which come without a number."""
        if "block_index" not in options:
            return None
        layer = Layer(options.get("block_type") or self.kind.block_type, options["block_index"])
        return layer if layer in self.layers else None


class Override:
    """The `optimized_attention_override` of one denoise call, around another node's."""

    def __init__(self, family: Transformer, listener: Listener, computes: bool, grid: tuple[int, int], before: Callable | None) -> None:
        self.family, self.listener, self.computes, self.grid, self.before = family, listener, computes, grid, before
        self.own = not family.kind.marks_itself
        """Whether self-attention comes next, where the network says so."""

    def mark(self, own: bool, query: Tensor, key: Tensor, value: Tensor, **kwargs) -> dict:
        """The attn1_patch and the attn2_patch: each is called just before its attention."""
        self.own = own
        return {}

    def __call__(
        self,
        func: Callable,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        heads: int,
        mask: Tensor | None = None,
        attn_precision: torch.dtype | None = None,
        skip_reshape: bool = False,
        skip_output_reshape: bool = False,
        **others,
    ) -> Tensor:
        """(rows, N, C), or (rows, heads, N, d) with `skip_output_reshape`; queries, keys and values are (rows, heads, N, d) with
        `skip_reshape`, else (rows, N, C)."""
        attend = func if self.before is None else partial(self.before, func)
        fixed = {"attn_precision": attn_precision, **others}
        options = others.get("transformer_options", {})
        layer = self.family.layer_of(options) if self.own else None
        if layer is None:
            return attend(query, key, value, heads, mask=mask, skip_reshape=skip_reshape, skip_output_reshape=skip_output_reshape, **fixed)
        if not skip_reshape:
            query, key, value = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value))
        picture = math.prod(self.grid)
        begin = self.family.kind.begin(Called(self.family.network, query.shape[2], picture, options))
        if not 0 <= begin <= query.shape[2] - picture:
            raise GraftError(
                f"model: another node has attention see {query.shape[2]} tokens, among which the picture's {self.grid[1]} x {self.grid[0]} are not "
                "found, and Graft edits them; remove that node"
            )
        joint = Joint(partial(attend, **fixed), heads, mask, slice(begin, begin + picture))
        site = Site(layer, *self.grid, heads, len(query), tuple(options["cond_or_uncond"]))
        inputs = self._edited(site, (query, key, value), joint.tokens)
        attention = JointAttention(site, inputs, joint)
        output = self.listener.self_attention(attention) if self.computes else attention.plain
        return output.unflatten(2, (heads, -1)).transpose(1, 2) if skip_output_reshape else output

    def _edited(self, site: Site, inputs: Inputs, tokens: slice) -> Inputs:
        """Joint queries, keys and values (rows, heads, N, d), with those of the picture as edits want them."""
        pictures = tuple(part[:, :, tokens].transpose(1, 2) for part in inputs)
        edited = self.listener.attention_inputs(site, pictures)
        return tuple(
            whole if new is old else torch.cat([whole[:, :, : tokens.start], new.transpose(1, 2), whole[:, :, tokens.stop :]], dim=2)
            for whole, old, new in zip(inputs, pictures, edited, strict=True)
        )
