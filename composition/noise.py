"""The noise that a composition is sampled from: TF-ICON's, of the main picture, the reference and plain noise."""

from __future__ import annotations

import torch
from torch import Tensor


def compose_noise(main: Tensor, reference: Tensor | None, fresh: Tensor, object: Tensor, region: Tensor) -> Tensor:
    """(B, C, h, w), in sampler space at one noise level as `main` (B, C, h, w) and `reference` (B or 1, C, h, w) are.

    Outside the `region` (B or 1, h, w) it is the main picture's inverted noise; inside, where the `object` (B or 1, h, w) is,
    the reference's (across domains), or the main picture's if there is no reference (in one domain, where the object is pasted
    into the main picture before it is inverted); in the rest of the region `fresh` (B, C, h, w), what plain noise makes of the
    main picture. Both masks are bool; of the object only what lies in the region counts.
    """
    object, region = object[:, None], region[:, None]
    inside = torch.where(object, main if reference is None else reference, fresh)
    return torch.where(region, inside, main)
