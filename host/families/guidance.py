"""How a model is told how strongly to follow its prompt."""

from __future__ import annotations


def is_told_guidance(model) -> bool:
    """Whether the network takes a guidance as a number, as models do that were distilled for it (Flux.1 dev): it needs no negative
    prompt then. The host hands it over with the prompt."""
    return bool(getattr(getattr(model.model.diffusion_model, "params", None), "guidance_embed", False))


def told(conditioning: list, guidance: float) -> list:
    """A CONDITIONING with the guidance that such a network is told."""
    return [[states, {**options, "guidance": guidance}] for states, options in conditioning]
