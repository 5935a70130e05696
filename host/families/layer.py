"""What an attention layer is called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One attention layer, named as ComfyUI names it to patches: in a UNet its `block` ("input", "middle", "output"), its
    `number`, and the `index` of the transformer inside it; in a transformer its part ("double", "single") and its `number`."""

    block: str
    number: int
    index: int = 0


BOTTLENECK = Layer("middle", 0, -1)
"""The whole middle block of a UNet: not one of the transformers, but the place of its output, h."""

Layers = frozenset[Layer]
"""The layers that an edit touches."""
