"""Mixing two bottleneck activations h (Jeong et al., InjectFusion, WACV 2024, section 3.2).

An activation (B, C, h, w) is one vector per picture here: it has one norm, and with another one angle. Norms and angles are
computed in float32 at least, whatever the activations are stored in.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

LARGEST_COSINE = 1 - 1e-6
"""Angles are kept this far from 0, where Slerp divides by zero, and from a half turn, where no way round is the shortest.
The norm is kept to 3e-7 so: two activations are mixed as if they were 1.4e-3 apart."""

Mixing = Literal["slerp", "lerp", "replace"]
MIXINGS: tuple[Mixing, ...] = get_args(Mixing)


def norm_matched(content: Tensor, h: Tensor) -> Tensor:
    """(B, C, h, w): `content` with the norm of `h`, picture by picture (eq. 7). Content of zeros stays what it is."""
    norm = _norm(content)
    return content * (_norm(h) / norm.where(norm > 0, 1.0))


def slerp(h: Tensor, content: Tensor, gamma: Tensor) -> Tensor:
    """(B, C, h, w): from `h` (gamma 0) to the norm-matched `content` (gamma 1) along the sphere, so that the norm of `h` stays
    what its skip connections expect (eq. 7)."""
    content = norm_matched(content, h)
    square = _norm(h).square()
    cosine = (h * content).sum(dim=(1, 2, 3), keepdim=True) / square.where(square > 0, 1.0)
    angle = cosine.clamp(-LARGEST_COSINE, LARGEST_COSINE).acos()
    return (((1 - gamma) * angle).sin() * h + (gamma * angle).sin() * content) / angle.sin()


def lerp(h: Tensor, content: Tensor, gamma: Tensor) -> Tensor:
    """(B, C, h, w): straight from `h` to `content` with its own norm, which Table 2 compares with."""
    return torch.lerp(h, content, gamma)


def replace(h: Tensor, content: Tensor, gamma: Tensor) -> Tensor:
    """(B, C, h, w): `content` as it is, whatever gamma (section 3.1), which Table 2 compares with."""
    return content.expand_as(h)


def mix(h: Tensor, content: Tensor, gamma: Tensor | float, mixing: Mixing = "slerp", mask: Tensor | None = None) -> Tensor:
    """(B, C, h, w): `h` with the share `gamma` (() or (B,)) of `content`; both ends may have 1 or B pictures of content.

    With a mask (B or 1, 1, h, w) in [0, 1], soft if it is, norm and angle are those of the masked parts (section 3.4 and
    Algorithm 1): (1 - m) h + f(m h, m content). A mask of nothing leaves `h`. The released code has one fixed mask and does
    not match norms inside of it.
    """
    exact = torch.promote_types(h.dtype, torch.float32)
    original, injected = h.to(exact), content.to(h.device, exact)
    share = torch.as_tensor(gamma, dtype=exact, device=h.device).reshape(-1, 1, 1, 1)
    function = {"slerp": slerp, "lerp": lerp, "replace": replace}[mixing]
    if mask is None:
        return function(original, injected, share).to(h.dtype)
    mask = mask.to(original)
    return ((1 - mask) * original + function(mask * original, mask * injected, share)).to(h.dtype)


def _norm(h: Tensor) -> Tensor:
    """(B, 1, 1, 1)."""
    return torch.linalg.vector_norm(h, dim=(1, 2, 3), keepdim=True)
