"""The papers' loops written out, with explicit attention maps, a network call per row and nothing of Graft's engine: oracles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
