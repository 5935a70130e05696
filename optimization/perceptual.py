"""Perceptual losses of a latent: how different its picture looks from another one, as a feature network sees it.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (LPIPS, CVPR 2018). FreeCompose multiplies
both pictures by a mask first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Decode = Callable[[Tensor], Tensor]
"""Latents (B, C, h, w) -> pictures (B, 3, H, W)."""

Features = Callable[[Tensor], Iterable[Tensor]]
"""Pictures (B, 3, H, W) -> feature maps (B, channels, height, width) of every level."""

PIXELS_AT_ONCE = 512 * 512
"""Pictures are taken together up to so many pixels: a gradient needs gigabytes for them."""

EPSILON = 1e-8


@dataclass(frozen=True)
class Region:
    """A part of the picture that shall look as it did: `mask` (B or 1, 1, H, W) in [0, 1], and how much it counts."""

    mask: Tensor
    weight: float

    def rows(self, rows: slice) -> Tensor:
        return self.mask if len(self.mask) == 1 else self.mask[rows]


def normalised(features: Tensor) -> Tensor:
    """(B, channels, h, w), of unit length along the channels; at least in float32."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return features * (features.square().sum(dim=1, keepdim=True) + EPSILON).rsqrt()


def feature_distance(features: Iterable[Tensor], references: Iterable[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """(B,): LPIPS. Squared differences of `normalised` features, summed over channels, each with its weight (channels,) where
    there are `weights` per level, averaged over the picture, summed over levels. `references` are normalised already."""
    distances = []
    for level, (feature, reference) in enumerate(zip(features, references, strict=True)):
        difference = (normalised(feature) - reference).square()
        if weights is not None:
            difference = difference * weights[level].view(1, -1, 1, 1)
        distances.append(difference.sum(dim=1).mean(dim=(1, 2)))
    return torch.stack(distances).sum(dim=0)


class PictureLoss:
    """sum over regions of weight * LPIPS(picture * mask, source's picture * mask): the article's L_per."""

    def __init__(
        self,
        decode: Decode,
        features: Features,
        source: Tensor,
        regions: Sequence[Region],
        weights: Sequence[Tensor] | None = None,
        every: int = 1,
    ) -> None:
        """`source` (B, C, h, w) is the latent whose picture is kept; its features are computed once."""
        self.decode, self.features, self.regions, self.weights, self.every = decode, features, regions, weights, every
        height, width = regions[0].mask.shape[-2:]
        step = max(1, PIXELS_AT_ONCE // (height * width))
        self.parts = [slice(start, start + step) for start in range(0, len(source), step)]
        with torch.inference_mode(False), torch.no_grad():
            self.references = [self._references(source[rows].clone(), rows) for rows in self.parts]

    def _references(self, source: Tensor, rows: slice) -> list[list[Tensor]]:
        """The features of each region, level by level."""
        picture = self.decode(source)
        return [[normalised(feature) for feature in self.features(picture * region.rows(rows))] for region in self.regions]

    def value(self, latent: Tensor) -> Tensor:
        """(B,): the loss of each picture of a latent (B, C, h, w)."""
        with torch.no_grad():
            values = []
            for rows, references in zip(self.parts, self.references, strict=True):
                picture = self.decode(latent[rows])
                losses = (self._loss(picture, region, own, rows) for region, own in zip(self.regions, references, strict=True))
                values.append(torch.stack(tuple(losses)).sum(dim=0))
            return torch.cat(values)

    def gradient(self, latent: Tensor) -> Tensor:
        """(B, C, h, w). The gradient at the picture comes first and is then sent through the decoder, so that the features'
        activations are gone when the decoder's are needed."""
        with torch.inference_mode(False), torch.enable_grad():
            parts = zip(self.parts, self.references, strict=True)
            return torch.cat([self._gradient(latent[rows].clone().requires_grad_(), rows, references) for rows, references in parts])

    def _gradient(self, latent: Tensor, rows: slice, references: list[list[Tensor]]) -> Tensor:
        picture = self.decode(latent)
        at_picture = torch.zeros_like(picture)
        for region, own in zip(self.regions, references, strict=True):
            seen = picture.detach().requires_grad_()
            at_picture += torch.autograd.grad(self._loss(seen, region, own, rows).sum(), seen)[0]
        return torch.autograd.grad(picture, latent, at_picture)[0]

    def _loss(self, picture: Tensor, region: Region, references: list[Tensor], rows: slice) -> Tensor:
        return region.weight * feature_distance(self.features(picture * region.rows(rows)), references, self.weights)


class LatentLoss:
    """sum over regions of weight * mean over cells of mask * |z - z_s|^2: no picture and no network, and no look either. Stands in
    where the others do not fit; not the article's."""

    def __init__(self, source: Tensor, regions: Sequence[Region], every: int = 1) -> None:
        """`source` (B, C, h, w) and regions of as many cells."""
        self.source, self.regions, self.every = source, regions, every

    def gradient(self, latent: Tensor) -> Tensor:
        """(B, C, h, w)."""
        height, width = latent.shape[-2:]
        weights = sum(region.weight * region.mask.to(latent) for region in self.regions)
        return 2 / (height * width) * weights * (latent - self.source.to(latent))
