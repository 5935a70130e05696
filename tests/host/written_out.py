"""The papers' loops written out, with explicit attention maps, a network call per row and nothing of Graft's engine: oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class Site:
    """An attention layer: its block and number, its index there, and its token grid."""

    block: str
    number: int
    index: int
    grid: tuple[int, int]


Compute = Callable[[Site, Tensor, Tensor, Tensor], Tensor]
"""Attention of queries, keys and values (rows, heads, tokens, d), in float64."""


def maps(query: Tensor, key: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d) + bias), (rows, heads, N, L)."""
    return (query @ key.mT * query.shape[-1] ** -0.5 + bias).softmax(dim=-1)


def predict(model, x: Tensor, sigma: Tensor, conditioning: list, *, attn1: Compute | None = None, attn2: Compute | None = None) -> Tensor:
    """The network's prediction for one prompt, with self-attention and cross-attention computed by `attn1` and `attn2`."""

    def replacement(compute: Compute):
        def attention(query, key, value, options):
            heads = [rearrange(part.double(), "rows n (h d) -> rows h n d", h=options["n_heads"]) for part in (query, key, value)]
            site = Site(*options["block"][:2], options["block_index"], tuple(options["activations_shape"][-2:]))
            return rearrange(compute(site, *heads), "rows h n d -> rows n (h d)").to(query)

        return attention

    blocks = [("input", number) for number in range(12)] + [("middle", 0)] + [("output", number) for number in range(12)]
    chosen = {"attn1": attn1, "attn2": attn2}
    replaced = {name: dict.fromkeys(blocks, replacement(compute)) for name, compute in chosen.items() if compute is not None}
    states, options = conditioning[0]
    real, extra = model.model, {}
    if real.adm_channels:
        extra["y"] = real.encode_adm(pooled_output=options["pooled_output"], width=8 * x.shape[-1], height=8 * x.shape[-2])
    rows = (part.expand(len(x), *part.shape[1:]) for part in (states, *extra.values()))
    inputs = dict(zip(("c_crossattn", *extra), rows, strict=True))
    return real.apply_model(x, sigma.expand(len(x)), transformer_options={"patches_replace": replaced}, **inputs)


def guided(negative: Tensor, positive: Tensor, cfg: float) -> Tensor:
    return negative + cfg * (positive - negative)


def step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """DDIM."""
    return x + (sigma_next - sigma) * (x - denoised) / sigma


def released_multistep(predict_at: Callable[[int, Tensor], Tensor], x: Tensor, sigmas: Tensor, background=None) -> list[Tensor]:
    """TF-ICON's released loop: DPM-Solver++ of second order over data predictions in the variance-preserving scale, in float64. `x` is in
    sampler space, as are what `predict_at(step, x)` is shown and the latents that are returned, one per level.

    `background` is (the main picture's latents, its first two predictions, outside (1, 1, h, w), tau): outside the rectangle its predictions
    take the place of the first two, once both are stored, and its latents that of each latent from the third on, after it was evaluated.
    """
    order, steps, scale = 2, len(sigmas) - 1, (1 + sigmas.double() ** 2).sqrt()
    alphas, sigmas_vp = 1 / scale, sigmas.double() / scale
    lambdas = (alphas / sigmas_vp).log()
    kept_until = 0 if background is None else int(background[3] * steps + 1 - order)
    x = x.double() / scale[0]
    passed, stored = [x * scale[0]], [predict_at(0, x * scale[0]).double()]

    def update(x: Tensor, now: int, high: bool) -> Tensor:
        """From level now - 1 to now."""
        last = stored[-1]
        h = lambdas[now] - lambdas[now - 1]
        if high:
            h_last = lambdas[now - 1] - lambdas[now - 2]
            last = last + h / (2 * h_last) * (stored[-1] - stored[-2])
        return sigmas_vp[now] / sigmas_vp[now - 1] * x - alphas[now] * torch.expm1(-h) * last

    for now in range(1, steps + 1):
        x = update(x, now, high=now > 1 and not (steps < 10 and now == steps))
        passed.append(x * scale[now])
        if now == steps:
            return passed
        stored.append(predict_at(now, x * scale[now]).double())
        if background is not None:
            latents, predictions, outside, _ = background
            if now == order - 1:
                stored = [own + outside * (main.double() - own) for own, main in zip(stored, predictions, strict=True)]
            if order <= now < kept_until:
                x = x + outside * (latents[now].double() / scale[now] - x)
    raise ValueError("no steps")


def released_stream(model, x: Tensor, sigmas: Tensor, conditioning: list) -> tuple[Tensor, list[Tensor]]:
    """A picture sampled from noise `x` as the released loop samples the main one beside the target: its latents, and what was predicted."""
    predictions = []

    def predicted(now: int, x: Tensor) -> Tensor:
        predictions.append(predict(model, x.float(), sigmas[now], conditioning))
        return predictions[-1]

    return torch.stack(released_multistep(predicted, x, sigmas)).float(), predictions


def require_close(ours: Tensor, theirs: Tensor, unedited: Tensor | None = None) -> None:
    """Equal but for rounding, and the run without the edit is at least ten times as far off."""
    error = float((ours - theirs).abs().max())
    assert error < 2e-3 * float(theirs.abs().max())
    if unedited is not None:
        assert 10 * error < float((theirs - unedited).abs().max())


def require_negative_untouched(changed, plain) -> None:
    """Of two calls that were shown the same: the edit changed the positive prompt's predictions, and the negative's stay those of the
    plain run but for rounding. Attention that is edited row by row is computed in smaller batches, where kernels may add in another
    order; a thousandth of the edit would be seen."""
    assert plain.order == changed.order == [1, 0] and plain.x.equal(changed.x)
    positive, negative = (float((changed.rows(which)[1] - plain.rows(which)[1]).abs().max()) for which in (0, 1))
    assert positive > 1e-3 * float(plain.rows(0)[1].abs().max())
    assert 1000 * negative < positive
