"""The papers' procedures written out from their articles and released code, as those run them: attention maps are built in every layer,
a stream is a call of its own, all rows that the released code asks for are computed, and nothing of the pack's engine is used.

They are what the pack's speed is compared with, and the oracle of its pictures: both come out equal but for rounding. For that,
streams stand on the latents of the inversion at every step, where TF-ICON's code solves for them once more in as many rows; and its
cross map is what the article means, the main picture's queries on the reference's keys, from the cross pass's own rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import comfy.model_management
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_sampling import CONST
from graft.host.engine.prompts import PROMPTS_KEY
from graft.host.families.layers import attention_layers, fine_decoder_layers
from graft.host.samplers.schedules import uniform_time_sigmas
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from . import settings
from .networks import Subject

FEWEST = 10
"""DPM-Solver++'s code ends runs of fewer steps with one of first order."""


@dataclass(frozen=True)
class Site:
    """An attention layer: `number` counts those of its kind in the order of execution; `own` is whether it is self-attention; `grid`
    is that of the picture's tokens, which stand at `tokens` among all."""

    number: int
    own: bool
    grid: tuple[int, int]
    tokens: slice

    @property
    def cells(self) -> int:
        return self.grid[0] * self.grid[1]


Compute = Callable[[Site, Tensor, Tensor, Tensor], Tensor]
"""Attention of queries, keys and values (rows, heads, tokens, d): (rows, heads, tokens, d)."""

Row = tuple[Tensor, list]
"""A latent (1, C, h, w) in sampler space, and the CONDITIONING it is seen under."""


def logits(query: Tensor, key: Tensor) -> Tensor:
    """Q K^T / sqrt(d): (rows, heads, N, M)."""
    return query @ key.mT * query.shape[-1] ** -0.5


def attended(site: Site, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention by its map."""
    return logits(query, key).softmax(dim=-1) @ value


class Network:
    """The subject's network, called row by row of a batch, with its attention in our hands."""

    def __init__(self, subject: Subject) -> None:
        comfy.model_management.load_models_gpu([subject.model])
        self.model, self.device = subject.model.model, subject.model.load_device
        self.unet = isinstance(self.model.diffusion_model, UNetModel)
        self.flow = isinstance(self.model.model_sampling, CONST)

    def into(self, latent: Tensor) -> Tensor:
        return self.model.process_latent_in(latent).to(self.device)

    def predict(self, sigma: float, rows: Sequence[Row], compute: Compute = attended, bottleneck: Callable | None = None) -> Tensor:
        """(rows, C, h, w): the predicted pictures, in one call."""
        x = torch.cat([latent for latent, _ in rows])
        encoded = [self._encoded(latent, *prompt[0]) for latent, prompt in rows]
        extra = {name: torch.cat([row[name] for row in encoded]) for name in encoded[0]}
        options = self._attention_of(compute, x)
        if bottleneck is not None:
            options["patches"] = {"middle_block_after_patch": [lambda data: {**data, "h": bottleneck(data["h"])}]}
        return self.model.apply_model(x, x.new_full((len(x),), sigma), transformer_options=options, **extra)

    def _encoded(self, latent: Tensor, states: Tensor, options: dict) -> dict[str, Tensor]:
        """What the network is told of a prompt."""
        height, width = (8 * side for side in latent.shape[-2:])
        told = self.model.extra_conds(noise=latent, cross_attn=states, width=width, height=height, device=self.device, **options)
        return {name: part.process_cond(batch_size=1, area=None).cond.to(self.device) for name, part in told.items()}

    def _attention_of(self, compute: Compute, x: Tensor) -> dict:
        counts = {True: 0, False: 0}

        def counted(own: bool) -> int:
            counts[own] += 1
            return counts[own] - 1

        def replaced(own: bool):
            def attention(query, key, value, options):
                heads = options["n_heads"]
                parts = [part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
                site = Site(counted(own), own, tuple(options["activations_shape"][-2:]), slice(None))
                return compute(site, *parts).transpose(1, 2).flatten(2)

            return attention

        def overridden(func, query, key, value, heads, mask=None, **others):
            side = self.model.diffusion_model.patch_size
            grid = tuple(math.ceil(cells / side) for cells in x.shape[-2:])
            site = Site(counted(True), True, grid, slice(query.shape[2] - grid[0] * grid[1], None))
            return compute(site, query, key, value).transpose(1, 2).flatten(2)

        if not self.unet:
            return {"optimized_attention_override": overridden}
        blocks = [(name, number) for name in ("input", "middle", "output") for number in range(12)]
        return {"patches_replace": {name: dict.fromkeys(blocks, replaced(name == "attn1")) for name in ("attn1", "attn2")}}


def guided(plain: Tensor, positive: Tensor, guidance: float) -> Tensor:
    return plain + guidance * (positive - plain)


def ddim(x: Tensor, denoised: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """A step of DDIM in sampler space; of a flow Euler's."""
    return x + (sigma_next - sigma) * (x - denoised) / sigma


def dpm(denoise: Callable[[Tensor, float, int], Tensor], x: Tensor, sigmas: Sequence[float], after=lambda x, index: x) -> list[Tensor]:
    """DPM-Solver++ of second order, in either direction: the latents at all levels."""
    passed, last = [x], None
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        m, h = denoise(x, sigma, index), math.log(sigma / sigma_next)
        ending = len(sigmas) - 1 < FEWEST and index == len(sigmas) - 2
        target = m if last is None or ending else m + h / (2 * last[0]) * (m - last[1])
        x, last = after(sigma_next / sigma * x - math.expm1(-h) * target, index), (h, m)
        passed.append(x)
    return passed


def inverted(network: Network, latent: Tensor, prompt: list, sigmas: Sequence[float], rows: int) -> tuple[list[Tensor], list[dict]]:
    """DDIM inversion, "latent of c, label of t", in as many equal `rows`: the latents from the noisiest to the picture, and for each but
    the last the keys and values that self-attention had when it was gone to."""
    x, passed, banks = network.into(latent), [network.into(latent)], []
    for sigma, sigma_next in pairwise(reversed(sigmas)):
        shown = x if network.flow else x * math.sqrt((1 + sigma_next**2) / (1 + sigma**2))
        bank: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(site, query, key, value, bank=bank):
            if site.own:
                bank[site.number] = key[-1:], value[-1:]
            return attended(site, query, key, value)

        denoised = network.predict(sigma_next, [(shown, prompt)] * rows, keep if rows == 1 else attended)[-1:]
        x = x + (sigma_next - sigma) * (shown - denoised) / sigma_next
        passed.append(x)
        banks.append(bank)
    return passed[::-1], banks[::-1]


def before(subject: Subject, part: float, sigmas: Sequence[float]) -> int:
    """How many of a run's steps come before a `part` of the schedule."""
    level = float(subject.model.get_model_object("model_sampling").percent_to_sigma(part))
    return sum(sigma > level * (1 + 1e-4) for sigma in sigmas[:-1])


def on_grid(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N,): the part of every token that a picture's mask (1, H, W) covers."""
    return interpolate(mask[None], grid, mode="area")[0, 0].flatten()


def free_prompt_editing(subject: Subject) -> Tensor:
    """Liu et al., CVPR 2024: four rows [source, target] x [negative, positive], of which the last attends with the third's maps."""
    network, sigmas = Network(subject), subject.sigmas().tolist()
    source, _ = inverted(network, subject.picture, subject.empty, sigmas, rows=2)
    x, cells, replaced = source[0], math.prod(subject.picture.shape[-2:]), before(subject, settings.LAYOUT, sigmas)
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):

        def compute(site, query, key, value, index=index):
            if not site.own or index >= replaced or 4 * site.cells > cells:
                return attended(site, query, key, value)
            query, key = query.clone(), key.clone()
            for part in (query, key):  # of a joint attention the picture's tokens alone
                part[3, :, site.tokens] = part[2, :, site.tokens]
            return attended(site, query, key, value)

        of_source = source[index]
        rows = [(of_source, subject.empty), (x, subject.empty), (of_source, subject.empty), (x, subject.target)]
        denoised = network.predict(sigma, rows, compute).split(1)
        x = ddim(x, guided(denoised[1], denoised[3], settings.GUIDANCE), sigma, sigma_next)
    return network.model.process_latent_out(x)


def specref(subject: Subject) -> Tensor:
    """SpecRef on Prompt-to-Prompt: the reference's keys and values are kept by its inversion; four rows, whose maps of coarse layers are
    kept for local blend and for where the new word is looked at."""
    network, sigmas, steps = Network(subject), subject.sigmas().tolist(), subject.steps
    source, _ = inverted(network, subject.picture, subject.source, sigmas, rows=1)
    _, banks = inverted(network, subject.reference, subject.empty, sigmas, rows=1)
    (prompt_of_source,), (prompt_of_target,) = (prompt[0][1][PROMPTS_KEY] for prompt in (subject.source, subject.target))
    old, new = (prompt.find(word, "words")[0] for prompt, word in zip((prompt_of_source, prompt_of_target), subject.words, strict=True))
    height, width = subject.picture.shape[-2:]
    quarter, cells = (height // 4) * (width // 4), height * width
    replaced, looking_from, blending_from = (
        before(subject, part, sigmas) for part in (settings.LAYOUT, settings.REFERENCE_FROM, settings.BLEND_FROM)
    )
    layers, fine_layers = (len(found) for found in (banks[0], fine_decoder_layers(subject.model.model.diffusion_model)))
    x, looked, of_source, of_target = source[0], [], 0, 0
    seen_masks: dict[tuple[int, int], Tensor] = {}
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        seen: dict[str, list[Tensor]] = {"source": [], "target": []}

        def cross(site, query, key, value, index=index, seen=seen):
            maps = logits(query, key).softmax(dim=-1)
            if index < int(settings.CROSS * (steps + 1)):
                maps[3] = maps[2]
            if site.cells == quarter:
                looked.append(maps[3, :, :, new].mean(dim=0))
                seen["source"].append(maps[2, :, :, old].mean(dim=0))
                seen["target"].append(maps[3, :, :, new].mean(dim=0))
            return maps @ value

        def own(site, query, key, value, index=index):
            maps = logits(query, key).softmax(dim=-1)
            # The finest layers of the decoder are the last of all.
            fine = site.number >= layers - fine_layers and index >= looking_from
            if index < replaced and 4 * site.cells <= cells and not fine:
                maps[3] = maps[2]
            output = maps @ value
            if fine:
                keys, values = banks[index][site.number]
                if site.grid not in seen_masks:
                    seen_masks[site.grid] = on_grid(subject.object, site.grid) >= settings.MASK_THRESHOLD
                shown = seen_masks[site.grid].to(query.device)
                there = logits(query[3:], keys).masked_fill(~shown, -torch.inf).softmax(dim=-1) @ values
                mean = torch.stack(looked).mean(dim=0).view(1, 1, height // 4, width // 4).float()
                normal = (mean - mean.min()) / (mean.max() - mean.min())
                inside = interpolate(normal, site.grid, mode="area").flatten()[:, None] >= settings.MASK_THRESHOLD
                output[3:] = torch.where(inside, there, output[3:])
            return output

        rows = [(source[index], subject.empty), (x, subject.empty), (source[index], subject.source), (x, subject.target)]
        denoised = network.predict(sigma, rows, lambda site, *parts: (own if site.own else cross)(site, *parts)).split(1)
        beside = ddim(source[index], guided(denoised[0], denoised[2], settings.GUIDANCE), sigma, sigma_next)
        x = ddim(x, guided(denoised[1], denoised[3], settings.GUIDANCE), sigma, sigma_next)
        of_source, of_target = of_source + torch.stack(seen["source"]).mean(dim=0), of_target + torch.stack(seen["target"]).mean(dim=0)
        if index >= blending_from:
            masks = []
            for summed in (of_source, of_target):
                pooled = max_pool2d(summed.view(1, 1, height // 4, width // 4).float(), 3, stride=1, padding=1)
                pooled = interpolate(pooled, (height, width), mode="nearest")
                masks.append(pooled > settings.BLEND_THRESHOLD * pooled.max())
            x = torch.where(masks[0] | masks[1], x, beside)
    return network.model.process_latent_out(x)


def tf_icon(subject: Subject) -> Tensor:
    """Lu et al., ICCV 2023: four streams in calls of their own, the exceptional ones under guidance between equal prompts; the logits
    of all are kept, composed, and attended with."""
    network, steps, prompt = Network(subject), subject.steps, subject.exceptional
    sigmas = uniform_time_sigmas(subject.model, steps).tolist()

    def unguided(x: Tensor, sigma: float, index: int) -> Tensor:
        return guided(*network.predict(sigma, [(x, prompt)] * 2).split(1), settings.COMPOSED_GUIDANCE)

    main, reference = (dpm(unguided, network.into(latent), sigmas[::-1])[::-1] for latent in (subject.picture, subject.reference))
    cells = tuple(subject.picture.shape[-2:])
    object, region = ((on_grid(mask, cells).view(1, 1, *cells) >= 0.5).to(main[0].device) for mask in (subject.object, subject.region))
    fresh = torch.randn(main[0].shape, generator=torch.Generator().manual_seed(settings.SEED)).to(main[0])
    start = torch.where(region, torch.where(object, reference[0], fresh * math.sqrt(1 + sigmas[0] ** 2)), main[0])
    soft = interpolate(subject.region[None], cells, mode="area").to(main[0])
    composed_until, kept_until = (before(subject, part, sigmas) for part in (settings.TAU_A, settings.TAU_B))

    def keeping(stored: dict[int, Tensor]) -> Compute:
        def compute(site, query, key, value):
            weights = logits(query, key)
            if site.own:
                stored[site.number] = weights[-1:]  # a view, which keeps all rows' alive, as the released code's is
            return weights.softmax(dim=-1) @ value

        return compute

    def crossing(stored: dict[int, Tensor]) -> Compute:
        """Of the rows [main, main, reference, reference] what the main picture asks of the reference."""

        def compute(site, query, key, value):
            if site.own:
                stored[site.number] = logits(query[1:2], key[3:4])
            return attended(site, query, key, value)

        return compute

    def denoise(x: Tensor, sigma: float, index: int) -> Tensor:
        of_main, of_reference, between = {}, {}, {}
        composing = index < composed_until
        network.predict(sigma, [(main[index], prompt)] * 2, keeping(of_main))
        network.predict(sigma, [(main[index], prompt)] * 2 + [(reference[index], prompt)] * 2, crossing(between))
        if composing:
            network.predict(sigma, [(reference[index], prompt)] * 2, keeping(of_reference))

        def compute(site, query, key, value):
            weights = logits(query, key)
            if site.own and composing:
                inside, around = ((on_grid(mask, site.grid) >= 0.5).to(query.device) for mask in (subject.object, subject.region))
                inside = inside & around
                cross = between[site.number]
                row = torch.where(~around[:, None] & ~around, of_main[site.number], weights[1:])
                row = torch.where(inside, cross, row)
                row = torch.where(inside[:, None], cross.mT, row)
                weights[1:] = torch.where(inside[:, None] & inside, of_reference[site.number], row)
            return weights.softmax(dim=-1) @ value

        return guided(*network.predict(sigma, [(x, subject.empty), (x, subject.target)], compute).split(1), settings.COMPOSED_GUIDANCE)

    def preserved(x: Tensor, index: int) -> Tensor:
        return main[index + 1] + soft * (x - main[index + 1]) if index < kept_until else x

    return network.model.process_latent_out(dpm(denoise, start, sigmas, preserved)[-1])


def freecompose(subject: Subject) -> Tensor:
    """Chen et al., ECCV 2024, removal: four rows [source, target] x [negative, positive]; the target's lose the masked keys."""
    network, sampling = Network(subject), subject.model.get_model_object("model_sampling")
    drawn = torch.Generator().manual_seed(settings.SEED)
    timesteps = torch.randint(
        settings.REMOVAL.timesteps[0], settings.REMOVAL.timesteps[1] - 1, (settings.REMOVAL.iterations,), generator=drawn
    )
    noises = torch.Generator().manual_seed(settings.SEED)
    clean = network.into(subject.picture)
    height, width = clean.shape[-2:]
    covered = interpolate(subject.object[None], (height, width), mode="area").to(clean)
    weights = settings.REMOVAL.outside + (1 - settings.REMOVAL.outside) * covered
    layers, fine_layers = (len(found(subject.model.model.diffusion_model)) for found in (attention_layers, fine_decoder_layers))
    z = clean.clone()
    for iteration, timestep in enumerate(timesteps.tolist()):
        sigma = float(sampling.sigmas[timestep])
        fresh = torch.randn(clean.shape, generator=noises).to(clean)

        def compute(site, query, key, value, iteration=iteration):
            output = attended(site, query, key, value)
            if site.own and iteration >= settings.HIDDEN_FROM and site.number >= layers - fine_layers:
                left = (on_grid(subject.object, site.grid) <= settings.COVERED).to(query.device)
                for row in (1, 3):
                    output[row] = attended(site, query[row], key[row][:, left], value[row][:, left])
            return output

        noisy = clean + sigma * fresh, z + sigma * fresh
        prompts = subject.empty, subject.empty, subject.source, subject.target
        denoised = network.predict(sigma, list(zip(noisy * 2, prompts, strict=True)), compute).split(1)
        seen = [(noisy[which] - guided(denoised[which], denoised[which + 2], settings.GUIDANCE)) / sigma for which in (0, 1)]
        gradient = settings.REMOVAL.scale * (seen[1] - seen[0]) * weights / (height * width)
        # The released code descends 2000 times its loss on 64 x 64 cells.
        z = z - settings.REMOVAL.descent.learning_rate * 2000 * (height * width) / 64**2 * gradient
    return network.model.process_latent_out(z)


def injectfusion(subject: Subject) -> Tensor:
    """Jeong et al., WACV 2024, appendix I: two whole predictions under guidance at every step, as the released code has it, although
    they differ above `t_edit` alone."""
    network, sigmas = Network(subject), subject.sigmas().tolist()
    edit = float(subject.model.get_model_object("model_sampling").sigma(torch.tensor(400)))
    injections = sum(sigma >= edit * (1 - 1e-4) for sigma in sigmas[:-1])
    gamma = min(1 - (1 - settings.GAMMA) ** (30 / injections), 0.7)
    content, *others = (
        torch.manual_seed(settings.SEED + which) and torch.randn(subject.picture.shape).to(network.device) for which in (0, 1)
    )
    content, x = content * _first_scale(subject), others[0] * _first_scale(subject)
    kept: list[Tensor] = []
    for sigma, sigma_next in pairwise(sigmas):
        rows = [(content, subject.empty), (content, subject.source)]
        denoised = network.predict(sigma, rows, bottleneck=lambda h: kept.append(h[1:].clone()) or h).split(1)
        content = ddim(content, guided(*denoised, settings.GUIDANCE), sigma, sigma_next)
    for h_of_content, (sigma, sigma_next) in zip(kept, pairwise(sigmas), strict=True):
        share = gamma if sigma >= edit * (1 - 1e-4) else 0.0

        def injected(h, other=h_of_content, share=share):
            return torch.cat([h[:1], slerp(h[1:].float(), other.float(), share).to(h)])

        rows = [(x, subject.empty), (x, subject.target)]
        plain, changed = (
            guided(*network.predict(sigma, rows, bottleneck=change).split(1), settings.GUIDANCE) for change in (None, injected)
        )
        x = (changed if share else plain) + sigma_next * (x - plain) / sigma
    return network.model.process_latent_out(x)


def _first_scale(subject: Subject) -> float:
    """What the host makes of noise of unit variance at the first level."""
    sampling, sigma = subject.model.get_model_object("model_sampling"), subject.sigmas()[:1]
    highest = bool(sigma >= sampling.sigma_max * (1 - 1e-5))
    return float(sampling.noise_scaling(sigma, torch.ones(1), torch.zeros(1), highest))


def slerp(h: Tensor, content: Tensor, gamma: float) -> Tensor:
    """From h to the content with h's norm along the sphere, a picture as one vector."""
    content = content * h.norm() / content.norm()
    angle = ((h * content).sum() / h.norm().square()).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    return (((1 - gamma) * angle).sin() * h + (gamma * angle).sin() * content) / angle.sin()
