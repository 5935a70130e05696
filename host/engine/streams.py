"""The streams of a run as batches of the host: encoded, joined, started."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import comfy.conds
import comfy.sampler_helpers
import comfy.samplers
from torch import Tensor

from .stream import Stream

APART = {"control", "gligen", "mask", "default"}
"""Entries of an encoded prompt that act on its batch as a whole: prompts with one of them are run by themselves."""


def with_own_control(conditioning: list) -> list:
    """The CONDITIONING with ControlNets of its own: the host keeps in each what it made of its hint, for the rows that it ran on first."""

    def copied(control):
        own = control.copy()
        return own if control.previous_controlnet is None else own.set_previous_controlnet(copied(control.previous_controlnet))

    controlled = [(states, options, options.get("control")) for states, options in conditioning]
    return [[states, options if control is None else {**options, "control": copied(control)}] for states, options, control in controlled]


def encoded(guider, stream: Stream, prompt: list, noise: Tensor, latent_image: Tensor | None, seed: int | None) -> dict:
    """The stream's `prompt`, a CONDITIONING, as the host prepares conditionings for a run, apart from the target's, which would lend it
    its areas and ControlNets."""
    conditioning = {"stream": comfy.sampler_helpers.convert_cond(prompt)}
    batch = slice(0, stream.trajectory.batch)
    image = None if latent_image is None else latent_image[batch]
    return comfy.samplers.process_conds(guider.inner_model, noise[batch], conditioning, noise.device, image, None, seed)["stream"][0]


def batches(streams: Sequence[Stream], conditionings: dict[Stream, dict]) -> list[tuple[list[Stream], dict]]:
    """The streams in as few batches as the host can run them in, each with the conditioning for all its rows."""
    groups: list[tuple[list[Stream], dict]] = []
    for stream in streams:
        own = _repeated(conditionings[stream], stream.trajectory.batch)
        for index, (members, shared) in enumerate(groups):
            if _can_join(shared, own):
                groups[index] = [*members, stream], _joined(shared, own)
                break
        else:
            groups.append(([stream], own))
    return groups


def _repeated(conditioning: dict, rows: int) -> dict:
    """The conditioning with one row per picture of its stream."""
    parts = {name: part.process_cond(batch_size=rows, area=None) for name, part in conditioning["model_conds"].items()}
    return {**conditioning, "model_conds": parts}


def _can_join(one: dict, other: dict) -> bool:
    if APART & (one.keys() | other.keys()):
        return False
    parts, others = one["model_conds"], other["model_conds"]
    return parts.keys() == others.keys() and all(_same_kind(parts[name], others[name]) for name in parts)


def _same_kind(one: comfy.conds.CONDRegular, other: comfy.conds.CONDRegular) -> bool:
    """Whether two parts differ in nothing but their rows."""
    if type(one) is not type(other):
        return False
    if type(one) is comfy.conds.CONDConstant:
        return one.can_concat(other)
    tensors = isinstance(one.cond, Tensor) and isinstance(other.cond, Tensor)
    return tensors and one.cond.shape[1:] == other.cond.shape[1:] and one.cond.device == other.cond.device


def _joined(one: dict, other: dict) -> dict:
    parts = {name: type(part)(part.concat([other["model_conds"][name]])) for name, part in one["model_conds"].items()}
    return {**one, "model_conds": parts, "uuid": uuid.uuid4()}
