"""Calls of the network in which the bottleneck h is tapped or edited.

Edited rows are plain rows up to the decoder. So where both are in one call the encoder runs once for both, and the decoder
once more from the edited h. A decoder is two thirds of SD1.5, and up to four fifths of a pixel-space network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel, forward_timestep_embed
from comfy.patcher_extension import WrappersMP, get_all_wrappers
from torch import Tensor

from ..models.pixel_unet import PixelUNet

MIDDLE, OUTPUT = "middle_block_after_patch", "output_block_patch"
Twins = dict[int, int | None]
"""By edited chunk the plain chunk that differs from it in h alone; None if that one is in another call."""


def tapped_call(tap: Callable[[dict], dict], executor, *args, **kwargs) -> Tensor:
    """A call of the network in which the bottleneck is shown to `tap`, a middle_block_after_patch."""
    return Call.of_host(executor, *args, **kwargs).patched(MIDDLE, tap).output()


def edited_call(
    edited: dict[int, int], bottleneck: Callable[[Tensor], Tensor], note: Callable[[str], None], executor, *args, **kwargs
) -> Tensor:
    """A call of the network in which `bottleneck` changes h of the prompts that `edited` lists, each with the one it repeats."""
    call = Call.of_host(executor, *args, **kwargs)
    twins = _twins(call.options, edited)
    if not twins:
        return call.output()
    # Other nodes are shown an ordinary layout, in which an edited chunk is one more of its prompt.
    call = call.labelled([edited.get(which, which) for which in call.options["cond_or_uncond"]])
    obstacle = _obstacle(call, twins)
    if obstacle is None:
        return _decoded_twice(call, twins, bottleneck)
    note(f"{obstacle}; the edited rows are computed as a whole, which takes longer")
    return _computed_whole(call, list(twins), bottleneck)


@dataclass(frozen=True)
class Call:
    """What the host calls its network with. `options["cond_or_uncond"]` names the prompt of every chunk of rows."""

    executor: Callable[..., Tensor]
    x: Tensor
    timesteps: Tensor
    context: Tensor | None
    y: Tensor | None
    control: dict[str, list[Tensor | None]] | None
    options: dict
    others: dict

    @staticmethod
    def of_host(executor, x, timesteps=None, context=None, y=None, control=None, transformer_options=None, **others) -> Call:
        """From what a DIFFUSION_MODEL wrapper is called with."""
        return Call(executor, x, timesteps, context, y, control, transformer_options or {}, others)

    def output(self) -> Tensor:
        return self.executor(self.x, self.timesteps, self.context, self.y, self.control, self.options, **self.others)

    @property
    def size(self) -> int:
        """Rows per chunk."""
        return len(self.x) // len(self.options["cond_or_uncond"])

    def labelled(self, order: list[int]) -> Call:
        return replace(self, options={**self.options, "cond_or_uncond": order})

    def patched(self, name: str, patch: Callable, first: bool = False) -> Call:
        """The same with one more patch, after all others or before them."""
        present = self.options.get("patches", {})
        others = list(present.get(name, ()))
        listed = [patch, *others] if first else [*others, patch]
        return replace(self, options={**self.options, "patches": {**present, name: listed}})

    def of(self, chunks: Sequence[int]) -> Call:
        """The rows of some chunks."""
        rows = self.rows(chunks)
        x, timesteps, context, y = (None if part is None else part[rows] for part in (self.x, self.timesteps, self.context, self.y))
        control = self.control and {name: [self._of_rows(part, rows) for part in parts] for name, parts in self.control.items()}
        return replace(
            self, x=x, timesteps=timesteps, context=context, y=y, control=control, options={**self.options, **self.lists_of(chunks)}
        )

    def lists_of(self, chunks: Sequence[int]) -> dict[str, list]:
        """Those of the options that have an entry per chunk."""
        return {name: [self.options[name][chunk] for chunk in chunks] for name in ("cond_or_uncond", "uuids")}

    def rows(self, chunks: Sequence[int]) -> Tensor:
        """The indices of the rows of some chunks."""
        return torch.cat([torch.arange(chunk * self.size, (chunk + 1) * self.size, device=self.x.device) for chunk in chunks])

    def _of_rows(self, part: Tensor | None, rows: Tensor) -> Tensor | None:
        # What a ControlNet adds may be one for all rows.
        return part if part is None or len(part) != len(self.x) else part[rows]


@dataclass
class Halfway:
    """What the decoder of one call was given: the edited h of the rows `twinned`, and the skips, embedding, context and
    options of all its rows."""

    twinned: Tensor
    size: int
    bottleneck: Callable[[Tensor], Tensor]
    keep_copies: bool
    data: dict = field(default_factory=dict)
    edited: Tensor | None = None
    skips: list[Tensor] = field(default_factory=list)

    def at_the_middle(self, data: dict) -> dict:
        # The options as the encoder leaves them, before the decoder writes its own into them.
        self.data = {**data, "transformer_options": dict(data["transformer_options"])}
        # Before any later patch changes h in place.
        self.edited = torch.cat([self.bottleneck(h) for h in data["h"][self.twinned].split(self.size)])
        return data

    def at_an_output_block(self, h: Tensor, skip: Tensor, options: dict) -> tuple[Tensor, Tensor]:
        self.skips.append(skip.clone() if self.keep_copies else skip)
        return h, skip


def _twins(options: dict, edited: dict[int, int]) -> Twins:
    order, prompts = options["cond_or_uncond"], options["uuids"]
    plain = {(which, prompts[chunk]): chunk for chunk, which in enumerate(order) if which not in edited}
    return {chunk: plain.get((edited[which], prompts[chunk])) for chunk, which in enumerate(order) if which in edited}


def _obstacle(call: Call, twins: Twins) -> str | None:
    """Why the decoder cannot simply run again, if so."""
    network = call.executor.class_obj
    if type(network) not in (UNetModel, PixelUNet):  # a network derived from them may have another decoder
        return f"the network is a {type(network).__name__}, whose decoder Graft does not know"
    if len(get_all_wrappers(WrappersMP.DIFFUSION_MODEL, call.options)) > 1 or any(part is not None for part in call.others.values()):
        return "another node works on the network as a whole"
    if None in twins.values():
        return "plain and edited rows do not fit into memory at once, or another node has them computed apart"
    return None


def _decoded_twice(call: Call, twins: Twins, bottleneck: Callable[[Tensor], Tensor]) -> Tensor:
    plain = [chunk for chunk in range(len(call.x) // call.size) if chunk not in twins]
    base = call.of(plain)
    twinned = base.rows([plain.index(chunk) for chunk in twins.values()])
    halfway = Halfway(twinned, call.size, bottleneck, keep_copies=OUTPUT in call.options.get("patches", {}))
    output = base.patched(MIDDLE, halfway.at_the_middle).patched(OUTPUT, halfway.at_an_output_block, first=True).output()
    own = {"patches": call.options.get("patches", {}), **call.lists_of(list(twins))}
    edited = decoded(call.executor.class_obj, halfway, own)
    chunks = dict(zip([*plain, *twins], [*output.split(call.size), *edited.split(call.size)], strict=True))
    return torch.cat([chunks[chunk] for chunk in sorted(chunks)])


def decoded(network: UNetModel | PixelUNet, halfway: Halfway, own: dict) -> Tensor:
    """The decoder's output from the edited h, with the patches of every output block, which are told what the encoder left in the
    options but for the rows' `own`. Skips have their ControlNet's part already."""
    rows, data, h = halfway.twinned, halfway.data, halfway.edited
    if isinstance(network, PixelUNet):
        return network.decode(h, tuple(skip[rows] for skip in data["skips"]), data["emb"][rows])
    context = None if data["context"] is None else data["context"][rows]
    options = {**data["transformer_options"], "original_shape": list(data["x"][rows].shape), **own}
    sizes = [skip.shape for skip in halfway.skips[1:]] + [None]
    for number, (module, skip, size) in enumerate(zip(network.output_blocks, halfway.skips, sizes, strict=True)):
        options["block"] = ("output", number)
        skip = skip[rows]
        for patch in options.get("patches", {}).get(OUTPUT, ()):
            h, skip = patch(h, skip, options)
        joined = h if skip is None else torch.cat([h, skip], dim=1)
        h = forward_timestep_embed(module, joined, data["emb"][rows], context, options, size)
    return network.out(h.type(data["x"].dtype))


def _computed_whole(call: Call, edited: Sequence[int], bottleneck: Callable[[Tensor], Tensor]) -> Tensor:
    def edit(data: dict) -> dict:
        chunks = list(data["h"].split(call.size))
        for chunk in edited:
            chunks[chunk] = bottleneck(chunks[chunk])
        return {**data, "h": torch.cat(chunks)}

    return call.patched(MIDDLE, edit).output()
